import { Duplex, PassThrough } from 'node:stream';
import type { Clock, Timer } from '../../common/clock.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { kubeconfigOf } from './credentials.ts';

/** From the request to the answer that takes the connection up. */
export const DIAL_TIMEOUT_MS = 15_000;
/** Bytes that the WebSocket may hold unsent until the writer is held up. */
export const SEND_BUFFER_BYTES_MAX = 1024 * 1024;
/** How often a full WebSocket is looked at again: it tells nobody when it has sent something. */
const SEND_POLL_MS = 10;
/** From our goodbye until the WebSocket is closed without the server's. */
const CLOSE_MS = 1_000;
/** A connection that is silent for this long is asked for a sign of life, and given up after the same time again. */
export const KEEPALIVE_MS = 30_000;

/** What is used of a WebSocket. */
export interface PodSocket {
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: Uint8Array): void;
  ping(): void;
  pause(): void;
  resume(): void;
  close(): void;
  terminate(): void;
  on(event: 'pong', listener: () => void): void;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
}

/**
 * Opens a WebSocket of the API server; `onMessage` gets channel and bytes of each message from the first one on. `signal` ends an
 * attempt, which would keep its process waiting.
 */
export type SocketOpener = (
  path: string,
  onMessage: (channel: number, bytes: Buffer) => void,
  signal: AbortSignal,
) => Promise<PodSocket>;

/** WebSockets by a kubeconfig, which `@kubernetes/client-node` opens. */
export async function socketOpener(kubeconfig: string, context: string | undefined): Promise<SocketOpener> {
  const { config } = await kubeconfigOf(kubeconfig, context);
  const { WebSocketHandler } = await import('@kubernetes/client-node/dist/web-socket-handler.js');
  // Its own default would open this process's standard input.
  const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
  return async (path, onMessage, signal) => {
    // The options go on to Node's own request as they are.
    const cancellable = Object.assign(Object.create(config) as typeof config, {
      async applyToHTTPSOptions(options: Parameters<typeof config.applyToHTTPSOptions>[0]) {
        await config.applyToHTTPSOptions(options);
        Object.assign(options, { signal });
      },
    });
    const handler = new WebSocketHandler(cancellable, undefined, streams);
    // What it returns is typed for browsers as well; here it is the `ws` package's.
    return (await handler.connect(path, null, (channel, bytes) => {
      onMessage(channel, bytes);
      return true;
    })) as unknown as PodSocket;
  };
}

/** What a stream leads to, in messages. */
export interface PodTarget {
  /** `port 80 of pod shop/web`. */
  readonly name: string;
  /** Why the API server refuses, by the status of its answer. */
  refusal(status: string): HeddleError;
}

export interface Opening {
  readonly open: SocketOpener;
  readonly path: string;
  readonly clock: Clock;
  /** Ends the attempt. */
  readonly signal?: AbortSignal | undefined;
}

/** Opens the WebSocket of a stream. Rejects with `kubernetes-unreachable`, or with what the target makes of a refusal. */
export async function opened<S extends PodStream>(
  stream: S,
  { open, path, clock, signal }: Opening,
): Promise<S> {
  const { target } = stream;
  const given = Promise.withResolvers<never>();
  const giveUp = (why: string) =>
    given.reject(new HeddleError('kubernetes-unreachable', `no connection to ${target.name} ${why}`));
  const timer = clock.after(DIAL_TIMEOUT_MS, () => giveUp(`within ${DIAL_TIMEOUT_MS / 1_000} s`));
  const unwanted = () => giveUp('is wanted any more');
  signal?.addEventListener('abort', unwanted, { once: true });
  const attempt = new AbortController();
  const opening = open(path, (channel, bytes) => stream.receive(channel, bytes), attempt.signal);
  try {
    if (signal?.aborted === true) unwanted();
    stream.attach(await Promise.race([opening, given.promise]));
  } catch (thrown) {
    attempt.abort();
    // One that opens after all isn't wanted any more.
    opening.then(
      (late) => late.terminate(),
      () => undefined,
    );
    stream.destroy();
    throw thrown instanceof HeddleError ? thrown : refused(target, thrown);
  } finally {
    timer.cancel();
    signal?.removeEventListener('abort', unwanted);
  }
  return stream;
}

/** The WebSocket package tells the status of a refusal and no more. */
function refused(target: PodTarget, thrown: unknown): HeddleError {
  const message = thrown instanceof Error ? messageOf(thrown) : errorEventText(thrown);
  const status = /Unexpected server response: (\d{3})/.exec(message)?.[1];
  if (status !== undefined) return target.refusal(status);
  return new HeddleError('kubernetes-unreachable', `${target.name} can't be reached: ${message}`, {
    cause: thrown,
  });
}

function errorEventText(thrown: unknown): string {
  const message = typeof thrown === 'object' && thrown !== null && 'message' in thrown ? thrown.message : '';
  return typeof message === 'string' && message !== '' ? message : 'the WebSocket could not be opened';
}

/** One stream of bytes inside a WebSocket of channels. What nobody reads holds the sender up, both ways. */
export abstract class PodStream extends Duplex {
  readonly target: PodTarget;
  readonly #clock: Clock;
  /** Channel of what is written. */
  readonly #writes: number;
  #socket: PodSocket | undefined;
  #failure: HeddleError | undefined;
  #keepalive: Timer | undefined;
  #closing: Timer | undefined;
  #heard = true;
  #held = false;

  constructor(target: PodTarget, writes: number, clock: Clock) {
    super({ allowHalfOpen: false });
    this.target = target;
    this.#writes = writes;
    this.#clock = clock;
  }

  /** A message of the server. */
  protected abstract message(channel: number, bytes: Buffer): void;

  receive(channel: number, bytes: Buffer): void {
    this.#heard = true;
    if (!this.destroyed) this.message(channel, bytes);
  }

  /** Throws what the server has said already. */
  attach(socket: PodSocket): void {
    this.#socket = socket;
    if (this.#failure !== undefined) throw this.#failure;
    socket.onclose = () => this.over();
    socket.on('pong', () => {
      this.#heard = true;
    });
    this.#keepalive = this.#clock.every(KEEPALIVE_MS, () => this.#askForLife());
    // It may have been closed before anybody could listen.
    if (socket.readyState > 1) this.over();
  }

  protected carry(payload: Buffer): void {
    if (payload.byteLength === 0 || this.push(payload)) return;
    this.#held = true;
    this.#socket?.pause();
  }

  protected fail(failure: HeddleError): void {
    this.#failure = failure;
    // Before that nobody listens for an error.
    if (this.#socket !== undefined) this.destroy(failure);
  }

  /** Nothing comes any more. */
  protected over(): void {
    this.#keepalive?.cancel();
    if (!this.destroyed) this.push(null);
  }

  override _read(): void {
    this.#held = false;
    this.#socket?.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    const socket = this.#socket;
    if (socket === undefined) {
      done(new Error('the connection is not open'));
      return;
    }
    socket.send(Buffer.concat([Buffer.of(this.#writes), chunk]));
    const settle = () => {
      if (this.destroyed || socket.bufferedAmount <= SEND_BUFFER_BYTES_MAX) done();
      else this.#clock.after(SEND_POLL_MS, settle);
    };
    settle();
  }

  override _final(done: () => void): void {
    this.#socket?.close();
    this.#closing = this.#clock.after(CLOSE_MS, () => this.#socket?.terminate(), { background: true });
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#keepalive?.cancel();
    this.#closing?.cancel();
    this.#socket?.terminate();
    done(error);
  }

  /** A machine that went to sleep, or a lost route, ends no connection: whoever follows a stream would wait for ever. */
  #askForLife(): void {
    // While it is held up nothing is read, not even an answer.
    if (this.#heard || this.#held) {
      this.#heard = false;
      this.#socket?.ping();
      return;
    }
    const seconds = (2 * KEEPALIVE_MS) / 1_000;
    this.fail(new HeddleError('kubernetes-unreachable', `${this.target.name} was silent for ${seconds} s`));
  }
}
