import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';

/** Acknowledgements come in bursts: statuses are told anew once a burst is over. */
export const roundGatherMs = 50;
/** A round that took long makes the next one wait so many times longer, so that statuses never take most of a core. */
export const roundRestFactor = 9;

export interface StatusRounds {
  /** Runs a round at once. */
  now(): void;
  /** Runs one before long, however often it is called meanwhile. */
  soon(): void;
  close(): void;
}

export interface StatusRoundsOptions {
  readonly round: () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Decides when statuses are worked out. A round that fails is logged: what is said of the mesh must not end the mesh. */
export function statusRounds({ round, clock, log }: StatusRoundsOptions): StatusRounds {
  let timer: Timer | undefined;
  let tookMs = 0;
  let closed = false;
  const now = () => {
    timer?.cancel();
    timer = undefined;
    if (closed) return;
    const startedMs = clock.now();
    try {
      round();
    } catch (thrown) {
      log.error('statuses could not be told', { error: messageOf(thrown) });
    }
    tookMs = clock.now() - startedMs;
  };
  return {
    now,
    soon() {
      if (closed) return;
      timer ??= clock.after(Math.max(roundGatherMs, roundRestFactor * tookMs), now, { background: true });
    },
    close() {
      closed = true;
      timer?.cancel();
    },
  };
}
