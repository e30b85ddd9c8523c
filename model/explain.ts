import type { Random } from '../common/random.ts';
import { decide } from './decide.ts';
import type {
  BreakerState,
  Decision,
  DecisionState,
  Forward,
  Reason,
  RequestView,
} from './decision-types.ts';
import type { RetryPolicy, TimeoutPolicy } from './policy-types.ts';
import { describeMatch } from './reasons.ts';
import { rewrittenHost, rewrittenPath } from './route/rewrite.ts';
import type { Cluster, Endpoint, RouteEntry, Snapshot } from './snapshot.ts';

/** One match of one rule and why it won or lost. */
export interface ExplainedRule {
  readonly rule: string;
  readonly match: string;
  readonly outcome: Reason['outcome'];
  readonly why: string;
}

/** A decision told in full: plain JSON, for the CLI, the dashboard and a trace's page. */
export interface Explanation {
  readonly destination: string;
  readonly request: { readonly method: string; readonly path: string; readonly query: string };
  readonly decision: Decision['kind'];
  /** Of an answer that the mesh makes itself. */
  readonly answer: { readonly status: number; readonly code: string; readonly message: string } | null;
  /** Of a redirect, which the mesh answers itself, too. */
  readonly redirect: { readonly status: number; readonly location: string } | null;
  readonly rule: string | null;
  readonly rules: readonly ExplainedRule[];
  readonly cluster: string | null;
  readonly endpoint:
    | (Pick<Endpoint, 'key' | 'mtls' | 'identities' | 'health'> & { readonly pod: string | null })
    | null;
  /** What the backend sees in the place of what the client sent; null where it stays. */
  readonly rewrite: { readonly host: string | null; readonly path: string | null } | null;
  /** Where copies of this request go. */
  readonly mirrors: readonly { readonly cluster: string; readonly endpoint: string }[];
  readonly timeouts: TimeoutPolicy | null;
  readonly retry: RetryPolicy | null;
  readonly breaker: BreakerState | 'off' | null;
  readonly delayMs: number;
  readonly reasons: readonly Reason[];
}

/** Runs `decide` and tells why. With `state` of a sidecar's dump it answers for that sidecar at that moment. */
export function explain(
  snapshot: Snapshot,
  destinationKey: string,
  request: RequestView,
  state: DecisionState,
  now: number,
  random: Random,
): Explanation {
  const reasons: Reason[] = [];
  const sink = { add: (reason: Reason) => void reasons.push(reason) };
  const decision = decide(snapshot, destinationKey, request, state, now, random, sink);
  const destination = snapshot.destination(destinationKey);
  const { cluster, rule } = decision;
  const forward = decision.kind === 'forward' ? decision : undefined;
  const policy = forward?.policy ?? rule?.policy;
  return {
    destination: destination?.key ?? destinationKey,
    request: { method: request.method, path: request.path, query: request.query },
    decision: decision.kind,
    answer:
      decision.kind === 'answer'
        ? { status: decision.status, code: decision.failure.code, message: decision.failure.message }
        : null,
    redirect: decision.kind === 'redirect' ? { status: decision.status, location: decision.location } : null,
    rule: rule?.id ?? null,
    rules: explainedRules(destination?.entries ?? [], reasons),
    cluster: cluster?.name ?? null,
    endpoint: forward === undefined ? null : shownEndpoint(forward.endpoint),
    rewrite: forward === undefined ? null : shownRewrite(forward, request),
    mirrors: (forward?.mirrors ?? []).map((mirror) => ({
      cluster: mirror.cluster.name,
      endpoint: mirror.endpoint.key,
    })),
    timeouts:
      policy === undefined || decision.kind === 'redirect' ? null : shownTimeouts(policy.timeouts, cluster),
    retry: decision.kind === 'redirect' ? null : (policy?.retry ?? null),
    breaker:
      cluster === undefined
        ? null
        : cluster.policy.circuitBreaker === undefined
          ? 'off'
          : state.breaker(cluster.name),
    delayMs: decision.delayMs,
    reasons,
  };
}

function shownRewrite({ rule, match, backend }: Forward, { path }: RequestView): Explanation['rewrite'] {
  if (rule === undefined || match === undefined) return null;
  const host = rewrittenHost(rule, backend);
  if (rule.rewrite === undefined && host === undefined) return null;
  const change = rule.rewrite?.path;
  return { host: host ?? null, path: change === undefined ? null : rewrittenPath(path, change, match) };
}

/** A rule that says nothing of connecting leaves it to its backend. */
function shownTimeouts(timeouts: TimeoutPolicy, cluster: Cluster | undefined): TimeoutPolicy {
  const connectMs = timeouts.connectMs > 0 ? timeouts.connectMs : (cluster?.policy.connectMs ?? 0);
  return { ...timeouts, connectMs };
}

function shownEndpoint(endpoint: Endpoint): NonNullable<Explanation['endpoint']> {
  const { key, mtls, identities, health, pod } = endpoint;
  return { key, mtls, identities, health, pod: pod ?? null };
}

/** The reasons about rules come one for each entry, in the same order. */
function explainedRules(
  entries: readonly RouteEntry[],
  reasons: readonly Reason[],
): readonly ExplainedRule[] {
  const told = reasons.filter(({ stage }) => stage === 'route');
  return entries.flatMap((entry, index) => {
    const reason = told[index];
    if (reason === undefined) return [];
    const match = describeMatch(entry.match);
    return [
      { rule: entry.rule.id, match, outcome: reason.outcome, why: reason.text.slice(match.length + 2) },
    ];
  });
}
