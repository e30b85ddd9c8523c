import { errorsOf } from './copies.ts';
import type { TraceQuery } from './queries.ts';
import type { SpanRecord } from './span.ts';
import { derivedTags } from './store.ts';

/** What several replicas know, as one. All of it is pure. */

/** Each text once, in order. */
export function mergeTexts(lists: readonly (readonly string[])[]): string[] {
  return [...new Set(lists.flat())].sort();
}

/** Traces by their id, each span once, by start: a part of a trace may be with each replica. */
export function mergeTraces(
  lists: readonly (readonly (readonly SpanRecord[])[])[],
): ReadonlyMap<string, SpanRecord[]> {
  const traces = new Map<string, Map<string, SpanRecord>>();
  for (const span of lists.flat(2)) {
    const spans = traces.get(span.traceId) ?? new Map<string, SpanRecord>();
    traces.set(span.traceId, spans);
    // It may have been sent again to another replica after a broken connection.
    spans.set(span.spanId, span);
  }
  return new Map(
    [...traces].map(([id, spans]) => [id, [...spans.values()].sort((a, b) => a.startUs - b.startUs)]),
  );
}

/** The latest `limit` traces, by when they began. */
export function newest(traces: Iterable<SpanRecord[]>, limit: number): SpanRecord[][] {
  const startUs = (spans: readonly SpanRecord[]) => spans[0]?.startUs ?? 0;
  return [...traces].sort((a, b) => startUs(b) - startUs(a)).slice(0, limit);
}

/**
 * Whether a whole trace has an error that the query asks for. A replica which knows the error of a copy and not whose copy it
 * was takes it for the request's.
 */
export function hasError(spans: readonly SpanRecord[], query: TraceQuery): boolean {
  return errorsOf(spans).some((span) => fits(span, query));
}

/** What `findTraces` asks for, of one span. */
function fits(span: SpanRecord, query: TraceQuery): boolean {
  const within = (value: number, least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY) =>
    value >= least && value <= most;
  return (
    (query.service === undefined || span.service === query.service) &&
    (query.operation === undefined || span.operation === query.operation) &&
    within(span.startUs, query.startUs, query.endUs) &&
    within(span.durationUs, query.minDurationUs, query.maxDurationUs) &&
    hasTags(span, query.tags ?? [])
  );
}

function hasTags(span: SpanRecord, wanted: NonNullable<TraceQuery['tags']>): boolean {
  if (wanted.length === 0) return true;
  const events = span.events.flatMap(({ tags }) => tags);
  const tags = [...span.tags, ...span.processTags, ...derivedTags(span), ...events];
  return wanted.every(([key, value]) => tags.some((tag) => tag.key === key && String(tag.value) === value));
}
