import { Duplex, PassThrough } from 'node:stream';
import type { Clock } from '../../common/clock.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { kubeconfigOf } from './credentials.ts';

/** A port inside a pod. */
export interface PodPort {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
}

/** Opens one connection to a port of a pod. Rejects with codes `kubernetes-unreachable` or `port-forward`. */
export type PodDialer = (target: PodPort) => Promise<Duplex>;

/** From the request to the answer that takes the connection up. */
export const DIAL_TIMEOUT_MS = 15_000;
/** Bytes that the WebSocket may hold unsent until the writer is held up. */
export const SEND_BUFFER_BYTES_MAX = 1024 * 1024;
/** How often a full WebSocket is looked at again: it tells nobody when it has sent something. */
const SEND_POLL_MS = 10;

/** Each port has two channels: what is carried, and why it can't be (kubelet, `v4.channel.k8s.io`). */
const DATA_CHANNEL = 0;
const ERROR_CHANNEL = 1;
/** The first message of each channel repeats the port, in two bytes. */
const PORT_BYTES = 2;

/** What is used of a WebSocket. */
export interface ForwardSocket {
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: Uint8Array): void;
  pause(): void;
  resume(): void;
  close(): void;
  terminate(): void;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
}

/** Opens a WebSocket of the API server; `onMessage` gets channel and bytes of each message from the first one on. */
export type SocketOpener = (
  path: string,
  onMessage: (channel: number, bytes: Buffer) => void,
) => Promise<ForwardSocket>;

/**
 * Connections to pods as `kubectl port-forward` makes them, by a kubeconfig: API server, kubelet, the pod's own loopback.
 * `@kubernetes/client-node` opens the WebSocket; each connection has one for itself, since a channel can't be used twice.
 */
export async function podDialer(
  kubeconfig: string,
  context: string | undefined,
  clock: Clock,
): Promise<PodDialer> {
  const { config } = await kubeconfigOf(kubeconfig, context);
  const { WebSocketHandler } = await import('@kubernetes/client-node/dist/web-socket-handler.js');
  // Its own default would open this process's standard input.
  const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
  const handler = new WebSocketHandler(config, undefined, streams);
  const open: SocketOpener = async (path, onMessage) =>
    // What it returns is typed for browsers as well; here it is the `ws` package's.
    (await handler.connect(path, null, (channel, bytes) => {
      onMessage(channel, bytes);
      return true;
    })) as unknown as ForwardSocket;
  return dialThrough(open, clock);
}

/** The dialer over any opener of WebSockets. */
export function dialThrough(open: SocketOpener, clock: Clock): PodDialer {
  return async (target) => {
    const { namespace, pod, port } = target;
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/portforward?ports=${port}`;
    const stream = new ForwardStream(target, clock);
    const timedOut = Promise.withResolvers<never>();
    const timer = clock.after(DIAL_TIMEOUT_MS, () =>
      timedOut.reject(
        new HeddleError(
          'kubernetes-unreachable',
          `no connection to ${nameOf(target)} within ${DIAL_TIMEOUT_MS / 1_000} s`,
        ),
      ),
    );
    const opening = open(path, (channel, bytes) => stream.receive(channel, bytes));
    try {
      stream.attach(await Promise.race([opening, timedOut.promise]));
    } catch (thrown) {
      // One that opens after all isn't wanted any more.
      opening.then(
        (late) => late.terminate(),
        () => undefined,
      );
      stream.destroy();
      throw thrown instanceof HeddleError ? thrown : refused(target, thrown);
    } finally {
      timer.cancel();
    }
    return stream;
  };
}

function nameOf({ namespace, pod, port }: PodPort): string {
  return `port ${port} of pod ${namespace}/${pod}`;
}

/** The WebSocket package tells the status of a refusal and no more. */
function refused(target: PodPort, thrown: unknown): HeddleError {
  const message = thrown instanceof Error ? messageOf(thrown) : errorEventText(thrown);
  const status = /Unexpected server response: (\d{3})/.exec(message)?.[1];
  const where = nameOf(target);
  switch (status) {
    case undefined:
      return new HeddleError('kubernetes-unreachable', `${where} can't be reached: ${message}`, {
        cause: thrown,
      });
    case '401':
    case '403':
      return new HeddleError(
        'port-forward',
        `the API server refuses a port-forward to ${where} (${status}): you need the right to get and create pods/portforward in namespace ${target.namespace}`,
      );
    case '404':
      return new HeddleError('port-forward', `pod ${target.namespace}/${target.pod} is gone`);
    default:
      return new HeddleError(
        'port-forward',
        `the API server answers a port-forward to ${where} with ${status}`,
      );
  }
}

function errorEventText(thrown: unknown): string {
  const message = typeof thrown === 'object' && thrown !== null && 'message' in thrown ? thrown.message : '';
  return typeof message === 'string' && message !== '' ? message : 'the WebSocket could not be opened';
}

/** One connection inside a WebSocket. What nobody reads holds the sender up, both ways. */
class ForwardStream extends Duplex {
  readonly #target: PodPort;
  readonly #clock: Clock;
  #socket: ForwardSocket | undefined;
  /** Channels whose first message has come. */
  readonly #begun = new Set<number>();
  #failure: HeddleError | undefined;

  constructor(target: PodPort, clock: Clock) {
    super({ allowHalfOpen: false });
    this.#target = target;
    this.#clock = clock;
  }

  /** Throws what kubelet has said already. */
  attach(socket: ForwardSocket): void {
    this.#socket = socket;
    if (this.#failure !== undefined) throw this.#failure;
    socket.onclose = () => this.#closed();
    // It may have been closed before anybody could listen.
    if (socket.readyState > 1) this.#closed();
  }

  receive(channel: number, bytes: Buffer): void {
    const payload = this.#begun.has(channel) ? bytes : bytes.subarray(PORT_BYTES);
    this.#begun.add(channel);
    if (payload.byteLength === 0 || this.destroyed) return;
    if (channel === DATA_CHANNEL) {
      if (!this.push(payload)) this.#socket?.pause();
    } else if (channel === ERROR_CHANNEL) {
      const why = payload.toString('utf8').trim();
      this.#failure = new HeddleError('port-forward', `${nameOf(this.#target)} can't be reached: ${why}`);
      // Before that nobody listens for an error.
      if (this.#socket !== undefined) this.destroy(this.#failure);
    }
  }

  override _read(): void {
    this.#socket?.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    const socket = this.#socket;
    if (socket === undefined) {
      done(new Error('the connection is not open'));
      return;
    }
    socket.send(Buffer.concat([Buffer.of(DATA_CHANNEL), chunk]));
    const settle = () => {
      if (this.destroyed || socket.bufferedAmount <= SEND_BUFFER_BYTES_MAX) done();
      else this.#clock.after(SEND_POLL_MS, settle);
    };
    settle();
  }

  override _final(done: () => void): void {
    this.#socket?.close();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket?.terminate();
    done(error);
  }

  #closed(): void {
    if (!this.destroyed) this.push(null);
  }
}
