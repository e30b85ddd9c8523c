import type { MeshFailure, Result } from '../../common/errors.ts';
import type { Forward, MirrorTarget } from '../../model/decision-types.ts';
import type { TimeoutPolicy } from '../../model/policy-types.ts';
import type { Cluster } from '../../model/snapshot.ts';
import type { EngineLimits } from '../codec/limits.ts';
import type { RequestHead } from '../codec/request-head.ts';
import type { Pool, PoolTarget } from '../pool/pool.ts';
import type { AttemptHandle, AttemptScope, RequestScope } from '../stage.ts';
import type { FailedAttempt } from '../upstream/connect.ts';
import type { BodyBuffer } from './body-buffer.ts';
import { requestChanges } from './changes.ts';
import type { Deadlines } from './deadlines.ts';
import { type RequestMarks, requestHeadText } from './heads.ts';
import { type CopyOwner, MirrorCopy } from './mirror-copy.ts';
import type { ClientInfo } from './server-types.ts';

/** The stages of a copy, as `stack.ts` composes them. */
export interface MirrorStages {
  readonly pool: Pool;
  readonly deadlines: Deadlines;
  readonly limits: EngineLimits;
  /** Limits and breaker of the mirror's own cluster. */
  admit(target: MirrorTarget): Result<AttemptHandle, MeshFailure>;
  target(target: MirrorTarget): PoolTarget | FailedAttempt;
  breakerState(cluster: Cluster): string;
  marks(head: RequestHead, client: ClientInfo, scope: RequestScope, attempt: AttemptScope): RequestMarks;
}

/** All copies that are under way, of all requests of a sidecar. */
export class Mirrors implements CopyOwner {
  readonly stages: MirrorStages;
  readonly #copies = new Set<MirrorCopy>();
  #heldBytes = 0;

  constructor(stages: MirrorStages) {
    this.stages = stages;
  }

  stats(): { readonly inFlight: number; readonly heldBytes: number } {
    return { inFlight: this.#copies.size, heldBytes: this.#heldBytes };
  }

  /**
   * The copies of a request that is about to be sent, each admitted by its mirror's limits and breaker; what isn't is
   * counted. To be called before the request is changed for its own backend. A request to switch protocols has no copies:
   * what follows it isn't HTTP.
   */
  prepare(
    decision: Forward,
    head: RequestHead,
    client: ClientInfo,
    scope: RequestScope,
  ): RequestCopies | undefined {
    if (head.upgrade !== undefined || head.method === 'CONNECT') return undefined;
    const copies: MirrorCopy[] = [];
    for (const target of decision.mirrors) {
      const copy = this.#prepareOne(decision, target, head, client, scope);
      if (copy === undefined) continue;
      this.#copies.add(copy);
      copies.push(copy);
    }
    return copies.length === 0 ? undefined : new RequestCopies(copies);
  }

  #prepareOne(
    decision: Forward,
    target: MirrorTarget,
    head: RequestHead,
    client: ClientInfo,
    scope: RequestScope,
  ): MirrorCopy | undefined {
    const { stages } = this;
    const attempt = scope.mirror(target, stages.deadlines.now());
    const admitted = this.#admit(target);
    if (!admitted.ok) {
      const outcome = { kind: 'failure', failure: admitted.error, condition: 'other' } as const;
      attempt.end(outcome, stages.deadlines.now(), stages.breakerState(target.cluster));
      return undefined;
    }
    const marks = stages.marks(head, client, scope, attempt);
    const request = {
      method: head.method,
      headText: requestHeadText(head, marks, requestChanges(decision, head)),
      framing: head.framing,
      hasBody: head.hasBody,
      answerMs: answerMs(decision.timeouts, stages.limits),
    };
    return new MirrorCopy(this, target, request, admitted.value, attempt);
  }

  #admit(target: MirrorTarget): Result<AttemptHandle, MeshFailure> {
    const { mirrorsInFlightMax } = this.stages.limits;
    if (this.#copies.size < mirrorsInFlightMax) return this.stages.admit(target);
    const message = `${mirrorsInFlightMax} copies of requests are under way already`;
    return { ok: false, error: { code: 'overload', source: 'mesh', retrySafety: 'never', message } };
  }

  hold(bytes: number): boolean {
    this.#heldBytes += bytes;
    return this.#heldBytes <= this.stages.limits.mirrorsBufferBytesMax;
  }

  ended(copy: MirrorCopy): void {
    this.#copies.delete(copy);
  }

  close(): void {
    for (const copy of [...this.#copies]) copy.close();
  }
}

/** The copies of one request, fed with its body. */
export class RequestCopies {
  readonly #copies: readonly MirrorCopy[];

  constructor(copies: readonly MirrorCopy[]) {
    this.#copies = copies;
  }

  /** Takes what is there of the body, and its end where it has come. */
  take(body: BodyBuffer): void {
    for (const copy of this.#copies) {
      for (const chunk of body.held) copy.push(chunk);
      if (body.ended) copy.end(body.trailers);
    }
  }

  start(): void {
    for (const copy of this.#copies) copy.start();
  }

  onBody(chunk: Buffer): void {
    for (const copy of this.#copies) copy.push(chunk);
  }

  onBodyEnd(trailers: string): void {
    for (const copy of this.#copies) copy.end(trailers);
  }

  /** The request is over for its client. Copies of which everything has come go on by themselves. */
  requestOver(): void {
    for (const copy of this.#copies) copy.cutShort();
  }
}

/** The mirror has the time that the rule's own backend has, and no longer than the sidecar keeps a copy. */
function answerMs({ requestMs, backendRequestMs }: TimeoutPolicy, limits: EngineLimits): number {
  const ofRule = [requestMs, backendRequestMs].filter((ms) => ms > 0);
  return Math.min(limits.mirrorAnswerMs, ...ofRule);
}
