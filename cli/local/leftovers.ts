import { rmSync, statSync } from 'node:fs';
import { readIfThere } from '../../common/atomic-file.ts';
import { type Clock, sleep } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import { machineHost } from '../network/host.ts';
import { cleanMade } from '../network/made.ts';
import { WATCHDOG } from './children.ts';
import { bootTimeMs, processStartTime, signalGroup } from './process-identity.ts';
import type { StatePaths } from './state-dir.ts';

/** How long killed processes may take to be gone; a longer wait would help nobody. */
const goneMs = 5_000;
const pollMs = 20;

/**
 * Ends what a crashed run left behind: each process of the children file that is still the one recorded, its watchdog
 * first, so that it doesn't clean up what the next run makes. Takes away what the run made in the kernel and its temporary
 * files. Returns the names of what was ended, once it is gone. `programPath` is where programs are looked for. Fails with
 * code `network` where something can't be taken away.
 */
export async function endLeftovers(
  paths: StatePaths,
  clock: Clock,
  programPath: string,
): Promise<readonly string[]> {
  const ended: { readonly pid: number; readonly startTime: string; readonly name: string }[] = [];
  for (const recorded of recordedChildren(paths)) {
    const now = processStartTime(recorded.pid);
    if (now !== undefined && now !== recorded.startTime) continue;
    if (signalGroup(recorded.pid, 'SIGKILL')) ended.push(recorded);
  }
  const endMs = clock.now() + goneMs;
  const alive = () => ended.some(({ pid, startTime }) => processStartTime(pid) === startTime);
  while (alive() && clock.now() < endMs) await sleep(clock, pollMs);
  const left = await cleanMade(machineHost(clock, programPath), paths.networkFile);
  if (left.length > 0)
    throw new HeddleError(
      'network',
      `what an earlier run made can't be removed:\n  ${left.join('\n  ')}\n(${paths.networkFile} names all of it)`,
    );
  for (const stale of [paths.pods, paths.runtime, paths.childrenFile, paths.meshFile, `${paths.logs}/pods`])
    rmSync(stale, { recursive: true, force: true });
  return ended.map(({ name }) => name).filter((name) => name !== WATCHDOG);
}

/** What the children file says; nothing where it is older than this boot, whose pids mean other processes. */
function recordedChildren(paths: StatePaths) {
  const written = statSync(paths.childrenFile, { throwIfNoEntry: false });
  if (written === undefined || written.mtimeMs < bootTimeMs()) return [];
  return (readIfThere(paths.childrenFile) ?? '').split('\n').flatMap((line) => {
    const [pidText = '', startTime = '', name = ''] = line.split(' ');
    const pid = Number(pidText);
    return Number.isInteger(pid) && pid > 1 ? [{ pid, startTime, name }] : [];
  });
}
