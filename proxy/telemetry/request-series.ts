import type { MetricSeries } from '../../common/metrics.ts';
import type { AttemptOutcome, Decision } from '../../model/decision-types.ts';
import type { Cluster, RouteRule } from '../../model/snapshot.ts';
import type { Direction, RequestResult } from '../stage.ts';
import type { SidecarMetrics } from './metrics.ts';

/** The series that a request counts in are found once for each rule, destination and status, not once a request. */
export class RequestSeries {
  readonly #metrics: SidecarMetrics;
  /** Requests that no decision was made about: inbound ones, and those that leave the mesh. */
  readonly #undecided: Readonly<Record<Direction, RouteSeries>>;
  /** Kept for as long as the rule or the destination is in force. */
  readonly #decided = new WeakMap<RouteRule | Cluster, RouteSeries[]>();

  constructor(metrics: SidecarMetrics) {
    this.#metrics = metrics;
    this.#undecided = {
      inbound: new RouteSeries(metrics, 'inbound', undefined, undefined),
      outbound: new RouteSeries(metrics, 'outbound', undefined, undefined),
    };
  }

  of(direction: Direction, decision: Decision | undefined): RouteSeries {
    const rule = decision?.rule;
    const cluster = decision?.cluster;
    const owner = rule ?? cluster;
    if (owner === undefined) return this.#undecided[direction];
    const known = this.#decided.get(owner);
    // A rule has as many destinations as backends: a few.
    const found = known?.find((one) => one.cluster === cluster?.name);
    if (found !== undefined) return found;
    const made = new RouteSeries(this.#metrics, direction, rule, cluster);
    if (known === undefined) this.#decided.set(owner, [made]);
    else known.push(made);
    return made;
  }
}

/** Where the requests of one rule to one destination are counted. */
class RouteSeries {
  readonly cluster: string | undefined;
  readonly #metrics: SidecarMetrics;
  readonly #direction: Direction;
  readonly #service: string;
  readonly #route: string;
  readonly #requests = new Map<number, MetricSeries>();
  readonly #attempts = new Map<number, MetricSeries>();
  #durations: MetricSeries | undefined;

  constructor(
    metrics: SidecarMetrics,
    direction: Direction,
    rule: RouteRule | undefined,
    cluster: Cluster | undefined,
  ) {
    this.#metrics = metrics;
    this.#direction = direction;
    this.cluster = cluster?.name;
    this.#service = cluster === undefined ? '' : serviceOf(cluster);
    this.#route = rule?.id ?? '';
  }

  count(result: RequestResult, durationMs: number, attempts: number): void {
    const { status, failure } = result;
    this.#durations ??= this.#metrics.durations.series(this.#direction, this.#service);
    this.#durations.observe(durationMs / 1000);
    if (failure === undefined) this.#requestsOf(status).add(1);
    else this.#find(status, failure.code).add(1);
    if (this.#direction === 'inbound' || attempts === 0) return;
    this.#attemptsOf(status).add(1);
    if (attempts > 1) this.#metrics.attempts.add(attempts - 1, this.#service, 'retry', String(status));
  }

  /** A copy went to `cluster`; its outcome is the status it was answered with, or why it wasn't. */
  countMirror(cluster: Cluster, outcome: AttemptOutcome | undefined): void {
    const told = outcome?.kind === 'response' ? String(outcome.status) : (outcome?.failure.code ?? '');
    this.#metrics.mirrors.add(1, serviceOf(cluster), this.#route, told);
  }

  #requestsOf(status: number): MetricSeries {
    let found = this.#requests.get(status);
    if (found === undefined) {
      found = this.#find(status, '');
      this.#requests.set(status, found);
    }
    return found;
  }

  #attemptsOf(status: number): MetricSeries {
    let found = this.#attempts.get(status);
    if (found === undefined) {
      found = this.#metrics.attempts.series(this.#service, 'first', String(status));
      this.#attempts.set(status, found);
    }
    return found;
  }

  #find(status: number, reason: string): MetricSeries {
    return this.#metrics.requests.series(this.#direction, this.#service, this.#route, String(status), reason);
  }
}

function serviceOf(cluster: Cluster): string {
  return `${cluster.service}.${cluster.namespace}`;
}
