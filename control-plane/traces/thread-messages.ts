import type { GraphWindow } from './graph.ts';
import type { TraceQuery } from './queries.ts';
import type { TraceCounters } from './store.ts';

/** What the trace thread is started with. */
export interface TraceThreadData {
  /** The database file. */
  readonly path: string;
  readonly listen: string;
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

export type Question =
  | { readonly kind: 'services' }
  | { readonly kind: 'operations'; readonly service: string }
  | { readonly kind: 'find'; readonly query: TraceQuery }
  | { readonly kind: 'trace'; readonly traceId: string }
  | { readonly kind: 'graph'; readonly window: GraphWindow };

export type ToThread =
  | { readonly kind: 'ask'; readonly id: number; readonly question: Question }
  | { readonly kind: 'close' };

export type FromThread =
  | { readonly kind: 'listening'; readonly grpcPort: number; readonly httpPort: number }
  /** The store or a port could not be opened; the thread ends. */
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'changed'; readonly counters: TraceCounters }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly message: string };
