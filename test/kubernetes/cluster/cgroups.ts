import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { HeddleError } from '../../../common/errors.ts';
import { removeCgroup } from '../../support/network/cgroups.ts';
import { eventually } from '../../support/wait.ts';

/** A hierarchy of cgroups, as the machine has it mounted. */
export interface Hierarchy {
  readonly mount: string;
  readonly kind: 'cgroup' | 'cgroup2';
  /** What mount(8) needs to mount it anew: `cpu,cpuacct`, or `none,name=systemd`; `rw` for version 2. */
  readonly options: string;
}

/** What runc and the kubelet can't do without in version 1. */
const CONTROLLERS = ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'pids'];
const MOUNT_OPTIONS = ['rw', 'ro', 'xattr', 'clone_children', 'noprefix'];
const foldersGoneMs = 10_000;

/** Reads /proc/self/mountinfo (proc(5)). A hierarchy that is mounted twice counts once. */
export function hierarchiesIn(mountinfo: string): readonly Hierarchy[] {
  const found = new Map<string, Hierarchy>();
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, mount = ''] = before.split(' ');
    const [kind, , superOptions = ''] = after.split(' ');
    if ((kind !== 'cgroup' && kind !== 'cgroup2') || root !== '/') continue;
    const options = kind === 'cgroup2' ? 'rw' : remountOptions(superOptions);
    if (!found.has(`${kind} ${options}`)) found.set(`${kind} ${options}`, { mount, kind, options });
  }
  return [...found.values()];
}

/** Why nodes can't be made on these hierarchies; undefined where they can. */
export function hierarchyProblem(hierarchies: readonly Hierarchy[]): string | undefined {
  if (!hierarchies.some(({ kind }) => kind === 'cgroup2')) return 'cgroup v2 is mounted nowhere';
  const there = hierarchies.flatMap(({ options }) => options.split(','));
  const missing = CONTROLLERS.filter((name) => !there.includes(name));
  if (missing.length === 0) return undefined;
  return `the cgroup v1 controllers ${missing.join(', ')} are missing: nodes need those of version 1, with version 2 beside them`;
}

/** Makes a folder in every hierarchy. Its cpuset takes over what the machine has: an empty one admits no process. */
export function makeCgroups(hierarchies: readonly Hierarchy[], path: string): void {
  for (const { mount } of hierarchies) {
    let folder = mount;
    for (const part of path.split('/')) {
      const parent = folder;
      folder = join(folder, part);
      if (!existsSync(folder)) mkdirSync(folder);
      for (const file of ['cpuset.cpus', 'cpuset.mems'])
        if (existsSync(join(parent, file)))
          writeFileSync(join(folder, file), readFileSync(join(parent, file)));
    }
  }
}

/** Kills every process of the folder in version 2, and removes the folder from all hierarchies. */
export async function removeCgroups(hierarchies: readonly Hierarchy[], path: string): Promise<void> {
  for (const { mount, kind } of hierarchies) if (kind === 'cgroup2') await removeCgroup(join(mount, path));
  for (const { mount, kind } of hierarchies) {
    if (kind === 'cgroup2') continue;
    const folder = join(mount, path);
    // The last process of a folder may still be on its way out.
    await eventually(() => removeFolders(folder), {
      ...{ deadlineMs: foldersGoneMs, what: `${folder} is removed` },
    });
  }
}

/** The folder of version 2. Throws HeddleError `cgroups` where it isn't mounted. */
export function cgroup2Folder(hierarchies: readonly Hierarchy[], path: string): string {
  const unified = hierarchies.find(({ kind }) => kind === 'cgroup2');
  if (unified === undefined) throw new HeddleError('cgroups', 'cgroup v2 is mounted nowhere');
  return join(unified.mount, path);
}

/**
 * For node.sh, a line each: its name under /sys/fs/cgroup, kind, options, and the folder that the node joins. Version 2 must be called
 * `unified`: there runc looks for it, and then gives each container a folder of that version too.
 */
export function cgroupTable(hierarchies: readonly Hierarchy[], path: string): string {
  const lines = hierarchies.map(
    ({ mount, kind, options }) =>
      `${kind === 'cgroup2' ? 'unified' : basename(mount)} ${kind} ${options} ${join(mount, path)}\n`,
  );
  return lines.join('');
}

function remountOptions(superOptions: string): string {
  const options = superOptions.split(',').filter((one) => !MOUNT_OPTIONS.includes(one));
  const plain = options.filter((one) => !one.startsWith('release_agent='));
  return plain.some((one) => one.startsWith('name=')) ? ['none', ...plain].join(',') : plain.join(',');
}

function removeFolders(folder: string): boolean {
  if (!existsSync(folder)) return true;
  const inner = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const emptied = inner.map((entry) => removeFolders(join(folder, entry.name))).every(Boolean);
  if (!emptied) return false;
  try {
    rmdirSync(folder);
    return true;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'EBUSY') return false;
    throw new HeddleError('cgroups', `${folder} in ${dirname(folder)} can't be removed: ${thrown}`);
  }
}
