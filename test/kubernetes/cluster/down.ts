import { existsSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { readIfThere } from '../../../common/atomic-file.ts';
import { HeddleError } from '../../../common/errors.ts';
import { hierarchiesIn, removeCgroups } from './cgroups.ts';
import { CLUSTERS, type ClusterLayout, layoutOf, ownerFile } from './layout.ts';
import { removeNetwork } from './network.ts';

/**
 * Ends every process of a cluster, and removes its namespaces, cgroups and files, whatever state it is in. Mounts and pins of
 * eBPF objects go with the mount namespaces of the nodes. Says whether there was anything of it.
 */
export async function down({ directory, prefix }: ClusterLayout): Promise<boolean> {
  const there = existsSync(directory);
  const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8');
  await removeCgroups(hierarchiesIn(mountinfo), prefix);
  removeNetwork(prefix);
  const mounted = mountinfo.split('\n').find((line) => line.split(' ')[4]?.startsWith(`${directory}/`));
  if (mounted !== undefined)
    throw new HeddleError(
      'mounted',
      `something is mounted below ${directory}, which isn't removed for that: ${mounted}`,
    );
  rmSync(directory, { recursive: true, force: true });
  removeIfEmpty(CLUSTERS);
  return there;
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'ENOENT') throw thrown;
  }
}

/** Removes clusters whose owners are gone without removing them: tests that were killed. */
export async function removeForgotten(): Promise<void> {
  for (const name of existsSync(CLUSTERS) ? readdirSync(CLUSTERS) : []) {
    const cluster = layoutOf(name, 0);
    const owner = readIfThere(ownerFile(cluster));
    if (owner !== undefined && !existsSync(`/proc/${owner}`) && takeOver(cluster)) await down(cluster);
  }
}

/** Of several that find it forgotten, one removes it. */
function takeOver(cluster: ClusterLayout): boolean {
  try {
    renameSync(ownerFile(cluster), `${ownerFile(cluster)}-gone`);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw thrown;
  }
  writeFileSync(ownerFile(cluster), String(process.pid));
  return true;
}
