import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ip } from '../../support/network/commands.ts';
import { eventually } from '../../support/wait.ts';
import { hierarchiesIn } from '../cluster/cgroups.ts';
import { CLUSTERS } from '../cluster/layout.ts';

const goneMs = 10_000;

interface MachineProcess {
  readonly pid: number;
  /** Command line and cgroups. */
  readonly text: string;
  readonly rssKb: number;
}

/** All processes of the machine; those that end while they are read are left out. */
export function processes(): readonly MachineProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const read = (file: string) => readFileSync(`/proc/${name}/${file}`, 'utf8');
        const rssKb = Number(/^VmRSS:\s+(\d+)/m.exec(read('status'))?.[1] ?? 0);
        return [{ pid: Number(name), text: `${read('cmdline')} ${read('cgroup')}`, rssKb }];
      } catch {
        return [];
      }
    });
}

/** What of the machine belongs to clusters whose names begin so. */
function leftOf(prefix: string) {
  const isOurs = (text: string) => text.includes(`hdk-${prefix}`) || text.includes(`${CLUSTERS}/${prefix}`);
  const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8');
  return {
    namespaces: ip('netns', 'list').split('\n').filter(isOurs),
    mounts: mountinfo.split('\n').filter(isOurs),
    cgroups: hierarchiesIn(mountinfo)
      .flatMap(({ mount }) => readdirSync(mount).map((name) => join(mount, name)))
      .filter(isOurs),
    folders: existsSync(CLUSTERS) ? readdirSync(CLUSTERS).filter((name) => name.startsWith(prefix)) : [],
    processes: processes().filter(({ text }) => isOurs(text)),
  };
}

/** Nothing of clusters whose names begin so is on the machine: network namespaces, mounts, cgroups, files, processes. */
export async function assertNothingLeft(prefix: string): Promise<void> {
  // What this process started is a zombie until it has looked.
  await eventually(() => leftOf(prefix).processes.length === 0, {
    ...{ deadlineMs: goneMs, what: `the processes of the clusters ${prefix}… are gone` },
  });
  assert.deepEqual(leftOf(prefix), { namespaces: [], mounts: [], cgroups: [], folders: [], processes: [] });
}
