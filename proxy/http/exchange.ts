import type { MeshFailure } from '../../common/errors.ts';
import { statusOfReason } from '../../common/reasons.ts';
import type { AttemptOutcome, Forward, RedirectAnswer } from '../../model/decision-types.ts';
import type { Endpoint } from '../../model/snapshot.ts';
import type { HeadFault } from '../codec/fields.ts';
import type { RequestHead } from '../codec/request-head.ts';
import type { ResponseHead } from '../codec/response-head.ts';
import type { RequestScope } from '../stage.ts';
import { startTunnel } from '../upstream/tunnel.ts';
import { answerText, type ConnectionWords, failureOfFault, faultStatus, redirectText } from './answers.ts';
import { Attempt, type AttemptOwner } from './attempt.ts';
import { BodyBuffer, writeBodyChunk, writeBodyEnd } from './body-buffer.ts';
import { responseEdits } from './changes.ts';
import type { ExchangeStages, Forwarding, Routing } from './exchange-stages.ts';
import { APP_REFUSED, CLIENT_GONE, mayRetry, timedOut } from './failures.ts';
import { interimHeadText, responseHeadText } from './heads.ts';
import type { RequestCopies } from './mirrors.ts';
import type { RequestTimers, TimersOwner } from './request-timers.ts';
import type { ServerConnection } from './server-connection.ts';
import type { ServerExchange } from './server-types.ts';

/** What a client that left before its answer is counted as. */
const STATUS_CLIENT_GONE = 499;

/**
 * One request from its head to the last byte of its response: routed, attempted once or several times, answered once.
 *
 *   routing ─► waiting (a fault's delay, a back-off) ─► attempting ─► responding ─► over
 *      └────────────────────┴───────────────┴─► answered by the mesh ───────────────► over
 */
export class Exchange implements ServerExchange, AttemptOwner, TimersOwner {
  readonly connection: ServerConnection;
  readonly head: RequestHead;
  readonly stages: ExchangeStages;
  readonly scope: RequestScope;
  readonly body: BodyBuffer;
  readonly #timers: RequestTimers;
  #forwarding: Forwarding | undefined;
  #attempt: Attempt | undefined;
  #copies: RequestCopies | undefined;
  #attempts = 0;
  #tried: readonly string[] = [];
  #responseStarted = false;
  #responseFraming = 0;
  #keepAlive = true;
  #status = 0;
  #failure: MeshFailure | undefined;
  #requestBytes = 0;
  #responseBytes = 0;
  #over = false;

  constructor(connection: ServerConnection, head: RequestHead, stages: ExchangeStages) {
    this.connection = connection;
    this.head = head;
    this.stages = stages;
    this.#timers = connection.timers;
    this.#timers.start();
    this.body = new BodyBuffer(stages.limits.bodyHoldBytesMax);
    this.body.ended = !head.hasBody;
    this.scope = stages.telemetry.open({
      direction: stages.direction,
      view: head,
      authority: head.authority,
      peer: connection.client.peer,
      startedAtMs: this.#timers.startedMs,
    });
    stages.exchangeOpened();
  }

  // ── from the client ──────────────────────────────────────────────────────────────────────────────────────────────

  begin(): void {
    const routing = this.stages.route(this.head, this.connection.client, this.scope);
    if (routing instanceof Promise) routing.then((found) => this.#routed(found));
    else this.#routed(routing);
  }

  onBody(chunk: Buffer): void {
    this.#requestBytes += chunk.length;
    this.#timers.touch();
    this.body.push(chunk);
    this.#copies?.onBody(chunk);
    const writer = this.#attempt?.writer;
    if (writer !== undefined) {
      writeBodyChunk(writer, this.head.framing, chunk);
      this.body.trim();
    } else if (this.body.bytesHeld > this.stages.limits.bodyHoldBytesMax) {
      this.connection.pauseUpload();
    }
  }

  onBodyEnd(trailers: string): void {
    this.body.end(trailers);
    this.#copies?.onBodyEnd(trailers);
    const attempt = this.#attempt;
    if (attempt?.writer === undefined) return;
    writeBodyEnd(attempt.writer, this.head.framing, trailers);
    attempt.requestDone();
  }

  settleInput(): void {
    this.#attempt?.flush();
  }

  onClientDrain(): void {
    this.#attempt?.resumeUpstream();
  }

  onBrokenBody(fault: HeadFault): void {
    const failure = failureOfFault(fault);
    this.#endAttempt({ kind: 'failure', failure, condition: 'other' });
    this.#answer(failure, faultStatus(fault));
  }

  onClientGone(): void {
    if (this.#over) return;
    this.#endAttempt({ kind: 'failure', failure: CLIENT_GONE, condition: 'other' });
    this.#failure ??= CLIENT_GONE;
    if (!this.#responseStarted) this.#status = STATUS_CLIENT_GONE;
    this.#finish();
  }

  // ── routing and attempts ─────────────────────────────────────────────────────────────────────────────────────────

  #routed(routing: Routing): void {
    if (this.#over) return;
    if (routing.kind === 'answer') {
      this.#timers.wait(routing.delayMs, () => this.#answer(routing.failure, routing.status));
      return;
    }
    if (routing.kind === 'redirect') {
      this.#timers.wait(routing.delayMs, () => this.#redirect(routing));
      return;
    }
    this.#forwarding = routing;
    this.body.replayBytesMax = routing.bodyBufferBytesMax;
    this.#timers.begin(routing.timeouts, this);
    if (routing.delayMs <= 0) this.#startAttempt(routing.endpoint, false);
    else this.#timers.wait(routing.delayMs, () => this.#startAttempt(routing.endpoint, false));
  }

  #startAttempt(endpoint: Endpoint | undefined, isRetry: boolean): void {
    const forwarding = this.#forwarding;
    if (forwarding === undefined || this.#over) return;
    this.#attempts++;
    if (endpoint !== undefined) this.#tried = isRetry ? [...this.#tried, endpoint.key] : [endpoint.key];
    const admitted = this.stages.admit(forwarding, endpoint, isRetry);
    if (!admitted.ok) {
      this.#answer(admitted.error, statusOfReason(admitted.error.code));
      return;
    }
    const attempt = new Attempt(this, forwarding, endpoint, this.#attempts, admitted.value);
    this.#attempt = attempt;
    const { decision } = forwarding;
    if (isRetry || decision === undefined || decision.mirrors.length === 0) attempt.start();
    else this.#startWithCopies(attempt, decision);
  }

  #startWithCopies(attempt: Attempt, decision: Forward): void {
    const { head, connection, scope, body } = this;
    const copies = this.stages.mirrors?.prepare(decision, head, connection.client, scope);
    this.#copies = copies;
    copies?.take(body);
    attempt.start();
    copies?.start();
  }

  onRequestSent(): void {
    this.body.trim();
    this.connection.resumeUpload();
  }

  onUpstreamFull(full: boolean): void {
    if (full) this.connection.pauseUpload();
    else this.connection.resumeUpload();
  }

  /** An attempt ended before its response could begin: another one, or an answer of ours. */
  onAttemptFailed(outcome: AttemptOutcome): void {
    if (outcome.kind !== 'failure') return;
    this.#endAttempt(outcome);
    if (this.#responseStarted || !this.#retry(outcome))
      this.#answer(outcome.failure, statusOfReason(outcome.failure.code));
  }

  /** True where another attempt is on its way. */
  #retry(outcome: AttemptOutcome): boolean {
    const forwarding = this.#forwarding;
    if (forwarding?.decision === undefined || this.#over) return false;
    const { requestMs } = forwarding.timeouts;
    const history = {
      attempts: this.#attempts,
      tried: this.#tried,
      bodyReplayable: this.body.replayable,
      responseStarted: this.#responseStarted,
      incomingAttempt: this.head.incomingAttempt,
      remainingMs: requestMs > 0 ? Math.max(0, requestMs - this.#timers.elapsedMs()) : undefined,
    };
    const next = this.stages.afterAttempt(forwarding, outcome, history, this.head, this.scope);
    if (next.kind === 'give-up') return false;
    if (outcome.kind === 'response') this.#discardAttempt(outcome);
    this.#timers.wait(next.delayMs, () => this.#startAttempt(next.endpoint, true));
    return true;
  }

  #discardAttempt(outcome: AttemptOutcome): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.discard(outcome);
  }

  #endAttempt(outcome: AttemptOutcome): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.abort(outcome);
  }

  onExpired(what: 'request' | 'idle', limitMs: number): void {
    const code = what === 'request' ? 'request-timeout' : 'backend-timeout';
    const failure = timedOut(code, limitMs);
    this.#endAttempt({ kind: 'failure', failure, condition: 'timeout' });
    this.#answer(failure, statusOfReason(code));
  }

  // ── the response ─────────────────────────────────────────────────────────────────────────────────────────────────

  onInterim(head: ResponseHead): void {
    if (this.head.minorVersion === 1) this.connection.writer.text(interimHeadText(head));
  }

  /** False where the response is thrown away because another attempt follows. */
  onResponse(head: ResponseHead, outcome: AttemptOutcome, verifiedPeer: string | undefined): boolean {
    this.#timers.touch();
    if (mayRetry(outcome) && this.#retry(outcome)) return false;
    const { connection } = this;
    this.#responseStarted = true;
    this.#status = head.status;
    if (outcome.kind === 'response' && outcome.appRefused) this.#failure = APP_REFUSED;
    // An early answer: whether the rest of the body still comes, the client decides when it sees it.
    this.#keepAlive = this.#mayKeepAlive() && connection.requestComplete;
    const shape = responseHeadText(head, {
      method: this.head.method,
      clientMinorVersion: this.head.minorVersion,
      close: !this.#keepAlive,
      reasonTrusted: this.stages.trustsReason(verifiedPeer),
      edits: responseEdits(this.#forwarding?.decision),
    });
    if (shape.framing < -1) this.#keepAlive = false;
    this.#responseFraming = shape.framing;
    connection.writer.text(shape.text);
    return true;
  }

  onResponseBody(chunk: Buffer): void {
    this.#responseBytes += chunk.length;
    this.#timers.touch();
    writeBodyChunk(this.connection.writer, this.#responseFraming, chunk);
  }

  onResponseEnd(trailers: string): void {
    writeBodyEnd(this.connection.writer, this.#responseFraming, trailers);
  }

  flushResponse(): boolean {
    return this.connection.writer.flush();
  }

  /** The attempt's response is whole and written. */
  onAttemptComplete(): void {
    this.#attempt = undefined;
    this.#finish();
    this.connection.responseDone(this.#keepAlive);
  }

  onTunnel(attempt: Attempt): void {
    this.#attempt = undefined;
    const upstream = attempt.takeStream();
    const downstream = this.connection.takeStream();
    this.#timers.stop();
    startTunnel(downstream, upstream, this.stages.deadlines, this.stages.limits, (bytes) => {
      this.#requestBytes += bytes.sent;
      this.#responseBytes += bytes.received;
      attempt.finishTunnel();
      this.#finish();
    });
  }

  #mayKeepAlive(): boolean {
    return this.head.keepAlive && !this.connection.closing && !this.stages.draining();
  }

  #answer(failure: MeshFailure, status: number): void {
    if (this.#over) return;
    this.#failure = failure;
    if (this.#responseStarted) {
      this.connection.cut();
      this.#finish();
      return;
    }
    const headOnly = this.head.method === 'HEAD';
    const { code: reason, message } = failure;
    this.#say(status, (words) => answerText({ ...words, status, reason, message, headOnly }));
  }

  #redirect(redirect: RedirectAnswer): void {
    if (!this.#over) this.#say(redirect.status, (words) => redirectText(redirect, words));
  }

  /** An answer of the mesh's own, whole. */
  #say(status: number, textOf: (words: ConnectionWords) => string): void {
    const { connection } = this;
    this.#responseStarted = true;
    this.#status = status;
    const keepAlive = this.#mayKeepAlive() && connection.requestComplete;
    const sayKeepAlive = keepAlive && this.head.minorVersion === 0;
    connection.writer.text(textOf({ close: !keepAlive, sayKeepAlive }));
    connection.writer.flush();
    this.#finish();
    connection.responseDone(keepAlive);
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#timers.stop();
    this.#copies?.requestOver();
    this.body.release();
    this.scope.end({
      status: this.#status,
      failure: this.#failure,
      requestBytes: this.#requestBytes,
      responseBytes: this.#responseBytes,
      endedAtMs: this.stages.deadlines.now(),
    });
    this.stages.exchangeClosed();
  }
}
