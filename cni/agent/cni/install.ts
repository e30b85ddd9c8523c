import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { readIfThere, writeAtomically } from '../../../common/atomic-file.ts';
import { HeddleError, messageOf } from '../../../common/errors.ts';
import { chainedConflist, heddleConflist, isHeddleConflist, PLUGIN_TYPE } from './conflist.ts';

/** Sorts before other networks' files: runtimes take the first (containerd's and CRI-O's `confDir`). */
export const CONFLIST_FILE = '05-heddle.conflist';

/** Runtimes call it for every pod. Where the machine has none, heddle-cni by that name does its work (`plugin/loopback.h`). */
const LOOPBACK = 'loopback';
/** In every version of the plugin, and in no other: where it asks unless it is told otherwise. */
const OWN_MARK = '/run/heddle/cni.sock';

export interface InstallPaths {
  /** `/etc/cni/net.d` where the runtime isn't configured otherwise. */
  readonly confDirectory: string;
  /** `/opt/cni/bin` where the runtime isn't configured otherwise. */
  readonly binDirectory: string;
  /** heddle-cni for this machine: `cni/plugin/bin/<process.arch>/heddle-cni`. */
  readonly plugin: string;
}

export interface Installed {
  /** What was written; files that are as they should be aren't touched. */
  readonly changed: readonly string[];
}

/**
 * Puts the plugin and the network configuration in their places, each whole or not at all, the configuration last: a
 * runtime that sees it can call the plugin. With `chained` (the file name of another network's configuration, or `auto`
 * for the first) the configuration is that network's with capture behind it. Throws a `HeddleError` that says what failed.
 */
export function installPlugin(paths: InstallPaths, socket: string, chained?: 'auto' | string): Installed {
  const changed: string[] = [];
  const content =
    chained === undefined ? heddleConflist(socket) : chain(paths.confDirectory, socket, chained);
  const binary = join(paths.binDirectory, PLUGIN_TYPE);
  const conflist = join(paths.confDirectory, CONFLIST_FILE);
  const loopback = join(paths.binDirectory, LOOPBACK);
  try {
    if (placeBinary(paths.plugin, binary)) changed.push(binary);
    if (mayBeOurs(loopback) && placeBinary(paths.plugin, loopback)) changed.push(loopback);
    if (readIfThere(conflist) !== content) {
      mkdirSync(paths.confDirectory, { recursive: true, mode: 0o755 });
      // Runtimes read it as root; nothing in it is secret, and others look for it there.
      writeAtomically(conflist, content, 0o644);
      changed.push(conflist);
    }
  } catch (thrown) {
    throw new HeddleError('cni-install', `the CNI plugin can't be installed: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
  return { changed };
}

/** Takes both away again, the configuration first; what Heddle didn't write stays. Returns what was removed. */
export function uninstallPlugin(paths: Omit<InstallPaths, 'plugin'>): readonly string[] {
  const removed: string[] = [];
  const conflist = join(paths.confDirectory, CONFLIST_FILE);
  const content = readIfThere(conflist);
  if (content !== undefined && isHeddleConflist(content)) {
    rmSync(conflist);
    removed.push(conflist);
  }
  const { binDirectory } = paths;
  for (const name of namesIn(binDirectory)) {
    const path = join(binDirectory, name);
    const isDraft = [PLUGIN_TYPE, LOOPBACK].map(draftName).includes(name);
    const isPlugin = name === PLUGIN_TYPE || (name === LOOPBACK && mayBeOurs(path));
    if (!isDraft && !isPlugin) continue;
    rmSync(path);
    if (isPlugin) removed.push(path);
  }
  return removed;
}

/** By rename: a plugin that runs just now keeps its old file, and none is ever seen half written. */
function placeBinary(source: string, target: string): boolean {
  const bytes = readFileSync(source);
  const known = namesIn(dirname(target)).includes(basename(target)) ? readFileSync(target) : undefined;
  if (known?.equals(bytes) === true) return false;
  mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
  const draft = join(dirname(target), draftName(basename(target)));
  rmSync(draft, { force: true });
  writeFileSync(draft, bytes, { mode: 0o755, flag: 'wx' });
  renameSync(draft, target);
  return true;
}

/** Begins with a dot, so that no runtime takes it for a plugin. */
function draftName(name: string): string {
  return `.${name}.draft`;
}

/** Nothing, or a copy of a plugin of ours, whatever version it is of. */
function mayBeOurs(path: string): boolean {
  return !namesIn(dirname(path)).includes(basename(path)) || readFileSync(path).includes(OWN_MARK);
}

function chain(confDirectory: string, socket: string, chained: string): string {
  const file = chained === 'auto' ? firstOther(confDirectory) : chained;
  const other = file === undefined ? undefined : readIfThere(join(confDirectory, file));
  if (other === undefined)
    throw new HeddleError(
      'cni-install',
      `there is no network configuration ${file ?? ''} in ${confDirectory} to capture on top of; install the other network first`,
    );
  const made = chainedConflist(other, socket);
  if (!made.ok) throw new HeddleError('cni-install', `${file}: ${made.error.message}`);
  return made.value;
}

/** The configuration that runtimes would take without Heddle's: the first by name (libcni's `ConfFiles`). */
function firstOther(directory: string): string | undefined {
  return namesIn(directory)
    .filter((name) => /\.(conf|conflist|json)$/.test(name) && name !== CONFLIST_FILE && !name.startsWith('.'))
    .sort()[0];
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
