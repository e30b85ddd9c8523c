import type { Attributes } from '@opentelemetry/api';
import type { AttemptOutcome, MirrorTarget } from '../../model/decision-types.ts';
import type { Endpoint } from '../../model/snapshot.ts';
import type { AttemptScope } from '../stage.ts';
import type { SpanRecord } from './span-record.ts';
import { formatB3, formatTraceparent, type TraceContext } from './trace-context.ts';

/** One attempt of a request's story. */
export class AttemptRecord implements AttemptScope {
  readonly number: number;
  readonly endpoint: Endpoint | undefined;
  readonly spanId: string;
  readonly startedAtMs: number;
  readonly traceparent: string;
  readonly tracestate: string | undefined;
  readonly b3: AttemptScope['b3'];
  endedAtMs: number | undefined = undefined;
  outcome: AttemptOutcome | undefined = undefined;
  breaker = '';
  readonly #parentId: string;
  readonly #traceId: string;

  constructor(
    number: number,
    endpoint: Endpoint | undefined,
    startedAtMs: number,
    spanId: string,
    parentId: string,
    traceId: string,
    sampled: boolean,
    context: TraceContext | undefined,
  ) {
    this.number = number;
    this.endpoint = endpoint;
    this.spanId = spanId;
    this.startedAtMs = startedAtMs;
    this.#parentId = parentId;
    this.#traceId = traceId;
    this.traceparent = formatTraceparent(traceId, spanId, sampled);
    this.tracestate = context?.state;
    this.b3 = context?.b3 === undefined ? undefined : formatB3(context.b3, traceId, spanId, sampled);
  }

  end(outcome: AttemptOutcome, endedAtMs: number, breaker: string): void {
    this.outcome = outcome;
    this.endedAtMs = endedAtMs;
    this.breaker = breaker;
  }

  get name(): string {
    return `attempt ${this.number}`;
  }

  /** What tells it from other spans. */
  protected ownAttributes(): Attributes {
    return { 'heddle.attempt': this.number };
  }

  /** `cutAtMs` is the end of one that has not ended by itself. */
  span(cutAtMs: number, wallOf: (atMs: number) => number): SpanRecord {
    const { outcome, endpoint } = this;
    const attributes = this.ownAttributes();
    if (endpoint !== undefined) {
      attributes['network.peer.address'] = endpoint.address;
      attributes['network.peer.port'] = endpoint.port;
      if (endpoint.pod !== undefined) attributes['heddle.pod'] = endpoint.pod;
      if (endpoint.mtls && endpoint.identities[0] !== undefined)
        attributes['heddle.peer'] = endpoint.identities[0];
    }
    if (this.breaker !== '') attributes['heddle.breaker.state'] = this.breaker;
    if (outcome?.kind === 'response') attributes['http.response.status_code'] = outcome.status;
    if (outcome?.kind === 'failure') attributes['heddle.reason'] = outcome.failure.code;
    return {
      traceId: this.#traceId,
      spanId: this.spanId,
      parentId: this.#parentId,
      parentRemote: false,
      traceState: this.tracestate,
      kind: 'client',
      name: this.name,
      startMs: wallOf(this.startedAtMs),
      endMs: wallOf(this.endedAtMs ?? cutAtMs),
      attributes,
      error: attemptError(outcome),
    };
  }
}

/** A copy of a request at another backend. It may end long after its request. */
export class MirrorRecord extends AttemptRecord {
  readonly target: MirrorTarget;
  readonly #ended: (mirror: MirrorRecord) => void;

  constructor(
    ended: (mirror: MirrorRecord) => void,
    target: MirrorTarget,
    startedAtMs: number,
    spanId: string,
    parentId: string,
    traceId: string,
    sampled: boolean,
    context: TraceContext | undefined,
  ) {
    super(1, target.endpoint, startedAtMs, spanId, parentId, traceId, sampled, context);
    this.#ended = ended;
    this.target = target;
  }

  override get name(): string {
    return `mirror ${this.target.cluster.service}`;
  }

  protected override ownAttributes(): Attributes {
    return { 'heddle.mirror': true, 'heddle.cluster': this.target.cluster.name };
  }

  override end(outcome: AttemptOutcome, endedAtMs: number, breaker: string): void {
    super.end(outcome, endedAtMs, breaker);
    this.#ended(this);
  }
}

const FIRST_CLIENT_ERROR = 400;

function attemptError(outcome: AttemptOutcome | undefined): string | undefined {
  if (outcome === undefined) return 'the attempt was cut off';
  if (outcome.kind === 'failure') return outcome.failure.message;
  return outcome.status >= FIRST_CLIENT_ERROR ? `status ${outcome.status}` : undefined;
}
