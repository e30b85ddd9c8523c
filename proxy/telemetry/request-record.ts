import type { Attributes } from '@opentelemetry/api';
import { HEADERS } from '../../common/contracts.ts';
import type { Random } from '../../common/random.ts';
import type { Decision, MirrorTarget, Reason, ReasonSink } from '../../model/decision-types.ts';
import type { Endpoint } from '../../model/snapshot.ts';
import type { AttemptScope, RequestInfo, RequestResult, RequestScope } from '../stage.ts';
import { AttemptRecord, MirrorRecord } from './attempt-record.ts';
import type { SpanRecord } from './span-record.ts';
import type { TraceContext } from './trace-context.ts';

/** Reasons beyond this many are dropped: a destination with hundreds of rules explains itself on the explain page. */
export const reasonsMax = 100;
export const textCharsMax = 1_024;

/** What a record needs of the telemetry it belongs to. */
export interface RecordOwner {
  readonly random: Random;
  /** True where the request's spans are kept. */
  finished(record: RequestRecord, result: RequestResult): boolean;
  mirrored(record: RequestRecord, mirror: MirrorRecord): void;
}

const NO_MIRRORS: MirrorRecord[] = [];

/**
 * A request's story while it happens: plain fields and ids, no spans. Spans are made of it when the request is over and
 * only if somebody will read them.
 */
export class RequestRecord implements RequestScope, ReasonSink {
  readonly info: RequestInfo;
  readonly sampled: boolean;
  readonly requestId: string;
  decision: Decision | undefined;
  attempts = 0;
  /** Whether its spans were sent; undefined until it is over. */
  kept: boolean | undefined;
  readonly #owner: RecordOwner;
  readonly #context: TraceContext | undefined;
  readonly #traceId: string;
  readonly #spanId: string;
  readonly #attempts: AttemptRecord[] = [];
  #mirrors: MirrorRecord[] = NO_MIRRORS;
  #reasons: Reason[] | undefined;

  constructor(owner: RecordOwner, info: RequestInfo, context: TraceContext | undefined, sampled: boolean) {
    this.#owner = owner;
    this.info = info;
    this.sampled = sampled;
    this.#context = context;
    this.#traceId = context?.traceId ?? owner.random.hex(16);
    this.#spanId = owner.random.hex(8);
    this.requestId = info.view.header(HEADERS.requestId) ?? uuidOf(owner.random.hex(16));
  }

  get reasons(): ReasonSink | undefined {
    return this.sampled ? this : undefined;
  }

  add(reason: Reason): void {
    this.#reasons ??= [];
    if (this.#reasons.length < reasonsMax) this.#reasons.push(reason);
  }

  decided(decision: Decision): void {
    this.decision = decision;
  }

  attempt(number: number, endpoint: Endpoint | undefined, startedAtMs: number): AttemptScope {
    this.attempts = number;
    // The app behind an inbound request is its only attempt: it continues the server span itself.
    const spanId = this.info.direction === 'inbound' ? this.#spanId : this.#owner.random.hex(8);
    const attempt = new AttemptRecord(
      number,
      endpoint,
      startedAtMs,
      spanId,
      this.#spanId,
      this.#traceId,
      this.sampled,
      this.#context,
    );
    this.#attempts.push(attempt);
    return attempt;
  }

  mirror(target: MirrorTarget, startedAtMs: number): AttemptScope {
    return new MirrorRecord(
      (mirror) => this.#owner.mirrored(this, mirror),
      target,
      startedAtMs,
      this.#owner.random.hex(8),
      this.#spanId,
      this.#traceId,
      this.sampled,
      this.#context,
    );
  }

  /** A copy that ended before its request did: its span is one of the request's. */
  addMirror(mirror: MirrorRecord): void {
    if (this.#mirrors === NO_MIRRORS) this.#mirrors = [];
    this.#mirrors.push(mirror);
  }

  end(result: RequestResult): void {
    this.kept = this.#owner.finished(this, result);
  }

  /** The spans of the request; `wallOf` turns the clock's milliseconds into time of day. */
  spans(result: RequestResult, wallOf: (atMs: number) => number): SpanRecord[] {
    const own: SpanRecord = {
      traceId: this.#traceId,
      spanId: this.#spanId,
      parentId: this.#context?.parentId,
      parentRemote: true,
      traceState: this.#context?.state,
      kind: this.info.direction === 'inbound' ? 'server' : 'client',
      name: this.#name(),
      startMs: wallOf(this.info.startedAtMs),
      endMs: wallOf(result.endedAtMs),
      attributes: this.#attributes(result),
      error: errorOf(result.status, result.failure?.message, this.info.direction),
    };
    if (this.info.direction === 'inbound') return [own];
    return [
      own,
      ...this.#attempts.map((attempt) => attempt.span(result.endedAtMs, wallOf)),
      ...this.#mirrors.map((mirror) => mirror.span(result.endedAtMs, wallOf)),
    ];
  }

  /** Low in cardinality, as the HTTP conventions want it: the method, and the route or service where one is known. */
  #name(): string {
    const { method } = this.info.view;
    const { decision } = this;
    const target =
      decision === undefined || decision.kind === 'answer' ? undefined : decision.destination.service;
    return target === undefined ? method : `${method} ${target}`;
  }

  #attributes(result: RequestResult): Attributes {
    const { info, decision } = this;
    const { view } = info;
    const attributes: Attributes = {
      'http.request.method': view.method,
      'url.path': clip(view.path),
      ...serverOf(info.authority),
      'http.response.status_code': result.status,
      'http.request.body.size': result.requestBytes,
      'http.response.body.size': result.responseBytes,
      'heddle.direction': info.direction,
      'heddle.request_id': clip(this.requestId),
    };
    if (view.query !== '') attributes['url.query'] = clip(view.query);
    if (info.direction === 'outbound') {
      const query = view.query === '' ? '' : `?${view.query}`;
      attributes['url.full'] = clip(`http://${info.authority}${view.path}${query}`);
      Object.assign(attributes, matchedHeaders(decision, view));
    }
    if (info.peer !== undefined) attributes['heddle.peer'] = info.peer;
    if (view.sourceAddress !== undefined) attributes['client.address'] = view.sourceAddress;
    if (decision?.rule !== undefined) attributes['heddle.route'] = decision.rule.id;
    if (decision?.kind === 'redirect')
      attributes['http.response.header.location'] = [clip(decision.location)];
    if (decision?.cluster !== undefined) attributes['heddle.cluster'] = decision.cluster.name;
    // `heddle.attempt` itself marks the spans below, one of each try.
    if (info.direction === 'outbound' && this.attempts > 0) attributes['heddle.attempts'] = this.attempts;
    const breaker = this.#attempts.at(-1)?.breaker;
    if (breaker !== undefined && breaker !== '') attributes['heddle.breaker.state'] = breaker;
    if (this.#reasons !== undefined) attributes['heddle.reasons'] = JSON.stringify(this.#reasons);
    if (result.failure !== undefined) attributes['heddle.reason'] = result.failure.code;
    return attributes;
  }
}

/** HTTP semantic conventions: address and port apart. */
function serverOf(authority: string): Attributes {
  const match = /^(.*?)(?::(\d{1,5}))?$/.exec(authority);
  const address = { 'server.address': clip((match?.[1] ?? authority).replace(/^\[|\]$/g, '')) };
  return match?.[2] === undefined ? address : { ...address, 'server.port': Number(match[2]) };
}

/** Never recorded, whatever a route looks at: they let somebody in. */
const SECRET_HEADERS: ReadonlySet<string> = new Set(['authorization', 'cookie', 'proxy-authorization']);
export const headersRecordedMax = 16;

/** The headers that the destination's rules look at, so that the decision can be explained from the trace. */
function matchedHeaders(decision: Decision | undefined, view: RequestInfo['view']): Attributes {
  const matches =
    decision === undefined || decision.kind === 'answer'
      ? (decision?.rule?.matches ?? [])
      : decision.destination.entries.map((entry) => entry.match);
  const names = new Set(matches.flatMap((match) => match.headers.map(({ name }) => name)));
  const attributes: Attributes = {};
  let recorded = 0;
  for (const name of names) {
    const value = SECRET_HEADERS.has(name) ? undefined : view.header(name);
    if (value === undefined || recorded === headersRecordedMax) continue;
    attributes[`http.request.header.${name}`] = clip(value);
    recorded++;
  }
  return attributes;
}

const FIRST_CLIENT_ERROR = 400;
const FIRST_SERVER_ERROR = 500;

/** HTTP semantic conventions, "Status": 4xx is an error for the client's span, not for the server's. */
function errorOf(
  status: number,
  message: string | undefined,
  direction: RequestInfo['direction'],
): string | undefined {
  if (message !== undefined) return message;
  const first = direction === 'inbound' ? FIRST_SERVER_ERROR : FIRST_CLIENT_ERROR;
  return status >= first ? `status ${status}` : undefined;
}

function clip(text: string): string {
  return text.length <= textCharsMax ? text : `${text.slice(0, textCharsMax)}…`;
}

/** Random hexadecimal digits as a version 4 UUID (RFC 9562, section 5.4), which is what people expect of x-request-id. */
function uuidOf(hex: string): string {
  const variant = ((Number.parseInt(hex[16] ?? '0', 16) & 0x3) | 0x8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
