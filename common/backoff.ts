import type { Random } from './random.ts';

export interface Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
}

/** Full jitter: anywhere up to the doubled base, so that a thousand sidecars don't come back in one instant. */
export function backoffMs(backoff: Backoff, failures: number, random: Random): number {
  return random.next() * Math.min(backoff.maxMs, backoff.baseMs * 2 ** Math.min(failures, 30));
}
