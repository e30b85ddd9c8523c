import type { SQLInputValue, SQLOutputValue } from 'node:sqlite';
import { MIRROR_TAG, SPAN_KIND } from './span.ts';

export interface GraphWindow {
  readonly startUs: number;
  readonly endUs: number;
}

export interface Traffic {
  readonly requests: number;
  readonly errors: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** The traffic is what the caller waited for; its copies for mirrors are a number beside it. */
export interface GraphEdge extends Traffic {
  readonly caller: string;
  readonly callee: string;
  readonly copies: number;
}

export interface GraphNode extends Traffic {
  readonly service: string;
}

export interface ServiceGraph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

/** Who sent a request, and whether as a copy for a mirror. */
export interface Cause {
  readonly service: string;
  readonly copy: boolean;
}

/** What a graph is made of, as far as one store knows: a span and the one that caused it may be in two. */
export interface Calls {
  /** All that sent or served anything. */
  readonly services: readonly string[];
  readonly served: readonly ServedCalls[];
  /** Served requests whose cause is in another store, or in none; the newest. */
  readonly orphans: readonly OrphanCall[];
}

/** Requests that a service served for one caller; null: nobody of the mesh, or nobody knows. */
export interface ServedCalls {
  readonly callee: string;
  readonly caller: string | null;
  readonly copy: boolean;
  readonly durationsUs: readonly number[];
  readonly errors: number;
}

export interface OrphanCall {
  readonly callee: string;
  /** The span that caused it: a `spanRef`. */
  readonly cause: string;
  readonly durationUs: number;
  readonly error: boolean;
}

/** Rows read for one graph: the newest. */
const GRAPH_SPANS_MAX = 50_000;
/** Of one store for one graph: their names are a request of half a megabyte to another. Older ones count for nobody. */
export const orphansMax = 10_000;

/** Reads rows of a store's tables. */
export type Rows = (sql: string, ...values: SQLInputValue[]) => Record<string, SQLOutputValue>[];

/** The name of a span over all traces. */
function spanRef(traceId: string, spanId: string): string {
  return `${traceId}${spanId}`;
}

const TRACE_ID_LENGTH = 32;
/** Whether a span is that of a copy for a mirror. */
const isCopy = (span: string) =>
  `EXISTS (SELECT 1 FROM tags t WHERE t.key = '${MIRROR_TAG}' AND t.value = 'true' AND t.span = ${span}.id)`;

/** The SERVER spans of a window with the spans that caused them, as far as they are here. */
export function readCalls(rows: Rows, window: GraphWindow): Calls {
  const found = rows(
    `SELECT s.service AS callee, p.service AS caller, s.duration_us AS us, s.error AS error, ${isCopy('p')} AS copy,
       s.trace_id AS trace, s.parent_id AS parent
     FROM spans s LEFT JOIN spans p ON p.trace_id = s.trace_id AND p.span_id = s.parent_id
     WHERE s.start_us BETWEEN ? AND ? AND s.kind = ${SPAN_KIND.server} ORDER BY s.start_us DESC LIMIT ?`,
    window.startUs,
    window.endUs,
    GRAPH_SPANS_MAX,
  );
  const served = new Map<string, ServedCalls & { readonly durationsUs: number[]; errors: number }>();
  const orphans: OrphanCall[] = [];
  for (const row of found) {
    const callee = String(row.callee);
    const durationUs = Number(row.us);
    if (row.caller === null && row.parent !== '' && orphans.length < orphansMax) {
      const cause = spanRef(String(row.trace), String(row.parent));
      orphans.push({ callee, cause, durationUs, error: row.error === 1 });
      continue;
    }
    const caller = row.caller === null ? null : String(row.caller);
    const copy = row.copy === 1;
    const key = JSON.stringify([callee, caller, copy]);
    let group = served.get(key);
    if (group === undefined) {
      group = { callee, caller, copy, durationsUs: [], errors: 0 };
      served.set(key, group);
    }
    group.durationsUs.push(durationUs);
    if (row.error === 1) group.errors++;
  }
  const senders = rows(
    'SELECT DISTINCT service FROM spans WHERE start_us BETWEEN ? AND ?',
    window.startUs,
    window.endUs,
  );
  return { services: senders.map((row) => String(row.service)), served: [...served.values()], orphans };
}

/** Which service sent what a span (`spanRef`) caused; null for spans that aren't here. */
export function readCauses(rows: Rows, spans: readonly string[]): (Cause | null)[] {
  return spans.slice(0, orphansMax).map((ref) => {
    const [row] = rows(
      `SELECT p.service AS service, ${isCopy('p')} AS copy FROM spans p WHERE p.trace_id = ? AND p.span_id = ?`,
      ref.slice(0, TRACE_ID_LENGTH),
      ref.slice(TRACE_ID_LENGTH),
    );
    return row === undefined ? null : { service: String(row.service), copy: row.copy === 1 };
  });
}

class Samples {
  readonly durations: number[] = [];
  errors = 0;
  copies = 0;

  add(durationsUs: readonly number[], errors: number): void {
    for (const durationUs of durationsUs) this.durations.push(durationUs);
    this.errors += errors;
  }

  traffic(): Traffic {
    const sorted = this.durations.sort((a, b) => a - b);
    const rank = (share: number) => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
    return { requests: sorted.length, errors: this.errors, p50Us: rank(0.5), p99Us: rank(0.99) };
  }
}

function group(samples: Map<string, Samples>, key: string): Samples {
  let found = samples.get(key);
  if (found === undefined) {
    found = new Samples();
    samples.set(key, found);
  }
  return found;
}

/**
 * Who called whom, from what one store or several know; `causes` are those of orphans. A service is a node as soon as it
 * served or sent anything; what it served counts for it, copies included, as they are as much work for it.
 */
export function graphOf(
  stores: readonly Calls[],
  causes: ReadonlyMap<string, Cause> = new Map(),
): ServiceGraph {
  const nodes = new Map<string, Samples>();
  const edges = new Map<string, Samples>();
  const count = ({ callee, caller, copy, durationsUs, errors }: ServedCalls) => {
    group(nodes, callee).add(durationsUs, errors);
    if (caller === null || caller === callee) return;
    const edge = group(edges, JSON.stringify([caller, callee]));
    if (copy) edge.copies += durationsUs.length;
    else edge.add(durationsUs, errors);
  };
  for (const { served, orphans, services } of stores) {
    for (const calls of served) count(calls);
    for (const { callee, cause, durationUs, error } of orphans) {
      const { service: caller = null, copy = false } = causes.get(cause) ?? {};
      count({ callee, caller, copy, durationsUs: [durationUs], errors: error ? 1 : 0 });
    }
    for (const service of services) group(nodes, service);
  }
  return {
    nodes: [...nodes].map(([service, samples]) => ({ service, ...samples.traffic() })),
    edges: [...edges].map(([key, samples]) => {
      const [caller = '', callee = ''] = JSON.parse(key) as string[];
      return { caller, callee, copies: samples.copies, ...samples.traffic() };
    }),
  };
}
