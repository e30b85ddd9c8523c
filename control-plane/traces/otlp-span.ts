import type { TraceLimits } from './limits.ts';
import type { DecodedExport, SpanEvent, SpanLink, SpanRecord, Tag, TagValue } from './span.ts';

/** An attribute's value before it is bounded and flattened. */
export type Plain = string | boolean | number | bigint | Uint8Array | null | readonly Plain[] | PlainMap;
export interface PlainMap {
  readonly entries: readonly (readonly [key: string, value: Plain])[];
}
export interface PlainAttribute {
  readonly key: string;
  readonly value: Plain;
  /** OTLP's `doubleValue`, which JavaScript's numbers don't show. */
  readonly double?: boolean;
}

/** A span as it was on the wire, protobuf or JSON alike. */
export interface WireSpan {
  traceId: string;
  spanId: string;
  parentId: string;
  name: string;
  kind: number;
  startNs: bigint;
  endNs: bigint;
  traceState: string;
  status: number;
  statusMessage: string;
  attributes: PlainAttribute[];
  events: { timeNs: bigint; name: string; attributes: PlainAttribute[] }[];
  links: { traceId: string; spanId: string }[];
}

export interface WireResource {
  attributes: PlainAttribute[];
}

export interface WireScope {
  name: string;
  version: string;
}

export function emptyWireSpan(): WireSpan {
  return {
    traceId: '',
    spanId: '',
    parentId: '',
    name: '',
    kind: 0,
    startNs: 0n,
    endNs: 0n,
    traceState: '',
    status: 0,
    statusMessage: '',
    attributes: [],
    events: [],
    links: [],
  };
}

/** What Jaeger calls the service of a resource without `service.name`. */
const NO_SERVICE = 'OTLPResourceNoServiceName';
const TRUNCATED = '…';
/** Past the year 2255 a microsecond count leaves what a number holds exactly. */
const TIME_US_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** Text of at most `bytesMax` UTF-8 bytes, cut between characters; lone surrogates become U+FFFD. */
export function boundedText(text: string, bytesMax: number): string {
  const whole = text.isWellFormed() ? text : text.toWellFormed();
  if (whole.length * 3 <= bytesMax || Buffer.byteLength(whole) <= bytesMax) return whole;
  const bytes = Buffer.from(whole.slice(0, bytesMax));
  let end = Math.max(0, bytesMax - Buffer.byteLength(TRUNCATED));
  // A continuation byte (10xxxxxx) is the middle of a character: step back to its start.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end) + TRUNCATED;
}

/** Arrays and maps become JSON text, as Jaeger shows them. */
function toJson(value: Plain, depth: number): unknown {
  if (depth < 0) return TRUNCATED;
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value === null || typeof value !== 'object') return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if ('entries' in value && !Array.isArray(value)) {
    const map = value as PlainMap;
    return Object.fromEntries(map.entries.map(([key, inner]) => [key, toJson(inner, depth - 1)]));
  }
  return (value as readonly Plain[]).map((inner) => toJson(inner, depth - 1));
}

function tagValue(attribute: PlainAttribute, limits: TraceLimits): TagValue {
  const { value } = attribute;
  if (typeof value === 'string') {
    return { type: 'string', value: boundedText(value, limits.attributeBytesMax) };
  }
  if (typeof value === 'boolean') return { type: 'bool', value };
  if (typeof value === 'bigint') {
    const number = Number(value);
    return { type: 'int64', value: Number.isSafeInteger(number) ? number : String(value) };
  }
  if (typeof value === 'number') {
    // JSON has no NaN or infinity.
    if (!Number.isFinite(value)) return { type: 'string', value: String(value) };
    return attribute.double === true || !Number.isSafeInteger(value)
      ? { type: 'float64', value }
      : { type: 'int64', value };
  }
  if (value === null) return { type: 'string', value: '' };
  const text =
    value instanceof Uint8Array
      ? Buffer.from(value).toString('base64')
      : JSON.stringify(toJson(value, limits.attributeDepthMax));
  return { type: 'string', value: boundedText(text, limits.attributeBytesMax) };
}

const KEY_BYTES_MAX = 256;

function tagsOf(attributes: readonly PlainAttribute[], limits: TraceLimits): Tag[] {
  return attributes
    .slice(0, limits.attributesPerSpanMax)
    .map((each) => ({ key: boundedText(each.key, KEY_BYTES_MAX), ...tagValue(each, limits) }));
}

function microseconds(ns: bigint): number {
  const us = ns / 1000n;
  return us > TIME_US_MAX ? Number.MAX_SAFE_INTEGER : Number(us);
}

const ALL_ZERO = /^0*$/;
const TRACE_ID = /^[0-9a-f]{32}$/;
const SPAN_ID = /^[0-9a-f]{16}$/;

function fault(span: WireSpan): string | undefined {
  if (!TRACE_ID.test(span.traceId) || ALL_ZERO.test(span.traceId)) return 'invalid trace id';
  if (!SPAN_ID.test(span.spanId) || ALL_ZERO.test(span.spanId)) return 'invalid span id';
  if (span.parentId !== '' && !SPAN_ID.test(span.parentId)) return 'invalid parent span id';
  if (span.startNs <= 0n) return 'no start time';
  return undefined;
}

/** Gathers the spans of one export: checks ids and times, bounds everything, counts what it refuses. */
export class ExportBuilder {
  readonly #limits: TraceLimits;
  readonly #spans: SpanRecord[] = [];
  readonly #rejected = new Map<string, number>();

  constructor(limits: TraceLimits) {
    this.#limits = limits;
  }

  reject(why: string): void {
    this.#rejected.set(why, (this.#rejected.get(why) ?? 0) + 1);
  }

  /** Whether another span fits; a decoder may skip the bytes of those that don't. */
  full(): boolean {
    return this.#spans.length >= this.#limits.spansPerExportMax;
  }

  add(resource: WireResource, scope: WireScope, span: WireSpan): void {
    const why = this.full() ? `more than ${this.#limits.spansPerExportMax} spans in one export` : fault(span);
    if (why !== undefined) this.reject(why);
    else this.#spans.push(this.#record(resource, scope, span));
  }

  #record(resource: WireResource, scope: WireScope, span: WireSpan): SpanRecord {
    const limits = this.#limits;
    const text = (value: string) => boundedText(value, Math.min(1024, limits.attributeBytesMax));
    const processTags = tagsOf(resource.attributes, limits);
    const service = processTags.find((tag) => tag.key === 'service.name');
    const parent = ALL_ZERO.test(span.parentId) ? '' : span.parentId;
    return {
      traceId: span.traceId,
      spanId: span.spanId,
      parentId: parent,
      service: service === undefined || service.value === '' ? NO_SERVICE : text(String(service.value)),
      operation: text(span.name),
      kind: span.kind >= 0 && span.kind <= 5 ? span.kind : 0,
      startUs: microseconds(span.startNs),
      durationUs: span.endNs > span.startNs ? microseconds(span.endNs - span.startNs) : 0,
      status: span.status >= 0 && span.status <= 2 ? span.status : 0,
      statusMessage: text(span.statusMessage),
      traceState: text(span.traceState),
      scopeName: text(scope.name),
      scopeVersion: text(scope.version),
      tags: tagsOf(span.attributes, limits),
      processTags: processTags.filter((tag) => tag.key !== 'service.name'),
      events: span.events.slice(0, limits.eventsPerSpanMax).map(
        (event): SpanEvent => ({
          timeUs: microseconds(event.timeNs),
          name: text(event.name),
          tags: tagsOf(event.attributes, limits),
        }),
      ),
      links: span.links
        .filter((link): link is SpanLink => TRACE_ID.test(link.traceId) && SPAN_ID.test(link.spanId))
        .slice(0, limits.linksPerSpanMax),
    };
  }

  done(): DecodedExport {
    return { spans: this.#spans, rejected: this.#rejected };
  }
}
