import { formatDuration } from '../common/duration.ts';
import type { Picked } from './balance/pick.ts';
import type { BreakerState, DecisionState, ReasonSink, RequestView } from './decision-types.ts';
import type { FaultPolicy, RequestPolicy } from './policy-types.ts';
import { CompiledRoutes } from './route/compiled.ts';
import { matchablePath } from './route/path.ts';
import { rewrittenHost, rewrittenPath } from './route/rewrite.ts';
import type {
  Cluster,
  Destination,
  Mirror,
  NamedMatch,
  RouteEntry,
  RouteMatch,
  RouteRule,
  WeightedBackend,
} from './snapshot.ts';

/** The words of a decision. None of this runs unless somebody asked for reasons. */

export function tellDestination(reasons: ReasonSink, key: string, found: Destination | undefined): void {
  reasons.add({
    stage: 'destination',
    subject: key,
    outcome: found === undefined ? 'rejected' : 'chosen',
    text:
      found === undefined
        ? 'not a destination of the mesh'
        : `${found.namespace}/${found.service} port ${found.port}, ${found.entries.length === 0 ? 'no route attached' : `${found.entries.length} matches attached`}`,
  });
}

/** Every match of every rule, in order of precedence: chosen, failed and by what, or later than the winner. */
export function tellRoutes(
  reasons: ReasonSink,
  destination: Destination,
  winner: RouteEntry | undefined,
  request: RequestView,
): void {
  for (const entry of destination.entries) {
    const subject = entry.rule.id;
    const text = describeMatch(entry.match);
    if (entry === winner) {
      reasons.add({ stage: 'route', subject, outcome: 'chosen', text: `${text}: matched` });
    } else if (new CompiledRoutes([entry]).find(request) !== undefined) {
      const by = winner?.rule.id ?? '';
      reasons.add({
        stage: 'route',
        subject,
        outcome: 'skipped',
        text: `${text}: matches too, but ${by} comes first`,
      });
    } else {
      reasons.add({
        stage: 'route',
        subject,
        outcome: 'rejected',
        text: `${text}: ${mismatch(entry, request)}`,
      });
    }
  }
}

/** Which condition fails, found by trying each alone. */
function mismatch(entry: RouteEntry, request: RequestView): string {
  const bare: RouteMatch = {
    path: { kind: 'prefix', value: '/' },
    method: undefined,
    headers: [],
    queryParams: [],
  };
  const fails = (part: Partial<RouteMatch>) =>
    new CompiledRoutes([{ match: { ...bare, ...part }, rule: entry.rule }]).find(request) === undefined;
  const { path, method, headers, queryParams } = entry.match;
  if (fails({ path })) return `path is ${matchablePath(request.path)}`;
  if (method !== undefined && fails({ method })) return `method is ${request.method}`;
  const header = headers.find((one) => fails({ headers: [one] }));
  if (header !== undefined) {
    const value = request.header(header.name);
    return `header ${header.name} is ${value === undefined ? 'absent' : `"${value}"`}`;
  }
  const param = queryParams.find((one) => fails({ queryParams: [one] }));
  return `query parameter ${param?.name ?? ''} does not match`;
}

/** `path prefix /items, header x-user is "beta"`. */
export function describeMatch(match: RouteMatch): string {
  const named = (what: string) => (one: NamedMatch) =>
    `${what} ${one.name} ${one.match.kind === 'exact' ? 'is' : 'matches'} "${one.match.value}"`;
  return [
    `path ${match.path.kind} ${match.path.value}`,
    ...(match.method === undefined ? [] : [`method ${match.method}`]),
    ...match.headers.map(named('header')),
    ...match.queryParams.map(named('query')),
  ].join(', ');
}

export function tellBackend(reasons: ReasonSink, rule: RouteRule, chosen: WeightedBackend | undefined): void {
  const total = rule.backends.reduce((sum, backend) => sum + backend.weight, 0);
  for (const backend of rule.backends) {
    const share = `weight ${backend.weight} of ${total}`;
    const invalid = backend.invalid === undefined ? '' : `, invalid: ${backend.invalid}`;
    reasons.add({
      stage: 'route',
      subject: backend.cluster,
      outcome: backend === chosen ? 'chosen' : 'skipped',
      text: `${share}${invalid}`,
    });
  }
  if (chosen === undefined) {
    reasons.add({
      stage: 'route',
      subject: rule.id,
      outcome: 'rejected',
      text: 'no backend has a weight above 0',
    });
  }
}

export function tellRedirect(reasons: ReasonSink, rule: RouteRule, status: number, location: string): void {
  reasons.add({ stage: 'redirect', subject: rule.id, outcome: 'chosen', text: `${status} to ${location}` });
}

/** What the backend sees in the place of what the client sent. */
export function tellRewrite(
  reasons: ReasonSink,
  { rule, match }: RouteEntry,
  backend: WeightedBackend | undefined,
  request: RequestView,
): void {
  const texts = [];
  const host = rewrittenHost(rule, backend);
  if (host !== undefined) texts.push(`host ${request.header('host') ?? '(none)'} becomes ${host}`);
  const path = rule.rewrite?.path;
  if (path !== undefined) {
    texts.push(`path ${request.path} becomes ${rewrittenPath(request.path, path, match)}`);
  }
  if (texts.length > 0) {
    reasons.add({ stage: 'rewrite', subject: rule.id, outcome: 'info', text: texts.join(', ') });
  }
}

export function tellMirror(
  reasons: ReasonSink,
  mirror: Mirror,
  outcome: 'chosen' | 'skipped' | 'rejected',
  what: string,
): void {
  const text = `${mirror.numerator} of ${mirror.denominator} requests are copied: ${what}`;
  reasons.add({ stage: 'mirror', subject: mirror.cluster, outcome, text });
}

export function tellAbort(reasons: ReasonSink, subject: string, faults: FaultPolicy): void {
  const text = `aborted with ${faults.abortStatus} by policy`;
  reasons.add({ stage: 'fault', subject, outcome: 'chosen', text });
}

export function tellForward(
  reasons: ReasonSink,
  cluster: Cluster,
  policy: RequestPolicy,
  breaker: BreakerState,
): void {
  const subject = cluster.name;
  const off = cluster.policy.circuitBreaker === undefined;
  reasons.add({
    stage: 'breaker',
    subject,
    outcome: breaker === 'open' ? 'rejected' : 'info',
    text: off ? 'no breaker' : `breaker ${breaker}`,
  });
  const { timeouts, retry } = policy;
  const shown = (ms: number) => (ms === 0 ? 'none' : formatDuration(ms));
  reasons.add({
    stage: 'policy',
    subject,
    outcome: 'info',
    text: `timeout ${shown(timeouts.requestMs)}, per attempt ${shown(timeouts.backendRequestMs)}; ${retry.attempts} retries`,
  });
}

export function tellEndpoint(
  reasons: ReasonSink,
  cluster: Cluster,
  picked: Picked,
  state: DecisionState,
  now: number,
): void {
  for (const endpoint of cluster.endpoints) {
    const notes = [`${state.inFlight(cluster.name, endpoint.key)} in flight`];
    const latency = state.latencyMs(cluster.name, endpoint.key, now);
    if (latency !== undefined) notes.push(`${latency.toFixed(1)} ms`);
    if (state.ejected(cluster.name, endpoint.key)) notes.push('ejected');
    if (endpoint.health === 'draining') notes.push('draining');
    const subject = endpoint.pod === undefined ? endpoint.key : `${endpoint.key} (${endpoint.pod})`;
    reasons.add({
      stage: 'balance',
      subject,
      outcome: endpoint === picked ? 'chosen' : 'skipped',
      text: `${cluster.policy.loadBalancer.policy}: ${notes.join(', ')}`,
    });
  }
  if (typeof picked === 'string')
    reasons.add({ stage: 'balance', subject: cluster.name, outcome: 'rejected', text: picked });
}
