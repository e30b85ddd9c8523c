import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HeddleError } from '../../../common/errors.ts';

/** Where the parts are that others are made of, by name. */
export type PartFolders = (name: PartName) => string;

/** Something that is built once and kept until what it is made from changes. */
export interface Part {
  readonly name: PartName;
  /** Only Kubernetes' own cases need it: built where they are asked for. */
  readonly ownCases?: boolean;
  /** Parts that it is made from. */
  readonly from: readonly PartName[];
  /** What else it is made from: a change of any gives another fingerprint. */
  readonly inputs: () => readonly (string | Buffer)[];
  /** Fills the folder. Throws HeddleError `build` with what to do. */
  readonly make: (folder: string, parts: PartFolders) => void;
}

export type PartName =
  | 'kubernetes'
  | 'etcd'
  | 'conformance'
  | 'echo'
  | 'helm'
  | 'debian'
  | 'images'
  | 'e2e'
  | 'e2e-images';

export const KUBERNETES_VERSION = '1.34.4';
export const STRIPPED = '-s -w';
const GO_TIMEOUT_MS = 40 * 60_000;
const TOOL_TIMEOUT_MS = 5 * 60_000;
const LOG_TAIL_CHARS = 2_000;
const MODULES = fileURLToPath(new URL('./modules/', import.meta.url));

/** A part that Go builds from the module of the same name. */
export function goPart(name: PartName, make: (folder: string) => void): Part {
  const files = () => readdirSync(join(MODULES, name)).sort();
  return {
    ...{ name, from: [], make },
    inputs: () => [
      KUBERNETES_VERSION,
      arch(),
      ...files().map((file) => readFileSync(join(MODULES, name, file))),
    ],
  };
}

export function goBuild(name: PartName, output: string, target: string, ldflags = STRIPPED): void {
  go(name, ['build', '-trimpath', '-ldflags', ldflags, '-o', output, target]);
}

/** The module's own tests, as a program. */
export function goTestBinary(name: PartName, output: string, ldflags = STRIPPED): void {
  go(name, ['test', '-c', '-vet=off', '-trimpath', '-ldflags', ldflags, '-o', output, '.']);
}

/** The standard output of the Go command in a module. Throws HeddleError `build`. */
export function go(name: PartName, args: readonly string[]): string {
  const environment = { GOFLAGS: '-mod=readonly', GOWORK: 'off', CGO_ENABLED: '0' };
  const done = run('go', args, join(MODULES, name), GO_TIMEOUT_MS, environment);
  if (!done.ok)
    throw buildError(name, done.output, 'Go 1.26 or newer and a reachable Go module proxy are needed');
  return done.output;
}

/** Debian packages, unpacked into the folder and not installed. Throws HeddleError `build`. */
export function unpackDebian(part: PartName, folder: string, packages: readonly string[]): void {
  unpack(part, folder, ['download', '-q', ...packages]);
}

/** The same with all packages that they need, whatever this machine has installed. */
export function unpackDebianWithNeeds(part: PartName, folder: string, packages: readonly string[]): void {
  const archives = archivesOf(folder);
  const nothing = join(folder, 'nothing-installed');
  mkdirSync(join(archives, 'partial'), { recursive: true });
  writeFileSync(nothing, '');
  const options = [`Dir::State::status=${nothing}`, `Dir::Cache::archives=${archives}`, 'Debug::NoLocking=1'];
  const install = ['install', '-q', '--yes', '--download-only', '--no-install-recommends'];
  unpack(part, folder, [...install, ...options.flatMap((option) => ['-o', option]), ...packages]);
}

function unpack(part: PartName, folder: string, command: readonly string[]): void {
  const archives = archivesOf(folder);
  mkdirSync(archives, { recursive: true });
  const download = () => run('apt-get', command, archives);
  if (!download().ok) {
    run('apt-get', ['update', '-q'], archives);
    const again = download();
    if (!again.ok)
      throw buildError(part, again.output, 'apt-get of Debian or Ubuntu with a reachable archive is needed');
  }
  for (const file of readdirSync(archives).filter((one) => one.endsWith('.deb'))) {
    const unpacked = run('dpkg', ['-x', join(archives, file), folder], archives);
    if (!unpacked.ok) throw buildError(part, unpacked.output, 'dpkg is needed');
  }
}

function archivesOf(folder: string): string {
  return join(folder, 'archives');
}

/** The static busybox of the part `debian`. */
export function busyboxIn(debian: string): string {
  const binary = ['bin/busybox', 'usr/bin/busybox']
    .map((path) => join(debian, path))
    .find((path) => run(path, ['true'], debian).ok);
  if (binary === undefined)
    throw buildError('images', '', 'the package busybox-static has no busybox that runs');
  return binary;
}

/** The commands that a busybox is. */
export function appletsOf(busybox: string): readonly string[] {
  return execFileSync(busybox, ['--list'], { encoding: 'utf8' })
    .split('\n')
    .filter((one) => one !== '' && one !== 'busybox');
}

/** What the command printed: its standard output, or why it failed. */
export function run(
  command: string,
  args: readonly string[],
  cwd: string,
  timeout: number = TOOL_TIMEOUT_MS,
  environment: Readonly<Record<string, string>> = {},
): { readonly ok: boolean; readonly output: string } {
  const done = spawnSync(command, args, {
    ...{
      cwd,
      timeout,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
      env: { ...process.env, ...environment },
    },
  });
  const ok = done.status === 0;
  return { ok, output: ok ? done.stdout : `${done.error?.message ?? ''}${done.stderr ?? ''}` };
}

export function buildError(part: PartName, output: string, remedy: string): HeddleError {
  const tail = output.slice(-LOG_TAIL_CHARS);
  return new HeddleError('build', `${part} can't be built: ${remedy}${tail === '' ? '' : `\n${tail}`}`);
}

export function ownText(path: string): Buffer {
  return readFileSync(fileURLToPath(new URL(path, import.meta.url)));
}
