import net from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../common/clock.ts';
import { PORTS } from '../../common/contracts.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { type ClusterLink, controlPlanePods, dialDashboard } from './cluster-mesh.ts';

/** Ports tried above the one that was asked for. */
export const forwardPortTriesMax = 100;
/** Connections carried at once; a browser opens six. */
export const forwardConnectionsMax = 64;
/** How often the pod that carries connections is looked at: a node that is gone says nothing itself. */
export const podLookMs = 5_000;

export interface ForwardOptions {
  readonly link: ClusterLink;
  /** The first port tried; 0: any free one. */
  readonly port: number;
  readonly clock: Clock;
  /** After the pod that answers has changed. */
  onPod(pod: string): void;
  /** A connection couldn't be carried. */
  onFailure(message: string): void;
}

export interface Forward {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Listens on 127.0.0.1 and carries each connection to the dashboard of a ready control plane, another one once that is gone.
 * Rejects with code `port-conflict` where no port is free.
 */
export async function forwardDashboard(options: ForwardOptions): Promise<Forward> {
  const forwarder = new Forwarder(options);
  const server = net.createServer({ noDelay: true }, (socket) => void forwarder.carry(socket));
  server.maxConnections = forwardConnectionsMax;
  const port = await listenFrom(server, options.port);
  return {
    port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      forwarder.close();
      await closed;
    },
  };
}

class Forwarder {
  readonly #options: ForwardOptions;
  /** Both ends of what is carried, by the pod. */
  readonly #open = new Map<
    net.Socket,
    { readonly pod: string | undefined; readonly stream: Duplex | undefined }
  >();
  readonly #timer: Timer;
  #pod: string | undefined;
  #looking = false;

  constructor(options: ForwardOptions) {
    this.#options = options;
    this.#timer = options.clock.every(podLookMs, () => void this.#look());
  }

  async carry(socket: net.Socket): Promise<void> {
    this.#open.set(socket, { pod: undefined, stream: undefined });
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      this.#open.get(socket)?.stream?.destroy();
      this.#open.delete(socket);
    });
    try {
      const { pod, stream } = await dialDashboard(this.#options.link, this.#pod);
      stream.on('error', (thrown) => {
        this.#options.onFailure(messageOf(thrown));
        socket.destroy();
      });
      if (socket.destroyed) {
        stream.destroy();
        return;
      }
      this.#open.set(socket, { pod, stream });
      if (pod !== this.#pod) {
        this.#pod = pod;
        this.#options.onPod(pod);
      }
      socket.pipe(stream).pipe(socket);
    } catch (thrown) {
      this.#options.onFailure(messageOf(thrown));
      socket.end(unavailable(messageOf(thrown)));
    }
  }

  close(): void {
    this.#timer.cancel();
    for (const socket of this.#open.keys()) socket.destroy();
  }

  /** Ends connections to pods that aren't ready any more: whoever made them connects again, to another pod. */
  async #look(): Promise<void> {
    const busy = [...this.#open].filter(([, { pod }]) => pod !== undefined);
    if (busy.length === 0 || this.#looking) return;
    this.#looking = true;
    try {
      const ready = new Set(
        (await controlPlanePods(this.#options.link)).map(({ metadata }) => metadata.name),
      );
      for (const [socket, { pod }] of busy) if (pod !== undefined && !ready.has(pod)) socket.destroy();
    } catch {
      // Nothing is known of the pods: connections that still work go on.
    } finally {
      this.#looking = false;
    }
  }
}

/** An answer for whoever asked while no control plane could be reached. */
function unavailable(message: string): string {
  const body = `${message}\n`;
  const head = [
    'HTTP/1.1 503 Service Unavailable',
    'content-type: text/plain; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    'x-content-type-options: nosniff',
    'retry-after: 2',
    'connection: close',
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}

async function listenFrom(server: net.Server, wanted: number): Promise<number> {
  for (let port = wanted; port < wanted + forwardPortTriesMax && port < 65_536; port++) {
    if (await listens(server, port)) return (server.address() as net.AddressInfo).port;
  }
  throw new HeddleError(
    'port-conflict',
    `no port of 127.0.0.1 from ${wanted} to ${Math.min(wanted + forwardPortTriesMax, 65_536) - 1} is free: choose another with --port (usually ${PORTS.dashboard})`,
  );
}

/** False where somebody has that port, or it needs root. */
function listens(server: net.Server, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const onError = (thrown: NodeJS.ErrnoException) => {
      server.off('listening', onListening);
      if (thrown.code === 'EADDRINUSE' || thrown.code === 'EACCES') resolve(false);
      else reject(thrown);
    };
    const onListening = () => {
      server.off('error', onError);
      resolve(true);
    };
    server.once('error', onError);
    server.once('listening', onListening);
    server.listen(port, '127.0.0.1');
  });
}
