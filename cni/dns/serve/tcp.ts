import { createServer, type Server, type Socket } from 'node:net';
import type { Timer } from '../../../common/clock.ts';
import { HeddleError, messageOf } from '../../../common/errors.ts';
import { framed, MessageFrames } from './frames.ts';
import type { ServeOptions } from './udp.ts';

/** Listens with SO_REUSEPORT, as `serveUdp` does. */
export async function serveTcp(options: ServeOptions): Promise<TcpServer> {
  const server = createServer({ noDelay: true, allowHalfOpen: true });
  const { address, port } = options;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (thrown) =>
      reject(
        new HeddleError('listen', `TCP ${address} port ${port}: ${messageOf(thrown)}`, { cause: thrown }),
      ),
    );
    server.listen(
      { host: address, port, reusePort: true, exclusive: true, ipv6Only: address.includes(':') },
      resolve,
    );
  });
  server.removeAllListeners('error');
  return new TcpServer(server, options);
}

export class TcpServer {
  readonly #server: Server;
  readonly #options: ServeOptions;
  readonly #connections = new Set<Connection>();
  readonly #byClient = new Map<string, number>();

  constructor(server: Server, options: ServeOptions) {
    this.#server = server;
    this.#options = options;
    server.on('connection', (socket) => this.#accept(socket));
    server.on('error', () => options.metrics.dropped.add(1, 'accept-failed'));
  }

  get connections(): number {
    return this.#connections.size;
  }

  get port(): number {
    const at = this.#server.address();
    return typeof at === 'object' && at !== null ? at.port : 0;
  }

  #accept(socket: Socket): void {
    const { limits, metrics } = this.#options;
    const client = socket.remoteAddress ?? '';
    const own = this.#byClient.get(client) ?? 0;
    if (this.#connections.size >= limits.tcpConnectionsMax || own >= limits.tcpConnectionsPerClientMax) {
      metrics.dropped.add(1, 'connections-full');
      socket.destroy();
      return;
    }
    this.#byClient.set(client, own + 1);
    const connection = new Connection(socket, client, this.#options, () => {
      this.#connections.delete(connection);
      const left = (this.#byClient.get(client) ?? 1) - 1;
      if (left === 0) this.#byClient.delete(client);
      else this.#byClient.set(client, left);
    });
    this.#connections.add(connection);
  }

  /** Takes no connection any more, answers what is under way, then ends the connections. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#connections) connection.finish();
    const { clock, limits } = this.#options;
    const deadline = clock.after(limits.drainMs, () => {
      for (const connection of this.#connections) connection.destroy();
    });
    await closed;
    deadline.cancel();
  }
}

class Connection {
  readonly #socket: Socket;
  readonly #client: string;
  readonly #options: ServeOptions;
  readonly #frames = new MessageFrames();
  #waiting: Buffer[] = [];
  #underWay = 0;
  #finishing = false;
  #idle: Timer | undefined;

  constructor(socket: Socket, client: string, options: ServeOptions, onClose: () => void) {
    this.#socket = socket;
    this.#client = client;
    this.#options = options;
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('drain', () => this.#proceed());
    socket.on('end', () => this.finish());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#idle?.cancel();
      this.#waiting = [];
      onClose();
    });
    this.#restartIdle();
  }

  #restartIdle(): void {
    const { clock, limits } = this.#options;
    this.#idle?.cancel();
    this.#idle = clock.after(limits.tcpIdleMs, () => this.#socket.destroy(), { background: true });
  }

  #data(chunk: Buffer): void {
    const messages = this.#frames.push(chunk);
    if (messages.length === 0) return;
    this.#restartIdle();
    this.#waiting.push(...messages);
    this.#proceed();
  }

  #isFull(): boolean {
    const { limits } = this.#options;
    return (
      this.#underWay >= limits.tcpPipelinedMax || this.#socket.writableLength >= limits.tcpUnsentBytesMax
    );
  }

  #proceed(): void {
    while (!this.#isFull()) {
      const message = this.#waiting.shift();
      if (message === undefined) break;
      this.#underWay++;
      this.#options.resolver.handle(message, this.#client, 'tcp', (answer) => {
        this.#underWay--;
        if (answer.length === 0) this.#socket.destroy();
        else if (!this.#socket.destroyed) this.#socket.write(framed(answer));
        // On the stack of `handle` the loop goes on by itself.
        queueMicrotask(() => this.#proceed());
      });
    }
    if (this.#waiting.length > 0) this.#socket.pause();
    else if (this.#finishing && this.#underWay === 0) this.#socket.destroySoon();
    else this.#socket.resume();
  }

  /** No more questions are read; the connection ends with the last answer. */
  finish(): void {
    this.#finishing = true;
    this.#proceed();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
