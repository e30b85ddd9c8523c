import type { Question } from './questions.ts';
import type { TraceCounters } from './store.ts';

/** What the trace thread is started with. */
export interface TraceThreadData {
  /** The database file. */
  readonly path: string;
  readonly diskBytesMax: number;
  readonly listen: string;
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

export type ToThread =
  /** `asText`: the answer is wanted as the bytes of its JSON, for somebody else. */
  | { readonly kind: 'ask'; readonly id: number; readonly question: Question; readonly asText: boolean }
  | { readonly kind: 'close' };

export type FromThread =
  | { readonly kind: 'listening'; readonly grpcPort: number; readonly httpPort: number }
  /** The store or a port could not be opened; the thread ends. */
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'changed'; readonly counters: TraceCounters }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly message: string };
