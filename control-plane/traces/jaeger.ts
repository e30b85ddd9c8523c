import type { SpanRecord, Tag } from './span.ts';
import { derivedTags } from './store.ts';

/** The JSON that Jaeger's query service answers and its UI reads (jaeger `internal/uimodel`). */
export interface JaegerSpan {
  readonly traceID: string;
  readonly spanID: string;
  readonly flags: number;
  readonly operationName: string;
  readonly references: readonly { refType: 'CHILD_OF' | 'FOLLOWS_FROM'; traceID: string; spanID: string }[];
  /** Microseconds since the Unix epoch. */
  readonly startTime: number;
  /** Microseconds. */
  readonly duration: number;
  readonly tags: readonly Tag[];
  readonly logs: readonly { timestamp: number; fields: readonly Tag[] }[];
  readonly processID: string;
  readonly warnings: null;
}

export interface JaegerTrace {
  readonly traceID: string;
  readonly spans: readonly JaegerSpan[];
  readonly processes: Readonly<Record<string, { serviceName: string; tags: readonly Tag[] }>>;
  readonly warnings: null;
}

/** Jaeger writes a trace id whose upper half is zero with 16 digits. */
export function jaegerTraceId(traceId: string): string {
  return traceId.startsWith('0'.repeat(16)) ? traceId.slice(16) : traceId;
}

/** A trace id of 1 to 32 hexadecimal digits, padded; undefined where it is something else. */
export function parseTraceId(text: string): string | undefined {
  return /^[0-9a-fA-F]{1,32}$/.test(text) ? text.toLowerCase().padStart(32, '0') : undefined;
}

function jaegerSpan(span: SpanRecord, processID: string): JaegerSpan {
  const traceID = jaegerTraceId(span.traceId);
  const parent = { refType: 'CHILD_OF' as const, traceID, spanID: span.parentId };
  return {
    traceID,
    spanID: span.spanId,
    flags: 1,
    operationName: span.operation,
    references: [
      ...(span.parentId === '' ? [] : [parent]),
      ...span.links.map((link) => ({
        refType: 'FOLLOWS_FROM' as const,
        traceID: jaegerTraceId(link.traceId),
        spanID: link.spanId,
      })),
    ],
    startTime: span.startUs,
    duration: span.durationUs,
    tags: [...span.tags, ...derivedTags(span)],
    logs: span.events.map((event) => ({
      timestamp: event.timeUs,
      fields: [
        ...(event.name === '' ? [] : [{ key: 'event', type: 'string' as const, value: event.name }]),
        ...event.tags,
      ],
    })),
    processID,
    warnings: null,
  };
}

/** One trace in Jaeger's shape. Spans of equal service and resource share a process, numbered from `p1`. */
export function toJaegerTrace(spans: readonly SpanRecord[]): JaegerTrace {
  const ids = new Map<string, string>();
  const processes: Record<string, { serviceName: string; tags: readonly Tag[] }> = {};
  const made = spans.map((span) => {
    const key = JSON.stringify([span.service, span.processTags]);
    let id = ids.get(key);
    if (id === undefined) {
      id = `p${ids.size + 1}`;
      ids.set(key, id);
      processes[id] = { serviceName: span.service, tags: span.processTags };
    }
    return jaegerSpan(span, id);
  });
  return { traceID: jaegerTraceId(spans[0]?.traceId ?? ''), spans: made, processes, warnings: null };
}
