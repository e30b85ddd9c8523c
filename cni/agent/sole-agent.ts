import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, sleep } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { lockFile } from '../kernel/file-lock.ts';

/** Between two looks whether the other agent has ended: pods that are added meanwhile wait for it. */
const lookMs = 50;
const waitingLogMs = 10_000;

/**
 * Waits until no other agent uses the node's state, and keeps later ones from it until it is disposed of or the process
 * ends. `onWait` is told that there is another one. Two agents would each give addresses that the other knows nothing of.
 */
export async function soleAgent(
  stateDirectory: string,
  deps: { readonly clock: Clock; readonly log: Logger; onWait?(): void },
): Promise<Disposable> {
  const { clock, log } = deps;
  let toldMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    const lock = lockState(stateDirectory);
    if (lock !== undefined) return lock;
    deps.onWait?.();
    if (clock.now() - toldMs >= waitingLogMs) {
      toldMs = clock.now();
      log.warn('waiting for the other agent of this node to end', { state: stateDirectory });
    }
    await sleep(clock, lookMs);
  }
}

/** For what must not wait. Throws `agent-runs` where an agent uses the state. */
export function refuseBesideAgent(stateDirectory: string): Disposable {
  const lock = lockState(stateDirectory);
  if (lock !== undefined) return lock;
  throw new HeddleError('agent-runs', `an agent of this node runs on ${stateDirectory}: end it first`);
}

function lockState(stateDirectory: string): Disposable | undefined {
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  return lockFile(join(stateDirectory, 'agent.lock'));
}
