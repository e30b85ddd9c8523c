import net from 'node:net';
import type { Dialer } from '../../common/net.ts';

export interface Backend {
  readonly host: string;
  readonly port: number;
}

/** What a Service port wants: its own number and the pods behind it. */
export interface BalancedPort {
  readonly port: number;
  readonly backends: readonly Backend[];
}

export interface PublishedPort {
  readonly key: string;
  readonly port: number;
  readonly publishedPort: number;
  /** Why it isn't on its own port. */
  readonly moved: 'taken' | 'privileged' | undefined;
}

const portTriesMax = 100;
export const connectionsMax = 1_024;
/** Ports below this need rights that a person usually hasn't. */
const privilegedPorts = 1_024;
/** Port 80 is published on 10080 where 80 may not be taken. */
const unprivilegedOffset = 10_000;

interface Forwarder {
  readonly server: net.Server;
  readonly sockets: Set<net.Socket>;
  readonly port: number;
  publishedPort: number | undefined;
  moved: PublishedPort['moved'];
  opening: boolean;
  backends: readonly Backend[];
  next: number;
}

/** LoadBalancer Services on 127.0.0.1: plain TCP forwarding to ready pods in turn, as a cloud's balancer would. */
export class LoadBalancers {
  readonly #dialer: Dialer;
  readonly #onChange: () => void;
  readonly #forwarders = new Map<string, Forwarder>();

  constructor(dialer: Dialer, onChange: () => void) {
    this.#dialer = dialer;
    this.#onChange = onChange;
  }

  /** `wanted` by `namespace/name:port`. */
  update(wanted: ReadonlyMap<string, BalancedPort>): void {
    for (const [key, forwarder] of this.#forwarders)
      if (!wanted.has(key)) {
        this.#forwarders.delete(key);
        close(forwarder);
      }
    for (const [key, { port, backends }] of wanted) {
      const known = this.#forwarders.get(key);
      if (known !== undefined) known.backends = backends;
      else void this.#open(key, port, backends);
    }
  }

  published(): readonly PublishedPort[] {
    return [...this.#forwarders].flatMap(([key, forwarder]) =>
      forwarder.publishedPort === undefined
        ? []
        : [{ key, port: forwarder.port, publishedPort: forwarder.publishedPort, moved: forwarder.moved }],
    );
  }

  /** Whether every Service port has found its place. */
  settled(): boolean {
    return [...this.#forwarders.values()].every((forwarder) => !forwarder.opening);
  }

  close(): void {
    for (const forwarder of this.#forwarders.values()) close(forwarder);
    this.#forwarders.clear();
  }

  async #open(key: string, port: number, backends: readonly Backend[]): Promise<void> {
    const sockets = new Set<net.Socket>();
    const server = net.createServer({ noDelay: true, allowHalfOpen: true });
    const forwarder: Forwarder = {
      ...{
        server,
        sockets,
        port,
        publishedPort: undefined,
        moved: undefined,
        opening: true,
        backends,
        next: 0,
      },
    };
    server.maxConnections = connectionsMax;
    server.on('connection', (client) => this.#forward(forwarder, client));
    this.#forwarders.set(key, forwarder);
    let candidate = port;
    for (let tries = 0; tries < portTriesMax && candidate < 65_536; tries++) {
      const failure = await listen(server, candidate);
      if (failure !== undefined) {
        const privileged = failure === 'EACCES' && candidate < privilegedPorts;
        forwarder.moved ??= privileged ? 'privileged' : 'taken';
        candidate += privileged ? unprivilegedOffset : 1;
        continue;
      }
      if (this.#forwarders.get(key) !== forwarder) {
        close(forwarder);
        return;
      }
      forwarder.publishedPort = candidate;
      break;
    }
    forwarder.opening = false;
    this.#onChange();
  }

  #forward(forwarder: Forwarder, client: net.Socket): void {
    const backend = forwarder.backends[forwarder.next++ % Math.max(1, forwarder.backends.length)];
    forwarder.sockets.add(client);
    client.on('close', () => forwarder.sockets.delete(client));
    if (backend === undefined) {
      client.on('error', () => client.destroy());
      client.resetAndDestroy();
      return;
    }
    const upstream = this.#dialer.dial(backend);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.resetAndDestroy());
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroySoon());
    client.pipe(upstream);
    upstream.pipe(client);
  }
}

/** Why the port can't be listened on, or undefined once it is. */
function listen(server: net.Server, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const onError = (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message);
    server.once('error', onError);
    server.listen({ host: '127.0.0.1', port }, () => {
      server.off('error', onError);
      resolve(undefined);
    });
  });
}

function close(forwarder: Forwarder): void {
  forwarder.server.close();
  for (const socket of forwarder.sockets) socket.destroy();
}
