import type { BreakerState } from '../../model/decision-types.ts';
import type { CircuitBreakerPolicy } from '../../model/policy-types.ts';
import type { Cluster, Endpoint } from '../../model/snapshot.ts';
import type { ClusterStateDump, EndpointStateDump } from '../../model/state.ts';
import { Breaker, type BucketClock } from './breaker.ts';
import { EndpointState } from './endpoint-state.ts';
import { RetryWindows } from './retry-budget.ts';

/** Live state of one destination and its endpoints. */
export class ClusterState {
  requestsInFlight = 0;
  retriesInFlight = 0;
  turns = 0;
  readonly retries = new RetryWindows();
  breaker: Breaker | undefined;
  #policy: CircuitBreakerPolicy | undefined;
  #policyText: string | undefined;
  readonly #endpoints = new Map<string, EndpointState>();

  breakerState(): BreakerState {
    return this.breaker?.state() ?? 'closed';
  }

  endpoint(key: string): EndpointState | undefined {
    return this.#endpoints.get(key);
  }

  endpointOf(key: string): EndpointState {
    let state = this.#endpoints.get(key);
    if (state === undefined) {
      state = new EndpointState();
      this.#endpoints.set(key, state);
    }
    return state;
  }

  /** Makes, replaces or drops the breaker as the policy in force has it; an unchanged policy keeps its counts. */
  follow(cluster: Cluster, buckets: BucketClock, onBreaker: (state: BreakerState) => void): void {
    const policy = cluster.policy.circuitBreaker;
    if (policy === this.#policy) return;
    this.#policy = policy;
    // Each snapshot brings new objects; only other numbers are another policy.
    const text = policy === undefined ? undefined : JSON.stringify(policy);
    if (text === this.#policyText) return;
    this.#policyText = text;
    const was = this.breakerState();
    this.breaker?.shutdown();
    this.breaker = policy === undefined ? undefined : new Breaker(policy, buckets, onBreaker);
    if (was !== 'closed') onBreaker('closed');
  }

  ejectedAmong(endpoints: readonly Endpoint[], now: number): number {
    let ejected = 0;
    for (const { key } of endpoints) if (this.#endpoints.get(key)?.ejected(now) === true) ejected++;
    return ejected;
  }

  retain(keys: ReadonlySet<string>): void {
    for (const [key, state] of this.#endpoints) {
      if (!keys.has(key) && state.inFlight === 0) this.#endpoints.delete(key);
    }
  }

  dump(now: number): ClusterStateDump & { readonly counts?: ReturnType<Breaker['counts']> } {
    const endpoints: Record<string, EndpointStateDump & { readonly ejectedForMs?: number }> = {};
    for (const [key, state] of this.#endpoints) {
      const latencyMs = state.latencyMs(now);
      const ejected = state.ejected(now);
      endpoints[key] = {
        inFlight: state.inFlight,
        ...(latencyMs === undefined ? {} : { latencyMs }),
        ...(ejected ? { ejected, ejectedForMs: state.ejectedForMs(now) } : {}),
      };
    }
    const retryBudgetAllows = this.retries.allowsNow(now);
    return {
      requestsInFlight: this.requestsInFlight,
      retriesInFlight: this.retriesInFlight,
      ...(retryBudgetAllows === undefined ? {} : { retryBudgetAllows }),
      endpoints,
      ...(this.breaker === undefined ? {} : { breaker: this.breaker.state(), counts: this.breaker.counts() }),
    };
  }

  close(): void {
    this.breaker?.shutdown();
    this.breaker = undefined;
    this.#policy = undefined;
    this.#policyText = undefined;
  }
}
