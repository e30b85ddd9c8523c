import { Worker } from 'node:worker_threads';
import { HeddleError } from '../../common/errors.ts';
import type { Question } from './questions.ts';
import { type TraceReader, traceReader } from './reader.ts';
import type { TraceCounters } from './store.ts';
import type { FromThread, ToThread, TraceThreadData } from './thread-messages.ts';

export interface TraceThread {
  readonly reader: TraceReader;
  /** The answer as the bytes of its JSON, made in the thread: for another replica. */
  text(question: Question): Promise<Uint8Array>;
  readonly grpcPort: number;
  readonly httpPort: number;
  /** Writes what is queued and ends the thread. */
  close(): Promise<void>;
}

export interface TraceThreadOptions extends TraceThreadData {
  /** The program's own main module: it runs the thread where it finds itself in one, from source and from a bundle alike. */
  readonly program: string;
  /** The thread ended on its own account, which it never should. */
  readonly onFailure: (thrown: Error) => void;
}

/** Questions asked and not answered; more are refused. The dashboard's connections bound them before that. */
export const questionsPendingMax = 1_024;

interface Waiting {
  resolve(value: unknown): void;
  reject(reason: Error): void;
}

/**
 * Takes OTLP in and keeps traces in a thread of their own: a flood of spans costs the control plane's event loop
 * nothing. Rejects where the store or a port can't be opened.
 */
export async function startTraceThread(options: TraceThreadOptions): Promise<TraceThread> {
  const { program, onFailure, ...data } = options;
  const worker = new Worker(program, { workerData: data satisfies TraceThreadData });
  const listeners = new Set<() => void>();
  const waiting = new Map<number, Waiting>();
  let counters: TraceCounters = { stored: 0, dropped: {}, expired: 0 };
  let nextId = 0;
  let listening = false;
  let closing = false;

  const opened = await new Promise<{ grpcPort: number; httpPort: number }>((resolve, reject) => {
    worker.on('message', (message: FromThread) => {
      switch (message.kind) {
        case 'listening':
          listening = true;
          resolve(message);
          return;
        case 'failed':
          reject(new HeddleError('traces', message.message));
          return;
        case 'changed':
          counters = message.counters;
          for (const listener of [...listeners]) listener();
          return;
        case 'answer':
          take(message.id)?.resolve(message.value);
          return;
        case 'error':
          take(message.id)?.reject(new HeddleError('traces', message.message));
          return;
        default:
          message satisfies never;
      }
    });
    worker.on('error', (thrown) => {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      reject(error);
      end(error);
    });
    worker.on('exit', () => {
      const error = new HeddleError('traces', 'the trace thread ended');
      reject(error);
      end(error);
    });
  });

  function take(id: number): Waiting | undefined {
    const found = waiting.get(id);
    waiting.delete(id);
    return found;
  }

  function end(error: Error): void {
    for (const id of [...waiting.keys()]) take(id)?.reject(error);
    // Before that, the caller learns of it by the rejection.
    if (listening && !closing) onFailure(error);
    closing = true;
  }

  const ask = (question: Question, asText = false): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (closing) return reject(new HeddleError('traces', 'the trace store is closed'));
      if (waiting.size >= questionsPendingMax)
        return reject(
          new HeddleError('overload', `${questionsPendingMax} questions wait for the trace store`),
        );
      const id = nextId++;
      waiting.set(id, { resolve, reject });
      worker.postMessage({ kind: 'ask', id, question, asText } satisfies ToThread);
    });

  return {
    grpcPort: opened.grpcPort,
    httpPort: opened.httpPort,
    reader: traceReader(ask, {
      counters: () => counters,
      onChange(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    }),
    text: async (question) => (await ask(question, true)) as Uint8Array,
    async close() {
      if (closing) return;
      const gone = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
      closing = true;
      worker.postMessage({ kind: 'close' } satisfies ToThread);
      await gone;
    },
  };
}
