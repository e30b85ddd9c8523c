import { type Clock, sleep } from '../../../common/clock.ts';
import { HeddleError } from '../../../common/errors.ts';
import type { Logger } from '../../../common/log.ts';

const lookMs = 200;
/** Between lines that say what a start waits for. */
const waitingLogMs = 10_000;

/**
 * Listens once the machine has the address: the node's agent gives it, which may begin at the same time. Rejects as `listen` does for
 * every other reason.
 */
export async function onceAddressIsThere<T>(
  address: string,
  listen: () => Promise<T>,
  { clock, log }: { readonly clock: Clock; readonly log: Logger },
): Promise<T> {
  let toldMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    try {
      return await listen();
    } catch (thrown) {
      if (!(thrown instanceof HeddleError) || !isAbsence(thrown.cause)) throw thrown;
    }
    if (clock.now() - toldMs >= waitingLogMs) {
      toldMs = clock.now();
      log.warn("waiting for the node's agent to give this address to the node", { address });
    }
    await sleep(clock, lookMs);
  }
}

function isAbsence(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'EADDRNOTAVAIL';
}
