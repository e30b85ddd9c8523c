import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HeddleError } from '../../common/errors.ts';

/** A place where cgroup v2 is mounted. */
export interface CgroupMount {
  readonly place: string;
  /**
   * The folder of the hierarchy that is seen there, as this process's cgroup namespace names it: `/` is the namespace's own root, `/..`
   * the folder above that.
   */
  readonly root: string;
}

/** `--cgroup`: the folder above all containers is looked for. */
export const CGROUP_AUTO = 'auto';
const USUAL_PLACE = '/sys/fs/cgroup';

/** Reads mounts of cgroup v2 from the text of /proc/self/mountinfo (proc_pid_mountinfo(5)), also where v1 is beside it. */
export function cgroupMounts(mountinfo: string): readonly CgroupMount[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, place] = before.split(' ');
    const isVersion2 = after.startsWith('cgroup2 ');
    return isVersion2 && root !== undefined && place !== undefined ? [{ place, root }] : [];
  });
}

/** The mount that shows most of the hierarchy; undefined where there is none. */
export function widestMount(mounts: readonly CgroupMount[]): CgroupMount | undefined {
  return mounts.toSorted((one, other) => depthOf(one.root) - depthOf(other.root))[0];
}

/** How far below the namespace's root a folder lies; less than 0 above it. */
function depthOf(root: string): number {
  return root
    .split('/')
    .filter(Boolean)
    .reduce((depth, part) => depth + (part === '..' ? -1 : 1), 0);
}

/** What `--cgroup` says, or the widest folder there is; where there is none, the usual place, which preflight then complains of. */
export function cgroupFolder(wanted: string): string {
  if (wanted !== CGROUP_AUTO) return wanted;
  return widestMount(ownMounts())?.place ?? USUAL_PLACE;
}

/**
 * The mount of cgroup v2 that a folder lies in. Throws `cgroup` where it lies in none, or where this process has a cgroup namespace
 * of its own below it: what /proc says of other containers then can't be found there.
 */
export function cgroupMountOf(folder: string): CgroupMount {
  const around = ownMounts().filter(({ place }) => folder === place || folder.startsWith(`${place}/`));
  // Of mounts in each other, and over each other, the last and innermost is seen.
  const mount = around.toSorted((one, other) => one.place.length - other.place.length).at(-1);
  if (mount !== undefined && !mount.root.startsWith('/..')) return mount;
  if (mount !== undefined)
    throw new HeddleError(
      'cgroup',
      "this container has a cgroup namespace of its own: run it privileged, so that it has the node's",
    );
  throw new HeddleError(
    'cgroup',
    `${folder} lies in no cgroup v2 file system: give --cgroup a folder of one`,
  );
}

/** Where a cgroup of `/proc/PID/cgroup` is seen; undefined where it lies outside of the mount. */
export function cgroupFolderIn({ place, root }: CgroupMount, path: string): string | undefined {
  const base = root === '/' ? '' : root;
  if (path !== base && !path.startsWith(`${base}/`)) return undefined;
  // A process outside of this one's namespace: /../name.
  return path.startsWith('/..') ? undefined : join(place, path.slice(base.length));
}

function ownMounts(): readonly CgroupMount[] {
  return cgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'));
}
