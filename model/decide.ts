import type { Random } from '../common/random.ts';
import { type ReasonCode, statusOfReason } from '../common/reasons.ts';
import { pickEndpoint } from './balance/pick.ts';
import type {
  Answer,
  Decision,
  DecisionState,
  Forward,
  MirrorTarget,
  ReasonSink,
  RedirectAnswer,
  RequestView,
} from './decision-types.ts';
import { pickMirrors } from './mirror.ts';
import { type FaultPolicy, NO_FAULTS, type RequestPolicy } from './policy-types.ts';
import {
  tellAbort,
  tellBackend,
  tellDestination,
  tellEndpoint,
  tellForward,
  tellRedirect,
  tellRewrite,
  tellRoutes,
} from './reasons.ts';
import { compiledRoutes } from './route/compiled.ts';
import { locationOf } from './route/rewrite.ts';
import type {
  Cluster,
  Destination,
  Redirect,
  RouteEntry,
  RouteRule,
  Snapshot,
  WeightedBackend,
} from './snapshot.ts';

export { afterAttempt } from './retry.ts';

/**
 * Where one request goes: destination, rule, redirect or backend, breaker, limits, faults, endpoint, mirrors, in this order.
 * Pure but for `random` and the round-robin counter of `state`. Without `reasons` no text is made.
 */
export function decide(
  snapshot: Snapshot,
  destinationKey: string,
  request: RequestView,
  state: DecisionState,
  now: number,
  random: Random,
  reasons?: ReasonSink,
): Decision {
  const destination = snapshot.destination(destinationKey);
  if (reasons !== undefined) tellDestination(reasons, destinationKey, destination);
  if (destination === undefined) return unknownDestination(destinationKey);
  if (destination.entries.length === 0) {
    const { defaultCluster, policy } = destination;
    return forward(
      snapshot,
      destination,
      undefined,
      undefined,
      defaultCluster,
      policy,
      request,
      request.sourceAddress,
      state,
      now,
      random,
      reasons,
    );
  }
  const entry = compiledRoutes(destination).find(request);
  if (reasons !== undefined) tellRoutes(reasons, destination, entry, request);
  if (entry === undefined) {
    return answer(
      'no-route',
      `no rule attached to ${destination.key} matches ${request.method} ${request.path}`,
    );
  }
  const { rule } = entry;
  if (rule.redirect !== undefined) {
    return redirected(rule.redirect, entry, destination, request, random, reasons);
  }
  const backend = pickBackend(rule.backends, random);
  if (reasons !== undefined) tellBackend(reasons, rule, backend);
  if (backend === undefined || backend.invalid !== undefined) {
    const why = backend?.invalid ?? 'it has no backend with a weight above 0';
    return answer('no-backend', `rule ${rule.id} can't be served: ${why}`, rule);
  }
  return forward(
    snapshot,
    destination,
    entry,
    backend,
    backend.cluster,
    rule.policy,
    request,
    request.sourceAddress,
    state,
    now,
    random,
    reasons,
  );
}

/** As `decide`, for a connection whose bytes aren't looked at: routes, which speak of HTTP, and faults don't apply. */
export function decideTcp(
  snapshot: Snapshot,
  destinationKey: string,
  state: DecisionState,
  now: number,
  random: Random,
  sourceAddress: string | undefined,
  reasons?: ReasonSink,
): Forward | Answer {
  const destination = snapshot.destination(destinationKey);
  if (reasons !== undefined) tellDestination(reasons, destinationKey, destination);
  if (destination === undefined) return unknownDestination(destinationKey);
  const { defaultCluster } = destination;
  const policy = { ...destination.policy, faults: NO_FAULTS };
  return forward(
    snapshot,
    destination,
    undefined,
    undefined,
    defaultCluster,
    policy,
    undefined,
    sourceAddress,
    state,
    now,
    random,
    reasons,
  );
}

function forward(
  snapshot: Snapshot,
  destination: Destination,
  entry: RouteEntry | undefined,
  backend: WeightedBackend | undefined,
  clusterName: string,
  policy: RequestPolicy,
  request: RequestView | undefined,
  sourceAddress: string | undefined,
  state: DecisionState,
  now: number,
  random: Random,
  reasons: ReasonSink | undefined,
): Forward | Answer {
  const rule = entry?.rule;
  const cluster = snapshot.cluster(clusterName);
  if (cluster === undefined) {
    return answer('config-unavailable', `the backend ${clusterName} has not been configured yet`, rule);
  }
  const breaker = cluster.policy.circuitBreaker === undefined ? 'closed' : state.breaker(cluster.name);
  if (reasons !== undefined) tellForward(reasons, cluster, policy, breaker);
  if (breaker === 'open') {
    return answer('circuit-open', `the breaker of ${cluster.service} is open`, rule, cluster);
  }
  if (state.requestsInFlight(cluster.name) >= cluster.policy.limits.maxRequests) {
    const { maxRequests } = cluster.policy.limits;
    return answer(
      'limit-requests',
      `${cluster.service} has ${maxRequests} requests in flight`,
      rule,
      cluster,
    );
  }
  const { faults } = policy;
  const delayMs = drawDelayMs(faults, random);
  if (drawAbort(faults, random)) return aborted(faults, cluster.name, rule, cluster, delayMs, reasons);
  const endpoint = pickEndpoint(cluster, request, sourceAddress, state, now, random);
  if (reasons !== undefined) tellEndpoint(reasons, cluster, endpoint, state, now);
  if (typeof endpoint === 'string') {
    const what = endpoint === 'no-endpoints' ? 'has no ready endpoint' : 'has only ejected endpoints';
    return answer(
      endpoint,
      `${cluster.namespace}/${cluster.service} port ${cluster.port} ${what}`,
      rule,
      cluster,
      delayMs,
    );
  }
  const mirrors =
    rule === undefined || request === undefined || rule.mirrors.length === 0
      ? NO_MIRRORS
      : pickMirrors(rule.mirrors, snapshot, request, sourceAddress, state, now, random, reasons);
  if (reasons !== undefined && entry !== undefined && request !== undefined)
    tellRewrite(reasons, entry, backend, request);
  return {
    kind: 'forward',
    destination,
    rule,
    match: entry?.match,
    backend,
    mirrors,
    cluster,
    endpoint,
    policy,
    timeouts: policy.timeouts,
    delayMs,
  };
}

const NO_MIRRORS: readonly MirrorTarget[] = Object.freeze([]);

function redirected(
  redirect: Redirect,
  { rule, match }: RouteEntry,
  destination: Destination,
  request: RequestView,
  random: Random,
  reasons: ReasonSink | undefined,
): RedirectAnswer | Answer {
  const { faults } = rule.policy;
  const delayMs = drawDelayMs(faults, random);
  if (drawAbort(faults, random)) return aborted(faults, rule.id, rule, undefined, delayMs, reasons);
  const { status } = redirect;
  const location = locationOf(redirect, match, request, destination);
  if (reasons !== undefined) tellRedirect(reasons, rule, status, location);
  return { kind: 'redirect', destination, rule, status, location, cluster: undefined, delayMs };
}

function drawDelayMs(faults: FaultPolicy, random: Random): number {
  return faults.delayPercent > 0 && random.next() * 100 < faults.delayPercent ? faults.delayMs : 0;
}

function drawAbort(faults: FaultPolicy, random: Random): boolean {
  return faults.abortPercent > 0 && random.next() * 100 < faults.abortPercent;
}

function aborted(
  faults: FaultPolicy,
  subject: string,
  rule: RouteRule | undefined,
  cluster: Cluster | undefined,
  delayMs: number,
  reasons: ReasonSink | undefined,
): Answer {
  if (reasons !== undefined) tellAbort(reasons, subject, faults);
  return answer('fault', 'aborted by a fault policy', rule, cluster, delayMs, faults.abortStatus);
}

function pickBackend(backends: readonly WeightedBackend[], random: Random): WeightedBackend | undefined {
  let total = 0;
  for (const backend of backends) total += backend.weight;
  if (total <= 0) return undefined;
  let left = backends.length === 1 ? 0 : random.next() * total;
  for (const backend of backends) {
    left -= backend.weight;
    if (left < 0) return backend;
  }
  return undefined;
}

function unknownDestination(key: string): Answer {
  return answer('unknown-destination', `${key} is not a destination of the mesh`);
}

function answer(
  code: ReasonCode,
  message: string,
  rule?: RouteRule,
  cluster?: Cluster,
  delayMs = 0,
  status = statusOfReason(code),
): Answer {
  const failure = { code, source: 'mesh', retrySafety: 'never', message } as const;
  return { kind: 'answer', status, failure, rule, cluster, delayMs };
}
