import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { MIRROR_TAG } from './span.ts';

/** What a span must fulfil for its trace to be found. All conditions hold on one and the same span, as in Jaeger. */
export interface TraceQuery {
  readonly service?: string;
  readonly operation?: string;
  readonly startUs?: number;
  readonly endUs?: number;
  readonly minDurationUs?: number;
  readonly maxDurationUs?: number;
  readonly tags?: readonly (readonly [key: string, value: string])[];
  /** Only spans of status error that are no part of a copy for a mirror: its answer was thrown away. */
  readonly errorsOnly?: boolean;
  /** Traces, the newest first. */
  readonly limit: number;
}

/** Whether a span is a copy's, or was caused by one: from parent to parent, each once, as spans may name each other. */
const OF_COPY = `EXISTS (
  WITH RECURSIVE up (id, parent) AS (
    SELECT spans.id, spans.parent_id
    UNION
    SELECT above.id, above.parent_id FROM up JOIN spans AS above
      ON above.trace_id = spans.trace_id AND above.span_id = up.parent
  )
  SELECT 1 FROM up JOIN tags ON tags.span = up.id WHERE tags.key = '${MIRROR_TAG}' AND tags.value = 'true'
)`;

/** The ids of the traces found, newest first. Stops reading as soon as `limit` traces are known. */
export function findTraces(database: DatabaseSync, query: TraceQuery): string[] {
  const conditions: string[] = [];
  const values: SQLInputValue[] = [];
  const where = (condition: string, ...more: SQLInputValue[]) => {
    conditions.push(condition);
    values.push(...more);
  };
  if (query.service !== undefined) where('service = ?', query.service);
  if (query.operation !== undefined) where('operation = ?', query.operation);
  if (query.startUs !== undefined) where('start_us >= ?', query.startUs);
  if (query.endUs !== undefined) where('start_us <= ?', query.endUs);
  if (query.minDurationUs !== undefined) where('duration_us >= ?', query.minDurationUs);
  if (query.maxDurationUs !== undefined) where('duration_us <= ?', query.maxDurationUs);
  // Tags ask for what a span itself says: "error=true" finds copies' errors, too.
  for (const [key, value] of query.tags ?? []) {
    where('EXISTS (SELECT 1 FROM tags WHERE tags.span = spans.id AND key = ? AND value = ?)', key, value);
  }
  // Last: the most work for each span.
  if (query.errorsOnly === true) where(`error = 1 AND NOT ${OF_COPY}`);
  const filter = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  const rows = database
    .prepare(`SELECT trace_id FROM spans ${filter} ORDER BY start_us DESC`)
    .iterate(...values);
  const found = new Set<string>();
  for (const row of rows) {
    found.add(String(row.trace_id));
    if (found.size >= query.limit) break;
  }
  return [...found];
}
