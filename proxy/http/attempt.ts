import type { ByteStream } from '../../common/net.ts';
import type { AttemptOutcome } from '../../model/decision-types.ts';
import type { Endpoint } from '../../model/snapshot.ts';
import type { RequestHead } from '../codec/request-head.ts';
import type { ResponseHead } from '../codec/response-head.ts';
import type { Lease, LeaseResult, Reuse } from '../pool/lease.ts';
import type { AttemptHandle, AttemptScope, RequestScope } from '../stage.ts';
import type { ClientConnection, ResponseSink, UpstreamProblem } from '../upstream/client-connection.ts';
import type { BodyBuffer } from './body-buffer.ts';
import { requestChanges } from './changes.ts';
import { Deadline } from './deadlines.ts';
import { DiscardedResponse } from './discarded-response.ts';
import type { ExchangeStages, Forwarding } from './exchange-stages.ts';
import { responseOutcome, SAFE_METHODS } from './failures.ts';
import { requestHeadText } from './heads.ts';
import type { ServerConnection } from './server-connection.ts';
import type { Writer } from './writer.ts';

/** What an attempt needs of its request, and tells it. */
export interface AttemptOwner {
  readonly head: RequestHead;
  readonly body: BodyBuffer;
  readonly stages: ExchangeStages;
  readonly scope: RequestScope;
  readonly connection: ServerConnection;
  /** Head and held body are written; more body is welcome. */
  onRequestSent(): void;
  onUpstreamFull(full: boolean): void;
  onInterim(head: ResponseHead): void;
  onResponse(head: ResponseHead, outcome: AttemptOutcome, verifiedPeer: string | undefined): boolean;
  onResponseBody(chunk: Buffer): void;
  onResponseEnd(trailers: string): void;
  /** False where the client must be waited for. */
  flushResponse(): boolean;
  onAttemptComplete(): void;
  onAttemptFailed(outcome: AttemptOutcome): void;
  onTunnel(attempt: Attempt): void;
}

/** One try to get a response from one endpoint. It settles once and finishes once, however it ends. */
export class Attempt implements ResponseSink {
  readonly #owner: AttemptOwner;
  readonly #forwarding: Forwarding;
  readonly #number: number;
  readonly #handle: AttemptHandle;
  readonly #scope: AttemptScope;
  #lease: Lease | undefined;
  #upstream: ClientConnection | undefined;
  #deadline: Deadline | undefined;
  #outcome: AttemptOutcome | undefined;
  #complete = false;
  #tunnel = false;
  #finished = false;
  #upstreamFull = false;

  constructor(
    owner: AttemptOwner,
    forwarding: Forwarding,
    endpoint: Endpoint | undefined,
    number: number,
    handle: AttemptHandle,
  ) {
    this.#owner = owner;
    this.#forwarding = forwarding;
    this.endpoint = endpoint;
    this.#number = number;
    this.#handle = handle;
    this.#scope = owner.scope.attempt(number, endpoint, owner.stages.deadlines.now());
  }

  readonly endpoint: Endpoint | undefined;

  /** Where body goes once the head is written; undefined before. */
  get writer(): Writer | undefined {
    return this.#upstream?.writer;
  }

  start(): void {
    const { stages, head } = this.#owner;
    const { backendRequestMs } = this.#forwarding.timeouts;
    if (backendRequestMs > 0) {
      this.#deadline = new Deadline(() => this.#timedOut(backendRequestMs));
      stages.deadlines.arm(this.#deadline, backendRequestMs);
    }
    this.#connect(SAFE_METHODS.has(head.method) ? 'any' : 'recent');
  }

  #connect(reuse: Reuse): void {
    const { stages } = this.#owner;
    const target = stages.target(this.#forwarding, this.endpoint);
    if ('failure' in target) this.#leased(target);
    else this.#lease = stages.pool.lease(target, reuse, (result) => this.#leased(result));
  }

  #leased(result: LeaseResult): void {
    const { stages } = this.#owner;
    if (this.#finished) {
      if (!('failure' in result)) result.abandon();
      return;
    }
    if ('failure' in result) {
      const { failure, condition } = stages.describe(result);
      this.#owner.onAttemptFailed({ kind: 'failure', failure, condition });
      return;
    }
    this.#send(result);
  }

  #send(upstream: ClientConnection): void {
    const owner = this.#owner;
    const { stages, head, body, connection } = owner;
    this.#upstream = upstream;
    upstream.start(head.method, this);
    const marks = stages.marks(head, connection.client, owner.scope, this.#scope, this.#number);
    upstream.writer.text(requestHeadText(head, marks, requestChanges(this.#forwarding.decision, head)));
    body.writeTo(upstream.writer, head.framing);
    if (body.ended) upstream.requestDone();
    const roomy = upstream.writer.flush();
    owner.onRequestSent();
    if (!roomy) this.#setFull(true);
  }

  requestDone(): void {
    this.#upstream?.requestDone();
  }

  /** Writes what the client's last bytes brought. */
  flush(): void {
    if (this.#upstream !== undefined && !this.#upstream.writer.flush()) this.#setFull(true);
  }

  #setFull(full: boolean): void {
    if (this.#upstreamFull === full) return;
    this.#upstreamFull = full;
    this.#owner.onUpstreamFull(full);
  }

  resumeUpstream(): void {
    this.#upstream?.resume();
  }

  onUpstreamDrain(): void {
    this.#setFull(false);
  }

  onHead(head: ResponseHead): void {
    const owner = this.#owner;
    if (head.interim) {
      owner.onInterim(head);
      return;
    }
    if (head.status === 101 && (owner.head.upgrade === undefined || head.upgrade === undefined)) {
      this.#fail('the peer switched protocols without being asked', false);
      return;
    }
    const verifiedPeer = this.#upstream?.verifiedPeer;
    const outcome = responseOutcome(head, verifiedPeer);
    this.#settle(outcome);
    if (!owner.onResponse(head, outcome, verifiedPeer)) return;
    this.#tunnel = head.status === 101 || (owner.head.method === 'CONNECT' && head.status < 300);
  }

  onBody(chunk: Buffer): void {
    this.#owner.onResponseBody(chunk);
  }

  onBodyEnd(trailers: string): void {
    this.#complete = true;
    this.#owner.onResponseEnd(trailers);
  }

  settleOutput(): void {
    const roomy = this.#owner.flushResponse();
    if (this.#tunnel) {
      this.#owner.onTunnel(this);
    } else if (this.#complete) {
      this.#upstream?.release();
      this.#finish();
      this.#owner.onAttemptComplete();
    } else if (!roomy) {
      this.#upstream?.pause();
    }
  }

  onUpstreamGone(problem: UpstreamProblem): void {
    const { head, body } = this.#owner;
    if (!problem.stale || !SAFE_METHODS.has(head.method) || !body.replayable) {
      this.#fail(problem.message, problem.refusedByPeer);
      return;
    }
    // An idle connection was reused while its peer closed it. That says nothing about the peer, and costs no attempt.
    this.#upstream = undefined;
    this.#upstreamFull = false;
    this.#connect('none');
  }

  /** Ends the attempt from outside: the client is gone, or time is up. */
  abort(outcome: AttemptOutcome): void {
    if (this.#finished) return;
    this.#lease?.cancel();
    this.#settle(outcome);
    this.#finish();
    this.#upstream?.abandon();
  }

  /** Reads the rest of a response that another attempt replaces, so that its connection can be kept. */
  discard(outcome: AttemptOutcome): void {
    this.#settle(outcome);
    this.#finish();
    const upstream = this.#upstream;
    const { limits, deadlines } = this.#owner.stages;
    if (upstream !== undefined) upstream.handOver(new DiscardedResponse(upstream, limits, deadlines));
  }

  takeStream(): ByteStream {
    this.#deadline?.cancel();
    if (this.#upstream === undefined) throw new Error('a tunnel without an upstream connection');
    return this.#upstream.takeStream();
  }

  finishTunnel(): void {
    this.#finish();
  }

  #timedOut(limitMs: number): void {
    this.#owner.onAttemptFailed({
      kind: 'failure',
      condition: 'timeout',
      failure: {
        code: 'backend-timeout',
        source: 'upstream',
        retrySafety: 'idempotent',
        message: `the attempt had no complete answer within ${limitMs} ms`,
      },
    });
  }

  #fail(message: string, refusedByPeer: boolean): void {
    this.#owner.onAttemptFailed({
      kind: 'failure',
      condition: refusedByPeer ? 'connect-failure' : 'reset',
      failure: {
        code: refusedByPeer ? 'connect-failure' : 'upstream-reset',
        source: 'upstream',
        retrySafety: refusedByPeer ? 'always' : 'idempotent',
        message,
      },
    });
  }

  #settle(outcome: AttemptOutcome): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    this.#handle.settle(outcome);
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#deadline?.cancel();
    this.#handle.finish();
    if (this.#outcome === undefined) return;
    const { stages } = this.#owner;
    this.#scope.end(this.#outcome, stages.deadlines.now(), stages.breakerState(this.#forwarding));
  }
}
