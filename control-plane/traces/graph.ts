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

/** Rows read for one graph: the newest. */
const GRAPH_SPANS_MAX = 50_000;

type Rows = (sql: string, ...values: SQLInputValue[]) => Record<string, SQLOutputValue>[];

class Samples {
  readonly durations: number[] = [];
  errors = 0;
  copies = 0;

  add(durationUs: number, error: boolean): void {
    this.durations.push(durationUs);
    if (error) this.errors++;
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
 * Who called whom, from the SERVER spans of a window and the spans that caused them. A service is a node as soon as it
 * served or sent anything; what it served counts for it, copies included, as they are as much work for it.
 */
export function readGraph(rows: Rows, window: GraphWindow): ServiceGraph {
  const served = rows(
    `SELECT s.service AS callee, p.service AS caller, s.duration_us AS us, s.error AS error,
       EXISTS (SELECT 1 FROM tags t WHERE t.key = '${MIRROR_TAG}' AND t.value = 'true' AND t.span = p.id) AS copy
     FROM spans s LEFT JOIN spans p ON p.trace_id = s.trace_id AND p.span_id = s.parent_id
     WHERE s.start_us BETWEEN ? AND ? AND s.kind = ${SPAN_KIND.server} ORDER BY s.start_us DESC LIMIT ?`,
    window.startUs,
    window.endUs,
    GRAPH_SPANS_MAX,
  );
  const nodes = new Map<string, Samples>();
  const edges = new Map<string, Samples>();
  for (const row of served) {
    const callee = String(row.callee);
    const error = row.error === 1;
    group(nodes, callee).add(Number(row.us), error);
    if (row.caller === null || row.caller === callee) continue;
    const caller = String(row.caller);
    const edge = group(edges, JSON.stringify([caller, callee]));
    if (row.copy === 1) edge.copies++;
    else edge.add(Number(row.us), error);
  }
  const senders = rows(
    'SELECT DISTINCT service FROM spans WHERE start_us BETWEEN ? AND ?',
    window.startUs,
    window.endUs,
  );
  for (const row of senders) group(nodes, String(row.service));
  return {
    nodes: [...nodes].map(([service, samples]) => ({ service, ...samples.traffic() })),
    edges: [...edges].map(([key, samples]) => {
      const [caller = '', callee = ''] = JSON.parse(key) as string[];
      return { caller, callee, copies: samples.copies, ...samples.traffic() };
    }),
  };
}
