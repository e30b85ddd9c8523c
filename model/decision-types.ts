import type { MeshFailure } from '../common/errors.ts';
import type { ReasonCode } from '../common/reasons.ts';
import type { RequestPolicy, RetryBudget, TimeoutPolicy } from './policy-types.ts';
import type {
  Cluster,
  Destination,
  Endpoint,
  RedirectStatus,
  RouteMatch,
  RouteRule,
  WeightedBackend,
} from './snapshot.ts';

/** What a decision reads of a request. The proxy's parsed head and the CLI's `-H` list both fit behind it. */
export interface RequestView {
  readonly method: string;
  /** Without the query, as received (no decoding). */
  readonly path: string;
  /** Without `?`; empty where there is none. */
  readonly query: string;
  /** The value of a header by lower-case name, several joined by `, `; undefined where absent. */
  header(name: string): string | undefined;
  /** The client's IP address, for hashing. */
  readonly sourceAddress: string | undefined;
}

export type BreakerState = 'closed' | 'open' | 'half-open';

/**
 * The live state that a decision may read, a plain view: breakers, ejection, load, limits. It never changes anything;
 * the caller reports back what it did with the decision.
 */
export interface DecisionState {
  /** Of the breaker of a cluster; `closed` where it has none. `half-open` with its probe already out reads as `open`. */
  breaker(cluster: string): BreakerState;
  ejected(cluster: string, endpoint: string): boolean;
  /** Requests in flight to an endpoint. */
  inFlight(cluster: string, endpoint: string): number;
  /** Peak-EWMA latency in milliseconds, decayed to `now`; undefined where nothing was measured yet. */
  latencyMs(cluster: string, endpoint: string, now: number): number | undefined;
  /** Next number of the round robin of a cluster: a counter that the caller advances per use. */
  roundRobin(cluster: string): number;
  requestsInFlight(cluster: string): number;
  retriesInFlight(cluster: string): number;
  /** Whether the retry budget of a cluster has room for one more now. */
  retryBudgetAllows(cluster: string, now: number, budget: RetryBudget): boolean;
}

/** One step of a decision, in words a person reads: `HTTPRoute/shop/catalog#1: header x-user is "beta": matched`. */
export interface Reason {
  readonly stage:
    | 'destination'
    | 'route'
    | 'redirect'
    | 'rewrite'
    | 'mirror'
    | 'policy'
    | 'balance'
    | 'retry'
    | 'breaker'
    | 'fault'
    | 'limit';
  readonly subject: string;
  readonly outcome: 'chosen' | 'rejected' | 'skipped' | 'info';
  readonly text: string;
}

/** Collects reasons. `undefined` in its place costs nothing: nothing is formatted. */
export interface ReasonSink {
  add(reason: Reason): void;
}

/** Where a request goes and under what rules. */
export interface Forward {
  readonly kind: 'forward';
  readonly destination: Destination;
  /** Undefined where no route is attached to the destination. */
  readonly rule: RouteRule | undefined;
  /** The match of the rule that won, which a prefix rewrite needs. Set where `rule` is. */
  readonly match: RouteMatch | undefined;
  /** The backend of the rule that was drawn, with its own header edits. Set where `rule` is. */
  readonly backend: WeightedBackend | undefined;
  /** Where copies of this request go. */
  readonly mirrors: readonly MirrorTarget[];
  readonly cluster: Cluster;
  readonly endpoint: Endpoint;
  readonly policy: RequestPolicy;
  readonly timeouts: TimeoutPolicy;
  /** Milliseconds to wait before forwarding: a fault's delay. */
  readonly delayMs: number;
}

/** Where one copy of a request goes. */
export interface MirrorTarget {
  readonly cluster: Cluster;
  readonly endpoint: Endpoint;
}

/** The mesh answers itself: the client is to ask elsewhere. The rule's `responseHeaders` are edits of this answer. */
export interface RedirectAnswer {
  readonly kind: 'redirect';
  readonly destination: Destination;
  readonly rule: RouteRule;
  readonly status: RedirectStatus;
  /** An absolute URL. */
  readonly location: string;
  readonly cluster: undefined;
  /** Milliseconds to wait before answering: a fault's delay. */
  readonly delayMs: number;
}

/** The mesh answers itself: something is wrong. */
export interface Answer {
  readonly kind: 'answer';
  readonly status: number;
  readonly failure: MeshFailure;
  readonly rule: RouteRule | undefined;
  readonly cluster: Cluster | undefined;
  /** Milliseconds to wait before answering: a fault may delay and abort. */
  readonly delayMs: number;
}

export type Decision = Forward | RedirectAnswer | Answer;

/** How an attempt ended. */
export type AttemptOutcome =
  | {
      readonly kind: 'response';
      readonly status: number;
      readonly grpcStatus?: string;
      readonly appRefused: boolean;
    }
  | { readonly kind: 'failure'; readonly failure: MeshFailure; readonly condition: FailureCondition };

/** Which of the retry conditions a failure is. */
export type FailureCondition =
  | 'connect-failure'
  | 'refused-stream'
  | 'reset-before-request'
  | 'reset'
  | 'timeout'
  | 'breaker'
  | 'other';

export interface AttemptHistory {
  /** Attempts made so far, the one that just ended included. */
  readonly attempts: number;
  /** Keys of endpoints tried, in order. */
  readonly tried: readonly string[];
  /** Whether the whole request body is still held for replay. */
  readonly bodyReplayable: boolean;
  /** Whether any byte of the response has reached the client. */
  readonly responseStarted: boolean;
  /** `x-heddle-attempt` that came in: an attempt of a caller in the mesh, 1 or absent for a first try. */
  readonly incomingAttempt: number;
  /** Milliseconds left of the request timeout; undefined for none. */
  readonly remainingMs: number | undefined;
}

export type RetryDecision =
  | { readonly kind: 'retry'; readonly delayMs: number; readonly endpoint: Endpoint }
  /** `code` is set where the mesh's own limit is why. */
  | { readonly kind: 'give-up'; readonly code: ReasonCode | undefined };
