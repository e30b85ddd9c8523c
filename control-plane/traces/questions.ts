import { isJsonObject } from '../../common/json.ts';
import type { Calls, Cause, GraphWindow } from './graph.ts';
import type { TraceQuery } from './queries.ts';
import type { SpanRecord } from './span.ts';
import type { TraceStore } from './store.ts';

/** What may be asked of a store that lives elsewhere: in the trace thread, or in another replica. All of it goes through JSON. */
export type Question =
  | { readonly kind: 'services' }
  | { readonly kind: 'operations'; readonly service: string }
  | { readonly kind: 'find'; readonly query: TraceQuery }
  | { readonly kind: 'traces'; readonly traceIds: readonly string[] }
  | { readonly kind: 'graph'; readonly window: GraphWindow }
  | { readonly kind: 'calls'; readonly window: GraphWindow }
  | { readonly kind: 'causes'; readonly spans: readonly string[] }
  | { readonly kind: 'stored' };

const KINDS: Readonly<Record<Question['kind'], true>> = {
  ...{ services: true, operations: true, find: true, traces: true },
  ...{ graph: true, calls: true, causes: true, stored: true },
};

/** Answers for a store of this very thread. */
export function answerQuestion(store: TraceStore, question: Question): unknown {
  switch (question.kind) {
    case 'services':
      return store.services();
    case 'operations':
      return store.operations(question.service);
    case 'find':
      return store.find(question.query);
    case 'traces':
      return question.traceIds.map((id) => store.trace(id));
    case 'graph':
      return store.graph(question.window);
    case 'calls':
      return store.calls(question.window);
    case 'causes':
      return store.causes(question.spans);
    case 'stored':
      return store.counters().stored;
    default:
      return question satisfies never;
  }
}

/** What one store knows, wherever it is. */
export interface StoredTraces {
  services(): Promise<string[]>;
  operations(service: string): Promise<{ name: string; spanKind: string }[]>;
  /** Whole traces, as far as this store has them, that have a span fitting the query; the newest first. */
  find(query: TraceQuery): Promise<SpanRecord[][]>;
  /** Every span of each trace (32 hexadecimal digits), by start; empty where it is unknown. */
  traces(traceIds: readonly string[]): Promise<SpanRecord[][]>;
  calls(window: GraphWindow): Promise<Calls>;
  /** Of each span (`spanRef`) what a request that it caused is counted for; null where it is unknown. */
  causes(spans: readonly string[]): Promise<(Cause | null)[]>;
  /** Spans written since the process began: another number means that there is more to see. */
  stored(): Promise<number>;
}

/** A store by what it answers. */
export function storedTraces(ask: (question: Question) => Promise<unknown>): StoredTraces {
  // Whoever answers is of this release, or it refuses the question.
  const asked = <T>(question: Question) => ask(question) as Promise<T>;
  return {
    services: () => asked({ kind: 'services' }),
    operations: (service) => asked({ kind: 'operations', service }),
    find: (query) => asked({ kind: 'find', query }),
    traces: (traceIds) => asked({ kind: 'traces', traceIds }),
    calls: (window) => asked({ kind: 'calls', window }),
    causes: (spans) => asked({ kind: 'causes', spans }),
    stored: () => asked({ kind: 'stored' }),
  };
}

/** A question as another replica sent it; undefined where it is none that this release knows. */
export function readQuestion(bytes: Uint8Array): Question | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return undefined;
  }
  if (!isJsonObject(value) || typeof value.kind !== 'string' || !Object.hasOwn(KINDS, value.kind))
    return undefined;
  // What is wrong inside a question fails in the store, which binds values and interprets none.
  return value as unknown as Question;
}
