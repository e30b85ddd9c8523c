import type { Credentials } from '../common/ca/workload-identity.ts';
import type { MeshFailure, Result } from '../common/errors.ts';
import type {
  AttemptOutcome,
  Decision,
  DecisionState,
  MirrorTarget,
  ReasonSink,
  RequestView,
} from '../model/decision-types.ts';
import type { Cluster, Endpoint, InboundConfig, Snapshot } from '../model/snapshot.ts';

/**
 * What the stages of a request promise each other. The engine (listener, codec, pool, upstream) knows the other stages
 * only through these interfaces; `stack.ts` composes the real ones, tests compose fakes.
 */

/** Configuration as xDS delivered it. Reading never waits; `find` may. */
export interface ConfigStage {
  /** The snapshot in force. Swapped whole: take it once per request. */
  snapshot(): Snapshot;
  /** The pod's own side; undefined until the control plane has answered once. */
  inbound(): InboundConfig | undefined;
  /**
   * The key of the destination a client means by `host` (a Service name in any of its forms, or an IP address) and
   * `port`, asked for on first use: the search path is tried in order. `external` where the mesh does not know it,
   * `unavailable` where no answer came within `configWaitMs`.
   */
  find(host: string, port: number): FoundDestination | Promise<FoundDestination>;
}

export type FoundDestination =
  | { readonly kind: 'mesh'; readonly key: string }
  | { readonly kind: 'external' }
  | { readonly kind: 'unavailable' };

export type { Credentials };

export interface IdentityStage {
  /** Undefined until the first certificate is there. */
  current(): Credentials | undefined;
  /** Called after each rotation; returns the function that stops it. */
  onChange(listener: (credentials: Credentials) => void): () => void;
}

/** One attempt, admitted by limits and breaker. Exactly one `settle`, then exactly one `finish`. */
export interface AttemptHandle {
  /** At response headers, reset or timeout: what the breaker, ejection and latency learn from. */
  settle(outcome: AttemptOutcome): void;
  /** When the last byte is through or the attempt is dead: in-flight counts go down. */
  finish(): void;
}

/** Live state behind decisions: breakers, ejection, budgets, limits, latency. */
export interface PolicyStage extends DecisionState {
  /** Admits an attempt, or says which limit or breaker refuses it. */
  begin(cluster: Cluster, endpoint: Endpoint, isRetry: boolean): Result<AttemptHandle, MeshFailure>;
  /** Forgets state of clusters and endpoints that are gone. */
  retain(snapshot: Snapshot, clusters: ReadonlySet<string>): void;
  close(): void;
}

export type Direction = 'inbound' | 'outbound';

/** What is known of a request when its scope opens. */
export interface RequestInfo {
  readonly direction: Direction;
  readonly view: RequestView;
  /** `Host` as received. */
  readonly authority: string;
  /** The peer's verified SPIFFE ID, or undefined. */
  readonly peer: string | undefined;
  readonly startedAtMs: number;
}

/** The result of a request, for metrics, spans and the access log. */
export interface RequestResult {
  readonly status: number;
  readonly failure: MeshFailure | undefined;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly endedAtMs: number;
}

export interface AttemptScope {
  /** W3C `traceparent` to send upstream with this attempt. */
  readonly traceparent: string;
  readonly tracestate: string | undefined;
  /** B3 fields to send beside it, where B3 came in. */
  readonly b3: readonly (readonly [name: string, value: string])[] | undefined;
  end(outcome: AttemptOutcome, endedAtMs: number, breaker: string): void;
}

export interface RequestScope {
  /** Where `decide` puts its reasons; undefined where nobody will read them. */
  readonly reasons: ReasonSink | undefined;
  readonly requestId: string;
  decided(decision: Decision): void;
  /** Number counts from 1. */
  attempt(number: number, endpoint: Endpoint | undefined, startedAtMs: number): AttemptScope;
  /** A copy of the request, which may end after it. */
  mirror(target: MirrorTarget, startedAtMs: number): AttemptScope;
  end(result: RequestResult): void;
}

export interface TelemetryStage {
  open(info: RequestInfo): RequestScope;
  /** Connection-level events, for the counters. */
  connection(
    direction: Direction,
    event: 'opened' | 'closed' | 'refused-mtls' | 'tls' | 'plaintext' | 'opaque',
  ): void;
}
