import type { OutlierEjectionPolicy } from '../../model/policy-types.ts';

/** Time after which an old measurement weighs 1/e. */
const LATENCY_DECAY_MS = 10_000;

/** What is known of one endpoint of one cluster: load, latency, ejection. */
export class EndpointState {
  inFlight = 0;
  #latencyMs: number | undefined;
  #measuredAtMs = 0;
  #consecutiveErrors = 0;
  #ejections = 0;
  #ejectedUntilMs = 0;

  /** Peak-EWMA: a slower answer counts at once, faster ones pull the value down over time. */
  measured(latencyMs: number, now: number): void {
    const old = this.#latencyMs;
    if (old === undefined || latencyMs >= old) {
      this.#latencyMs = latencyMs;
    } else {
      const weight = Math.exp(-(now - this.#measuredAtMs) / LATENCY_DECAY_MS);
      this.#latencyMs = old * weight + latencyMs * (1 - weight);
    }
    this.#measuredAtMs = now;
  }

  /** Decays towards 0 while nothing is measured, so that a slow endpoint gets another chance. */
  latencyMs(now: number): number | undefined {
    if (this.#latencyMs === undefined) return undefined;
    return this.#latencyMs * Math.exp(-Math.max(0, now - this.#measuredAtMs) / LATENCY_DECAY_MS);
  }

  succeeded(): void {
    this.#consecutiveErrors = 0;
    if (this.#ejectedUntilMs === 0) this.#ejections = 0;
  }

  /** True where this failure ejects the endpoint, `mayEject` allowing. */
  failed(policy: OutlierEjectionPolicy, now: number, mayEject: () => boolean): boolean {
    this.#consecutiveErrors++;
    if (policy.consecutiveErrors <= 0 || this.#consecutiveErrors < policy.consecutiveErrors) return false;
    if (this.ejected(now) || !mayEject()) return false;
    this.#ejections++;
    this.#consecutiveErrors = 0;
    this.#ejectedUntilMs = now + Math.min(policy.baseEjectionMs * this.#ejections, policy.maxEjectionMs);
    return true;
  }

  ejected(now: number): boolean {
    if (this.#ejectedUntilMs === 0) return false;
    if (now < this.#ejectedUntilMs) return true;
    this.#ejectedUntilMs = 0;
    return false;
  }

  ejectedForMs(now: number): number {
    return Math.max(0, this.#ejectedUntilMs - now);
  }
}
