import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cgroup2Mounts } from '../../../common/linux.ts';
import { eventually } from '../wait.ts';

const cgroupGoneMs = 5_000;

/** Where cgroup v2 is mounted. */
export function rootOfCgroups(): string {
  const [root] = cgroup2Mounts(readFileSync('/proc/self/mounts', 'utf8'));
  if (root === undefined) throw new Error('cgroup v2 is mounted nowhere');
  return root;
}

/** Kills all processes of a cgroup and those below, and removes the folders. */
export async function removeCgroup(folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  writeFileSync(join(folder, 'cgroup.kill'), '1');
  await eventually(() => /^populated 0$/m.test(readFileSync(join(folder, 'cgroup.events'), 'utf8')), {
    ...{ deadlineMs: cgroupGoneMs, what: `the processes of ${folder} have ended` },
  });
  removeFolders(folder);
}

function removeFolders(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeFolders(join(folder, entry.name));
  rmdirSync(folder);
}
