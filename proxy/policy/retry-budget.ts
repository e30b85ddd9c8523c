import type { RetryBudget } from '../../model/policy-types.ts';

const BUCKETS = 10;
const DEFAULT_INTERVAL_MS = 10_000;
/** Windows of one destination: routes to it may bring budgets with intervals of their own. */
export const budgetIntervalsMax = 8;

/**
 * How many of a destination's requests were retries lately. Retries are allowed up to a share of the requests, or a floor
 * per second for destinations with little traffic. Each interval in use has its own window, since two routes that look at
 * one destination over different times must not start each other's counts anew.
 */
export class RetryWindows {
  readonly #windows = new Map<number, Window>([[DEFAULT_INTERVAL_MS, new Window(DEFAULT_INTERVAL_MS)]]);
  #lastAsked: RetryBudget | undefined;

  countRequest(now: number): void {
    for (const window of this.#windows.values()) window.count(now, false);
  }

  countRetry(now: number): void {
    for (const window of this.#windows.values()) window.count(now, true);
  }

  allows(budget: RetryBudget, now: number): boolean {
    this.#lastAsked = budget;
    return this.#windowOf(budget.intervalMs).allows(budget, now);
  }

  /** By the budget that was asked about last; undefined before the first retry was thought of. */
  allowsNow(now: number): boolean | undefined {
    return this.#lastAsked === undefined ? undefined : this.allows(this.#lastAsked, now);
  }

  /** A new window begins empty: until it has seen requests, the floor is what it allows. */
  #windowOf(intervalMs: number): Window {
    const known = this.#windows.get(intervalMs);
    if (known !== undefined) return known;
    const window = new Window(intervalMs);
    const [oldest] = this.#windows.keys();
    if (this.#windows.size >= budgetIntervalsMax && oldest !== undefined) this.#windows.delete(oldest);
    this.#windows.set(intervalMs, window);
    return window;
  }
}

/** Counts of one interval, in ten buckets. */
class Window {
  readonly #bucketMs: number;
  readonly #requests = new Float64Array(BUCKETS);
  readonly #retries = new Float64Array(BUCKETS);
  #slot = 0;

  constructor(intervalMs: number) {
    this.#bucketMs = intervalMs / BUCKETS;
  }

  count(now: number, isRetry: boolean): void {
    this.#turn(now);
    const counts = isRetry ? this.#retries : this.#requests;
    const index = this.#slot % BUCKETS;
    counts[index] = (counts[index] ?? 0) + 1;
  }

  allows(budget: RetryBudget, now: number): boolean {
    this.#turn(now);
    const floor = budget.minPerSecond * (budget.intervalMs / 1000);
    return sum(this.#retries) < Math.max(floor, (sum(this.#requests) * budget.percent) / 100);
  }

  #turn(now: number): void {
    const slot = Math.floor(now / this.#bucketMs);
    const steps = Math.min(BUCKETS, slot - this.#slot);
    for (let step = 1; step <= steps; step++) {
      const index = (this.#slot + step) % BUCKETS;
      this.#requests[index] = 0;
      this.#retries[index] = 0;
    }
    this.#slot = Math.max(this.#slot, slot);
  }
}

function sum(counts: Float64Array): number {
  let total = 0;
  for (const count of counts) total += count;
  return total;
}
