import type { RetryBudget } from '../../model/policy-types.ts';

const BUCKETS = 10;

/**
 * How many of a destination's requests were retries lately: a window of ten buckets over the budget's interval. Retries
 * are allowed up to a share of the requests, or a floor per second for destinations with little traffic.
 */
export class RetryWindow {
  readonly #requests = new Float64Array(BUCKETS);
  readonly #retries = new Float64Array(BUCKETS);
  #intervalMs = 10_000;
  #slot = 0;

  countRequest(now: number): void {
    this.#turn(now);
    this.#add(this.#requests);
  }

  countRetry(now: number): void {
    this.#turn(now);
    this.#add(this.#retries);
  }

  allows(budget: RetryBudget, now: number): boolean {
    if (budget.intervalMs !== this.#intervalMs) this.#restart(budget.intervalMs, now);
    this.#turn(now);
    const requests = sum(this.#requests);
    const retries = sum(this.#retries);
    const floor = budget.minPerSecond * (budget.intervalMs / 1000);
    return retries < Math.max(floor, (requests * budget.percent) / 100);
  }

  #restart(intervalMs: number, now: number): void {
    this.#intervalMs = intervalMs;
    this.#requests.fill(0);
    this.#retries.fill(0);
    this.#slot = this.#slotOf(now);
  }

  #slotOf(now: number): number {
    return Math.floor(now / (this.#intervalMs / BUCKETS));
  }

  #turn(now: number): void {
    const slot = this.#slotOf(now);
    const steps = Math.min(BUCKETS, slot - this.#slot);
    for (let step = 1; step <= steps; step++) {
      const index = (this.#slot + step) % BUCKETS;
      this.#requests[index] = 0;
      this.#retries[index] = 0;
    }
    if (steps === BUCKETS) {
      this.#requests.fill(0);
      this.#retries.fill(0);
    }
    this.#slot = Math.max(this.#slot, slot);
  }

  #add(counts: Float64Array): void {
    const index = this.#slot % BUCKETS;
    counts[index] = (counts[index] ?? 0) + 1;
  }
}

function sum(counts: Float64Array): number {
  let total = 0;
  for (const count of counts) total += count;
  return total;
}
