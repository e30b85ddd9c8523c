/** A span as the store keeps it: OTLP's meaning in Jaeger's units (microseconds), every part bounded. */

export type TagValue =
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'int64'; readonly value: number | string }
  | { readonly type: 'float64'; readonly value: number };

export type Tag = { readonly key: string } & TagValue;

export interface SpanEvent {
  readonly timeUs: number;
  readonly name: string;
  readonly tags: readonly Tag[];
}

export interface SpanLink {
  readonly traceId: string;
  readonly spanId: string;
}

/** OTLP's numbers (opentelemetry-proto, `Span.SpanKind`). */
export const SPAN_KIND = {
  unspecified: 0,
  internal: 1,
  server: 2,
  client: 3,
  producer: 4,
  consumer: 5,
} as const;

/** OTLP's numbers (opentelemetry-proto, `Status.StatusCode`). */
export const STATUS = { unset: 0, ok: 1, error: 2 } as const;

export interface SpanRecord {
  /** 32 lower-case hexadecimal digits. */
  readonly traceId: string;
  /** 16 lower-case hexadecimal digits. */
  readonly spanId: string;
  /** Empty for a root. */
  readonly parentId: string;
  readonly service: string;
  readonly operation: string;
  readonly kind: number;
  /** Since the Unix epoch. */
  readonly startUs: number;
  readonly durationUs: number;
  readonly status: number;
  readonly statusMessage: string;
  readonly traceState: string;
  readonly scopeName: string;
  readonly scopeVersion: string;
  readonly tags: readonly Tag[];
  readonly processTags: readonly Tag[];
  readonly events: readonly SpanEvent[];
  readonly links: readonly SpanLink[];
}

/** What a receiver made of one export. */
export interface DecodedExport {
  readonly spans: readonly SpanRecord[];
  /** Spans that can't be kept, by why; the sender learns of them in `partial_success`. */
  readonly rejected: ReadonlyMap<string, number>;
}

/** What a sidecar says of the span of a copy: nobody waited for it, and its answer was thrown away. */
export const MIRROR_TAG = 'heddle.mirror';

/** The value of a tag as text, or undefined where the span lacks it. */
export function tagText(span: { readonly tags: readonly Tag[] }, key: string): string | undefined {
  const tag = span.tags.find((each) => each.key === key);
  return tag === undefined ? undefined : String(tag.value);
}
