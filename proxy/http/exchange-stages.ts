import type { MeshFailure, Result } from '../../common/errors.ts';
import type {
  Answer,
  AttemptHistory,
  AttemptOutcome,
  Forward,
  RedirectAnswer,
  RetryDecision,
} from '../../model/decision-types.ts';
import type { TimeoutPolicy } from '../../model/policy-types.ts';
import type { Endpoint } from '../../model/snapshot.ts';
import type { EngineLimits } from '../codec/limits.ts';
import type { RequestHead } from '../codec/request-head.ts';
import type { Pool, PoolTarget } from '../pool/pool.ts';
import type { AttemptHandle, AttemptScope, Direction, RequestScope, TelemetryStage } from '../stage.ts';
import type { FailedAttempt } from '../upstream/connect.ts';
import type { Deadlines } from './deadlines.ts';
import type { RequestMarks } from './heads.ts';
import type { Mirrors } from './mirrors.ts';
import type { ClientInfo } from './server-types.ts';

/** Where a request goes, by whatever way that was found: a decision, the own app, or a place outside the mesh. */
export interface Forwarding {
  readonly kind: 'forward';
  /** Undefined for the own app and for places outside the mesh. */
  readonly decision: Forward | undefined;
  readonly endpoint: Endpoint | undefined;
  /** Where there is no endpoint. */
  readonly host: string;
  readonly port: number;
  readonly timeouts: TimeoutPolicy;
  readonly bodyBufferBytesMax: number;
  readonly delayMs: number;
}

export type Routing = Forwarding | RedirectAnswer | Answer;
/** Of a connection whose bytes aren't looked at. */
export type ConnectionRouting = Forwarding | Answer;

/** The stages of a request as one direction composes them (`stack.ts`). */
export interface ExchangeStages {
  readonly direction: Direction;
  readonly telemetry: TelemetryStage;
  readonly pool: Pool;
  readonly deadlines: Deadlines;
  readonly limits: EngineLimits;
  /** Destination, then decision. Waits only where configuration isn't there yet. */
  route(head: RequestHead, client: ClientInfo, scope: RequestScope): Routing | Promise<Routing>;
  /** Limits and breaker. */
  admit(
    forwarding: Forwarding,
    endpoint: Endpoint | undefined,
    isRetry: boolean,
  ): Result<AttemptHandle, MeshFailure>;
  /** How to reach the endpoint now, or why it can't be. */
  target(forwarding: Forwarding, endpoint: Endpoint | undefined): PoolTarget | FailedAttempt;
  afterAttempt(
    forwarding: Forwarding,
    outcome: AttemptOutcome,
    history: AttemptHistory,
    head: RequestHead,
    scope: RequestScope,
  ): RetryDecision;
  breakerState(forwarding: Forwarding): string;
  marks(
    head: RequestHead,
    client: ClientInfo,
    scope: RequestScope,
    attempt: AttemptScope,
    number: number,
  ): RequestMarks;
  /** Sends copies of requests, where rules ask for them. */
  readonly mirrors: Mirrors | undefined;
  /** Whether an upstream's `x-heddle-reason` may be believed. */
  trustsReason(verifiedPeer: string | undefined): boolean;
  /** The failure that a failed attempt is for this direction's client. */
  describe(failed: FailedAttempt): FailedAttempt;
  draining(): boolean;
  exchangeOpened(): void;
  exchangeClosed(): void;
}
