import type { Clock } from '../../common/clock.ts';

/** What one workload may ask of the CA, and how many workloads are watched. */
export interface PaceLimits {
  readonly requestsPerMinuteMax: number;
  readonly workloadsMax: number;
}

/** A sidecar asks once at its start and at half-life; one that crashes in a loop stays below this, too. */
const DEFAULT_PACE_LIMITS: PaceLimits = { requestsPerMinuteMax: 60, workloadsMax: 100_000 };

const WINDOW_MS = 60_000;

interface Window {
  readonly startMs: number;
  count: number;
}

/** Keeps one workload, whose token is good, from having the CA sign for it alone. */
export class Pace {
  readonly #clock: Clock;
  readonly #limits: PaceLimits;
  readonly #windows = new Map<string, Window>();

  constructor(clock: Clock, limits: PaceLimits = DEFAULT_PACE_LIMITS) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Counts a request; false where the workload has had its share of this minute. */
  take(workload: string): boolean {
    const nowMs = this.#clock.now();
    const window = this.#windows.get(workload);
    if (window !== undefined && nowMs - window.startMs < WINDOW_MS) {
      window.count++;
      return window.count <= this.#limits.requestsPerMinuteMax;
    }
    // The map keeps the order in which windows began: those at its head are over first.
    this.#windows.delete(workload);
    for (const [oldest, { startMs }] of this.#windows) {
      if (nowMs - startMs < WINDOW_MS && this.#windows.size < this.#limits.workloadsMax) break;
      this.#windows.delete(oldest);
    }
    this.#windows.set(workload, { startMs: nowMs, count: 1 });
    return true;
  }

  get watched(): number {
    return this.#windows.size;
  }
}
