import type { GraphWindow, ServiceGraph } from './graph.ts';
import { answerQuestion, type Question, type StoredTraces, storedTraces } from './questions.ts';
import type { TraceCounters, TraceStore } from './store.ts';

/** This replica's own store, wherever it lives in the process. */
export interface TraceReader extends StoredTraces {
  /** Of this store alone; made where the store lives. */
  graph(window: GraphWindow): Promise<ServiceGraph>;
  /** As of the last write. */
  counters(): TraceCounters;
  /** Runs after new spans can be read. Returns the function that stops it. */
  onChange(listener: () => void): () => void;
}

/** A store by how it is asked, and by what it tells by itself. */
export function traceReader(
  ask: (question: Question) => Promise<unknown>,
  tells: Pick<TraceReader, 'counters' | 'onChange'>,
): TraceReader {
  return {
    ...storedTraces(ask),
    graph: (window) => ask({ kind: 'graph', window }) as Promise<ServiceGraph>,
    counters: () => tells.counters(),
    onChange: (listener) => tells.onChange(listener),
  };
}

/** Reads a store of this very thread. */
export function readerOf(store: TraceStore): TraceReader {
  return traceReader(async (question) => answerQuestion(store, question), store);
}
