import type { GraphWindow, ServiceGraph } from './graph.ts';
import type { TraceQuery } from './queries.ts';
import type { SpanRecord } from './span.ts';
import type { TraceCounters, TraceStore } from './store.ts';

/** Traces as the dashboard and its API ask for them, wherever the store lives. */
export interface TraceReader {
  services(): Promise<string[]>;
  operations(service: string): Promise<{ name: string; spanKind: string }[]>;
  /** Whole traces that have a span fitting the query, the newest first. */
  find(query: TraceQuery): Promise<SpanRecord[][]>;
  /** Every span of a trace (32 hexadecimal digits), by start; empty where it is unknown. */
  trace(traceId: string): Promise<SpanRecord[]>;
  graph(window: GraphWindow): Promise<ServiceGraph>;
  /** As of the last write. */
  counters(): TraceCounters;
  /** Runs after new spans can be read. Returns the function that stops it. */
  onChange(listener: () => void): () => void;
}

/** Reads a store of this very thread. */
export function readerOf(store: TraceStore): TraceReader {
  return {
    services: async () => store.services(),
    operations: async (service) => store.operations(service),
    find: async (query) => store.find(query),
    trace: async (traceId) => store.trace(traceId),
    graph: async (window) => store.graph(window),
    counters: () => store.counters(),
    onChange: (listener) => store.onChange(listener),
  };
}
