import type { Random } from '../common/random.ts';
import type { ReasonCode } from '../common/reasons.ts';
import { pickEndpoint } from './balance/pick.ts';
import type {
  AttemptHistory,
  AttemptOutcome,
  DecisionState,
  Forward,
  ReasonSink,
  RequestView,
  RetryDecision,
} from './decision-types.ts';
import type { RetryPolicy } from './policy-types.ts';

const GRPC_CODES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
];
export const GRPC_STATUS_NAMES: readonly string[] = GRPC_CODES;

/** What an outcome allows: `always` it never reached the app, `idempotent` only for the policy's methods. */
type Verdict =
  | { readonly retry: 'always'; readonly needsBody: boolean; readonly why: string }
  | { readonly retry: 'idempotent'; readonly why: string }
  | { readonly retry: 'no'; readonly why: string };

/**
 * Whether and where an attempt is made again. What provably never reached the app is retried for every method; statuses,
 * resets and timeouts only where the policy asks, for its methods, with the whole body still held, and only for a first
 * try: an attempt that is itself a retry of a caller in the mesh (`x-heddle-attempt` above 1) is its caller's to repeat,
 * so that layers don't multiply. Limits, budget, breaker and the time left bound them all.
 */
export function afterAttempt(
  decision: Forward,
  outcome: AttemptOutcome,
  history: AttemptHistory,
  request: RequestView,
  state: DecisionState,
  now: number,
  random: Random,
  reasons?: ReasonSink,
): RetryDecision {
  const { cluster, policy } = decision;
  const { retry } = policy;
  const verdict = verdictOn(outcome, retry);
  const refusal = refuse(verdict, history, request, retry);
  if (refusal !== undefined) return giveUp(reasons, cluster.name, refusal, undefined);
  const delayMs = backoffMs(retry, history.attempts, random);
  if (history.remainingMs !== undefined && delayMs >= history.remainingMs) {
    return giveUp(reasons, cluster.name, 'no time is left of the request timeout', undefined);
  }
  if (cluster.policy.circuitBreaker !== undefined && state.breaker(cluster.name) === 'open') {
    return giveUp(reasons, cluster.name, 'the breaker is open', 'circuit-open');
  }
  if (state.retriesInFlight(cluster.name) >= cluster.policy.limits.maxRetries) {
    return giveUp(reasons, cluster.name, 'the limit of retries in flight is reached', 'limit-retries');
  }
  if (!state.retryBudgetAllows(cluster.name, now, retry.budget)) {
    return giveUp(reasons, cluster.name, 'the retry budget is spent', 'retry-budget');
  }
  const endpoint = pickEndpoint(cluster, request, request.sourceAddress, state, now, random, history.tried);
  if (typeof endpoint === 'string') return giveUp(reasons, cluster.name, 'no endpoint is left', endpoint);
  reasons?.add({
    stage: 'retry',
    subject: cluster.name,
    outcome: 'chosen',
    text: `${verdict.why}: attempt ${history.attempts + 1} in ${Math.round(delayMs)} ms at ${endpoint.key}`,
  });
  return { kind: 'retry', delayMs, endpoint };
}

function verdictOn(outcome: AttemptOutcome, retry: RetryPolicy): Verdict {
  if (outcome.kind === 'response') return verdictOnResponse(outcome, retry);
  const { failure, condition } = outcome;
  const what = `${condition} (${failure.code})`;
  if (failure.retrySafety === 'never') return { retry: 'no', why: `${what} is never retried` };
  const asked = isAsked(condition, retry);
  if (!asked) return { retry: 'no', why: `${what} is not among the conditions to retry` };
  const unsent = failure.retrySafety === 'always' && condition !== 'reset' && condition !== 'timeout';
  if (!unsent) return { retry: 'idempotent', why: what };
  // A stream that was refused had its body taken already; the other conditions come before any of it is sent.
  return { retry: 'always', needsBody: condition === 'refused-stream', why: what };
}

function isAsked(
  condition: Extract<AttemptOutcome, { kind: 'failure' }>['condition'],
  retry: RetryPolicy,
): boolean {
  switch (condition) {
    case 'connect-failure':
    case 'refused-stream':
    case 'reset-before-request':
      return retry.on.includes(condition);
    case 'reset':
      return retry.on.includes('reset') || retry.on.includes('gateway-error');
    case 'timeout':
      // As Envoy has it, a reset is any end without an answer.
      return retry.on.includes('reset') || retry.on.includes('gateway-error') || retry.codes.includes(504);
    case 'breaker':
    case 'other':
      return false;
  }
}

function verdictOnResponse(
  outcome: Extract<AttemptOutcome, { kind: 'response' }>,
  retry: RetryPolicy,
): Verdict {
  const { status, grpcStatus, appRefused } = outcome;
  if (appRefused && retry.on.includes('refused-stream')) {
    return { retry: 'always', needsBody: true, why: 'the app refused the connection' };
  }
  const gateway = retry.on.includes('gateway-error') && status >= 502 && status <= 504;
  if (gateway || retry.codes.includes(status)) return { retry: 'idempotent', why: `status ${status}` };
  if (grpcStatus !== undefined && retry.grpcStatus.includes(grpcName(grpcStatus))) {
    return { retry: 'idempotent', why: `gRPC status ${grpcName(grpcStatus)}` };
  }
  return { retry: 'no', why: `status ${status} is an answer` };
}

/** By name; `grpc-status` carries a number. */
function grpcName(status: string): string {
  return /^\d{1,2}$/.test(status) ? (GRPC_CODES[Number(status)] ?? status) : status;
}

/** Why there is no further attempt, or undefined where there may be. */
function refuse(
  verdict: Verdict,
  history: AttemptHistory,
  request: RequestView,
  retry: RetryPolicy,
): string | undefined {
  if (verdict.retry === 'no') return verdict.why;
  if (history.responseStarted) return 'the response has begun';
  if (history.attempts > retry.attempts) return `all ${retry.attempts + 1} attempts are used`;
  const needsBody = verdict.retry === 'idempotent' || verdict.needsBody;
  if (needsBody && !history.bodyReplayable) return 'the request body is not held any more';
  if (verdict.retry === 'always') return undefined;
  if (!retry.methods.includes(request.method)) {
    return `${verdict.why}, and ${request.method} may have had its effect already`;
  }
  if (history.incomingAttempt > 1) return 'the request is a retry of its caller, who decides';
  return undefined;
}

/** Full jitter between the base and a ceiling that doubles with each attempt up to the maximum. */
function backoffMs(retry: RetryPolicy, attempts: number, random: Random): number {
  const ceiling = Math.min(retry.backoffMaxMs, retry.backoffBaseMs * 2 ** attempts);
  return retry.backoffBaseMs + random.next() * Math.max(0, ceiling - retry.backoffBaseMs);
}

function giveUp(
  reasons: ReasonSink | undefined,
  subject: string,
  text: string,
  code: ReasonCode | undefined,
): RetryDecision {
  reasons?.add({ stage: code === undefined ? 'retry' : 'limit', subject, outcome: 'rejected', text });
  return { kind: 'give-up', code };
}
