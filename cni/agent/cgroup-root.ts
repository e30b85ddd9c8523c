import { readFileSync } from 'node:fs';
import { HeddleError } from '../../common/errors.ts';
import { cgroup2Mounts } from '../../common/linux.ts';

/** The mount point of cgroup v2 that a folder lies in. Throws `cgroup` where it lies in none. */
export function cgroupRootOf(folder: string): string {
  const root = cgroup2Mounts(readFileSync('/proc/self/mounts', 'utf8')).find(
    (place) => folder === place || folder.startsWith(`${place}/`),
  );
  if (root !== undefined) return root;
  throw new HeddleError(
    'cgroup',
    `${folder} lies in no cgroup v2 file system: give --cgroup a folder of one`,
  );
}
