import type { Clock } from '../../common/clock.ts';
import type { MeshFailure, Result } from '../../common/errors.ts';
import type { ReasonCode } from '../../common/reasons.ts';
import type { AttemptOutcome, BreakerState } from '../../model/decision-types.ts';
import type { RetryBudget } from '../../model/policy-types.ts';
import type { Cluster, Endpoint, Snapshot } from '../../model/snapshot.ts';
import type { ClusterStateDump, DecisionStateDump } from '../../model/state.ts';
import type { AttemptHandle, PolicyStage } from '../stage.ts';
import { type BreakerTicket, BucketClock } from './breaker.ts';
import { ClusterState } from './cluster-state.ts';
import type { EndpointState } from './endpoint-state.ts';
import { breakerVerdict, endpointVerdict } from './outcomes.ts';

/** What happened, for metrics and the log. */
export interface PolicyEvents {
  breakerChanged(cluster: string, state: BreakerState): void;
  endpointEjected(cluster: string, endpoint: string, forMs: number): void;
  /** The cluster is gone, and its breaker with it. */
  clusterForgotten(cluster: string): void;
}

/**
 * The state that decisions read and attempts change: breakers, ejections, budgets, loads. One object per cluster that has
 * seen traffic; `retain` drops those that are gone.
 */
export class LiveState implements PolicyStage {
  readonly #clock: Clock;
  readonly #events: PolicyEvents;
  readonly #buckets: BucketClock;
  readonly #clusters = new Map<string, ClusterState>();

  constructor(clock: Clock, events: PolicyEvents) {
    this.#clock = clock;
    this.#events = events;
    this.#buckets = new BucketClock(clock);
  }

  breaker(cluster: string): BreakerState {
    return this.#clusters.get(cluster)?.breakerState() ?? 'closed';
  }

  ejected(cluster: string, endpoint: string): boolean {
    return this.#clusters.get(cluster)?.endpoint(endpoint)?.ejected(this.#clock.now()) ?? false;
  }

  inFlight(cluster: string, endpoint: string): number {
    return this.#clusters.get(cluster)?.endpoint(endpoint)?.inFlight ?? 0;
  }

  latencyMs(cluster: string, endpoint: string, now: number): number | undefined {
    return this.#clusters.get(cluster)?.endpoint(endpoint)?.latencyMs(now);
  }

  roundRobin(cluster: string): number {
    const state = this.#clusters.get(cluster);
    return state === undefined ? 0 : state.turns++;
  }

  requestsInFlight(cluster: string): number {
    return this.#clusters.get(cluster)?.requestsInFlight ?? 0;
  }

  retriesInFlight(cluster: string): number {
    return this.#clusters.get(cluster)?.retriesInFlight ?? 0;
  }

  retryBudgetAllows(cluster: string, now: number, budget: RetryBudget): boolean {
    return this.#clusters.get(cluster)?.retries.allows(budget, now) ?? true;
  }

  begin(cluster: Cluster, endpoint: Endpoint, isRetry: boolean): Result<AttemptHandle, MeshFailure> {
    const state = this.#stateOf(cluster);
    const { limits } = cluster.policy;
    if (state.requestsInFlight >= limits.maxRequests) {
      return refuse(
        'limit-requests',
        `${cluster.name} has ${limits.maxRequests} requests in flight, its limit (limits.maxRequests)`,
      );
    }
    if (isRetry && state.retriesInFlight >= limits.maxRetries) {
      return refuse(
        'limit-retries',
        `${cluster.name} has ${limits.maxRetries} retries in flight, its limit (limits.maxRetries)`,
      );
    }
    const ticket = state.breaker?.fire();
    if (state.breaker !== undefined && ticket === undefined) {
      return refuse('circuit-open', `the breaker of ${cluster.name} is open: it failed too often lately`);
    }
    const now = this.#clock.now();
    if (isRetry) state.retries.countRetry(now);
    else state.retries.countRequest(now);
    return { ok: true, value: new Admitted(this, cluster, endpoint, state, isRetry, now, ticket) };
  }

  /** What ejection and latency learn from an attempt. */
  learn(
    cluster: Cluster,
    endpoint: Endpoint,
    state: ClusterState,
    outcome: AttemptOutcome,
    startedMs: number,
  ): void {
    const now = this.#clock.now();
    const target = state.endpointOf(endpoint.key);
    // A timeout is an answer as slow as that; a refusal comes fast and says nothing about speed.
    if (outcome.kind === 'response' || outcome.condition === 'timeout') target.measured(now - startedMs, now);
    const verdict = endpointVerdict(outcome);
    if (verdict === 'success') target.succeeded();
    if (verdict !== 'failure') return;
    const policy = cluster.policy.outlierEjection;
    const mayEject = () => state.ejectedAmong(cluster.endpoints, now) + 1 <= ejectionsMax(cluster);
    if (target.failed(policy, now, mayEject)) {
      this.#events.endpointEjected(cluster.name, endpoint.key, target.ejectedForMs(now));
    }
  }

  #stateOf(cluster: Cluster): ClusterState {
    let state = this.#clusters.get(cluster.name);
    if (state === undefined) {
      state = new ClusterState();
      this.#clusters.set(cluster.name, state);
    }
    state.follow(cluster, this.#buckets, (breaker) => this.#events.breakerChanged(cluster.name, breaker));
    return state;
  }

  retain(snapshot: Snapshot, clusters: ReadonlySet<string>): void {
    for (const [name, state] of this.#clusters) {
      const cluster = snapshot.cluster(name);
      if (cluster === undefined || !clusters.has(name)) {
        state.close();
        this.#clusters.delete(name);
        this.#events.clusterForgotten(name);
      } else {
        state.retain(new Set(cluster.endpoints.map((endpoint) => endpoint.key)));
      }
    }
  }

  /** Plain JSON of everything a decision reads, for the admin page and `heddle explain`. */
  dump(): DecisionStateDump {
    const now = this.#clock.now();
    const clusters: Record<string, ClusterStateDump> = {};
    for (const [name, state] of this.#clusters) clusters[name] = state.dump(now);
    return { clusters };
  }

  close(): void {
    for (const state of this.#clusters.values()) state.close();
    this.#clusters.clear();
  }
}

/** An attempt that limits and breaker let through. */
class Admitted implements AttemptHandle {
  readonly #live: LiveState;
  readonly #cluster: Cluster;
  readonly #endpoint: Endpoint;
  readonly #state: ClusterState;
  readonly #target: EndpointState;
  readonly #isRetry: boolean;
  readonly #startedMs: number;
  readonly #ticket: BreakerTicket | undefined;

  constructor(
    live: LiveState,
    cluster: Cluster,
    endpoint: Endpoint,
    state: ClusterState,
    isRetry: boolean,
    startedMs: number,
    ticket: BreakerTicket | undefined,
  ) {
    this.#live = live;
    this.#cluster = cluster;
    this.#endpoint = endpoint;
    this.#state = state;
    this.#target = state.endpointOf(endpoint.key);
    this.#isRetry = isRetry;
    this.#startedMs = startedMs;
    this.#ticket = ticket;
    state.requestsInFlight++;
    if (isRetry) state.retriesInFlight++;
    this.#target.inFlight++;
  }

  settle(outcome: AttemptOutcome): void {
    const { circuitBreaker } = this.#cluster.policy;
    if (circuitBreaker !== undefined) this.#ticket?.settle(breakerVerdict(outcome, circuitBreaker));
    this.#live.learn(this.#cluster, this.#endpoint, this.#state, outcome, this.#startedMs);
  }

  finish(): void {
    this.#state.requestsInFlight--;
    if (this.#isRetry) this.#state.retriesInFlight--;
    this.#target.inFlight--;
  }
}

/** At least one endpoint stays where there is only one. */
function ejectionsMax(cluster: Cluster): number {
  return Math.floor((cluster.endpoints.length * cluster.policy.outlierEjection.maxEjectionPercent) / 100);
}

function refuse(code: ReasonCode, message: string): Result<AttemptHandle, MeshFailure> {
  return { ok: false, error: { code, source: 'mesh', retrySafety: 'never', message } };
}
