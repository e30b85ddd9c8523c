import type { MeshFailure } from '../../common/errors.ts';
import type { AttemptOutcome, FailureCondition, MirrorTarget } from '../../model/decision-types.ts';
import type { ResponseHead } from '../codec/response-head.ts';
import type { Lease, LeaseResult, Reuse } from '../pool/lease.ts';
import type { AttemptHandle, AttemptScope } from '../stage.ts';
import type { ClientConnection, ResponseSink, UpstreamProblem } from '../upstream/client-connection.ts';
import { writeBodyChunk, writeBodyEnd } from './body-buffer.ts';
import { Deadline } from './deadlines.ts';
import { CLIENT_GONE, responseOutcome, SAFE_METHODS, timedOut } from './failures.ts';
import type { MirrorStages } from './mirrors.ts';

/** What goes to a mirror: a head that is written already, and how its body is framed. */
export interface CopiedRequest {
  readonly method: string;
  readonly headText: string;
  readonly framing: number;
  readonly hasBody: boolean;
  /** For the whole answer, from the last byte of the request on. */
  readonly answerMs: number;
}

/** What a copy shares with the others. */
export interface CopyOwner {
  readonly stages: MirrorStages;
  /** Counts bytes held, or let go of where negative; false where all copies together hold too many. */
  hold(bytes: number): boolean;
  ended(copy: MirrorCopy): void;
}

/**
 * A copy of one request on its way to a mirror. It takes the body at the client's pace and holds what the mirror doesn't
 * take yet, up to a limit; nobody waits for it, and its answer is thrown away. It ends once, however it ends.
 */
export class MirrorCopy implements ResponseSink {
  readonly #owner: CopyOwner;
  readonly #target: MirrorTarget;
  readonly #request: CopiedRequest;
  readonly #handle: AttemptHandle;
  readonly #scope: AttemptScope;
  readonly #deadline: Deadline;
  #lease: Lease | undefined;
  #upstream: ClientConnection | undefined;
  #waiting: Buffer[] = [];
  #heldBytes = 0;
  #full = false;
  #ended = false;
  #sent = false;
  #trailers = '';
  #outcome: AttemptOutcome | undefined;
  #answerBytes = 0;
  #answered = false;
  #over = false;

  constructor(
    owner: CopyOwner,
    target: MirrorTarget,
    request: CopiedRequest,
    handle: AttemptHandle,
    scope: AttemptScope,
  ) {
    this.#owner = owner;
    this.#target = target;
    this.#request = request;
    this.#handle = handle;
    this.#scope = scope;
    this.#deadline = new Deadline(() => {
      this.#fail(timedOut('backend-timeout', request.answerMs), 'timeout');
    });
  }

  start(): void {
    if (this.#over) return;
    this.#touch();
    this.#connect(SAFE_METHODS.has(this.#request.method) ? 'any' : 'recent');
  }

  #connect(reuse: Reuse): void {
    const { stages } = this.#owner;
    const target = stages.target(this.#target);
    if ('failure' in target) this.#leased(target);
    else this.#lease = stages.pool.lease(target, reuse, (result) => this.#leased(result));
  }

  #leased(result: LeaseResult): void {
    if (this.#over) {
      if (!('failure' in result)) result.abandon();
      return;
    }
    if ('failure' in result) {
      this.#fail(result.failure, result.condition);
      return;
    }
    this.#upstream = result;
    result.start(this.#request.method, this);
    result.writer.text(this.#request.headText);
    this.#write();
  }

  // ── the request ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** A piece of the body. */
  push(chunk: Buffer): void {
    if (this.#over || this.#answered) return;
    this.#touch();
    this.#waiting.push(chunk);
    this.#heldBytes += chunk.length;
    const roomForAll = this.#owner.hold(chunk.length);
    if (this.#upstream !== undefined) this.#write();
    const { mirrorBufferBytesMax } = this.#owner.stages.limits;
    if (this.#heldBytes > mirrorBufferBytesMax) {
      this.#drop('body-too-large', `the mirror is slower than the client by ${mirrorBufferBytesMax} bytes`);
    } else if (!roomForAll && this.#heldBytes > 0) {
      this.#drop('overload', 'the bodies held for mirrors have reached their limit');
    }
  }

  end(trailers: string): void {
    if (this.#over) return;
    this.#touch();
    this.#ended = true;
    this.#trailers = trailers;
    if (this.#upstream !== undefined) this.#write();
  }

  /** The client's request won't be whole, so the copy can't be. */
  cutShort(): void {
    if (!this.#ended) this.#fail(CLIENT_GONE, 'other');
  }

  /** The sidecar ends. */
  close(): void {
    this.#drop('draining', 'the sidecar ended before the mirror had answered');
  }

  #write(): void {
    const writer = this.#upstream?.writer;
    if (writer === undefined || this.#sent) return;
    const { framing } = this.#request;
    for (let chunk = this.#next(); chunk !== undefined; chunk = this.#next()) {
      writeBodyChunk(writer, framing, chunk);
      this.#full = !writer.flush();
    }
    if (this.#ended && this.#waiting.length === 0) {
      this.#sent = true;
      writeBodyEnd(writer, framing, this.#trailers);
      this.#upstream?.requestDone();
    }
    this.#full = !writer.flush();
  }

  #next(): Buffer | undefined {
    const chunk = this.#full ? undefined : this.#waiting.shift();
    if (chunk !== undefined) this.#letGo(chunk.length);
    return chunk;
  }

  #letGo(bytes: number): void {
    this.#heldBytes -= bytes;
    this.#owner.hold(-bytes);
  }

  /** The mirror's time begins with what the client did last. */
  #touch(): void {
    this.#owner.stages.deadlines.arm(this.#deadline, this.#request.answerMs);
  }

  onUpstreamDrain(): void {
    this.#full = false;
    this.#write();
  }

  // ── the answer ───────────────────────────────────────────────────────────────────────────────────────────────────

  onHead(head: ResponseHead): void {
    if (head.interim) return;
    this.#settle(responseOutcome(head, this.#upstream?.verifiedPeer));
  }

  onBody(chunk: Buffer): void {
    this.#answerBytes += chunk.length;
  }

  onBodyEnd(): void {
    this.#answered = true;
  }

  settleOutput(): void {
    if (this.#over) return;
    if (this.#answered) {
      this.#upstream?.release();
      this.#finish();
    } else if (this.#answerBytes > this.#owner.stages.limits.mirrorAnswerBytesMax) {
      this.#abandon();
    }
  }

  onUpstreamGone(problem: UpstreamProblem): void {
    const { method, hasBody } = this.#request;
    this.#upstream = undefined;
    if (problem.stale && SAFE_METHODS.has(method) && !hasBody) {
      this.#full = false;
      this.#sent = false;
      this.#connect('none');
      return;
    }
    const { message, refusedByPeer } = problem;
    this.#fail(
      {
        code: refusedByPeer ? 'connect-failure' : 'upstream-reset',
        source: 'upstream',
        retrySafety: 'never',
        message,
      },
      refusedByPeer ? 'connect-failure' : 'reset',
    );
  }

  // ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Gives the copy up for a reason of the mesh's own, which says nothing about the mirror. */
  #drop(code: 'body-too-large' | 'overload' | 'draining', message: string): void {
    this.#fail({ code, source: 'mesh', retrySafety: 'never', message }, 'other');
  }

  #fail(failure: MeshFailure, condition: FailureCondition): void {
    if (this.#over) return;
    this.#settle({ kind: 'failure', failure, condition });
    this.#abandon();
  }

  #abandon(): void {
    this.#lease?.cancel();
    this.#finish();
    this.#upstream?.abandon();
  }

  #settle(outcome: AttemptOutcome): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    this.#handle.settle(outcome);
  }

  #finish(): void {
    if (this.#over || this.#outcome === undefined) return;
    this.#over = true;
    this.#deadline.cancel();
    this.#letGo(this.#heldBytes);
    this.#waiting = [];
    this.#handle.finish();
    const { stages } = this.#owner;
    this.#scope.end(this.#outcome, stages.deadlines.now(), stages.breakerState(this.#target.cluster));
    this.#owner.ended(this);
  }
}
