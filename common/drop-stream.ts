import http from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import { type Clock, sleep } from './clock.ts';
import { HeddleError } from './errors.ts';
import type { DropRecord } from './pod-network.ts';

/** From the end of one answer to the next question. */
const dropStreamPauseMs = 500;

/** Opens a connection; nobody wants it any more once the signal aborts. */
export type Connect = (signal: AbortSignal) => Promise<Duplex>;

export interface DropStreamOptions {
  /** Admin socket of a node agent, or what opens a connection that leads to it. */
  readonly socket: string | Connect;
  /** Of `/drops`; `tail` counts for the first answer only. */
  readonly query: URLSearchParams;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** An answer has begun. */
  connected(): void;
  record(record: DropRecord): void;
  /** An answer ended, or none could be had (`thrown`). What this throws ends everything. */
  disconnected(thrown: unknown): void;
}

/**
 * Follows the drops of a node through restarts of its agent until `signal` aborts: each record once, as far as the agent still has it.
 * Rejects with what `disconnected` throws.
 */
export async function followDrops(options: DropStreamOptions): Promise<void> {
  const { clock, signal } = options;
  let last: DropRecord | undefined;
  while (!signal.aborted) {
    let ended: unknown;
    try {
      await oneAnswer(options, pathOf(options.query, last), (record) => {
        // Asked for since a time, what was of that very time comes again.
        if (last !== undefined && record.at === last.at && record.sequence <= last.sequence) return;
        last = record;
        options.record(record);
      });
    } catch (thrown) {
      ended = thrown;
    }
    if (signal.aborted) return;
    options.disconnected(ended);
    await sleep(clock, dropStreamPauseMs, signal).catch(() => undefined);
  }
}

function pathOf(query: URLSearchParams, last: DropRecord | undefined): string {
  const own = new URLSearchParams(query);
  own.set('follow', '1');
  if (last !== undefined) {
    own.delete('tail');
    own.set('since', last.at);
  }
  return `/drops?${own}`;
}

/** Resolves when the agent ends its answer, also halfway; rejects where there is none. */
function oneAnswer(
  { socket, signal, connected }: DropStreamOptions,
  path: string,
  take: (record: DropRecord) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const way =
      typeof socket === 'string'
        ? { agent: false, socketPath: socket, signal }
        : connectionBy(socket, signal);
    const call = http.request(`http://agent${path}`, way, (response) => {
      const isRefused = response.statusCode !== 200;
      if (!isRefused) connected();
      eachLine(response, (line) => {
        if (isRefused) reject(refusal(response.statusCode, line));
        else {
          const record = recordOf(line);
          if (record !== undefined) take(record);
        }
      });
      response.on('error', () => resolve());
      response.once('close', () => resolve());
    });
    call.on('error', reject);
    call.end();
  });
}

/**
 * For `http.request`: a connection that is opened for this request alone. A request that is ended by its signal meanwhile doesn't
 * wait for it, which Node's own would.
 */
export function connectionBy(
  connect: Connect,
  signal: AbortSignal,
): Pick<http.RequestOptions, 'createConnection' | 'signal'> {
  return {
    signal,
    createConnection(_options, created) {
      // A failure comes without a stream, which the types don't know.
      const fail = created as (failure: Error) => void;
      const leave = () => fail(new Error('the request was ended'));
      if (signal.aborted) leave();
      signal.addEventListener('abort', leave, { once: true });
      connect(signal)
        .then((stream) => (signal.aborted ? void stream.destroy() : created(null, stream)), fail)
        .finally(() => signal.removeEventListener('abort', leave));
      return undefined;
    },
  };
}

/** Whole lines of text; what is left without an end is none. */
function eachLine(from: Readable, take: (line: string) => void): void {
  let rest = '';
  from.setEncoding('utf8');
  from.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(line);
  });
}

/** Undefined: whatever wrote that line is no agent of this version. */
function recordOf(line: string): DropRecord | undefined {
  try {
    return JSON.parse(line) as DropRecord;
  } catch {
    return undefined;
  }
}

function refusal(status: number | undefined, line: string): HeddleError {
  let message = `the agent answered ${status}`;
  try {
    const body = JSON.parse(line) as { error?: unknown };
    if (typeof body.error === 'string') message = body.error;
  } catch {
    // Whatever answered there is no agent; its status says as much.
  }
  return new HeddleError('agent', message);
}
