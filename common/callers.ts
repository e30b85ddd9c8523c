import type { Socket } from 'node:net';

interface Connection {
  readonly address: string;
  socket: Socket;
  /** Requests that aren't answered yet. */
  requests: number;
}

/**
 * The connections of a server that anybody in the cluster may call, and that nobody is to keep others from: API servers from the
 * webhook, kubelet from a sidecar's health. Where there are too many, the caller that holds the most loses one, first what it
 * has longest left idle. Only where all of them are the newcomer's own, and in use, the newcomer is the one to go.
 */
export class Callers {
  readonly #connectionsMax: number;
  /** The one that was used last comes last. */
  readonly #connections = new Map<string, Connection>();

  constructor(connectionsMax: number) {
    this.#connectionsMax = connectionsMax;
  }

  /** Takes a connection before its TLS handshake. */
  open(socket: Socket): void {
    const { remoteAddress: address } = socket;
    const key = keyOf(socket);
    if (address === undefined) {
      socket.destroy();
      return;
    }
    this.#connections.set(key, { address, socket, requests: 0 });
    socket.once('close', () => this.#connections.delete(key));
    if (this.#connections.size > this.#connectionsMax) this.#makeRoom(address);
  }

  /** The same connection after its handshake: ended by TLS, where it has to end. */
  secured(socket: Socket): void {
    const connection = this.#connections.get(keyOf(socket));
    if (connection !== undefined) connection.socket = socket;
  }

  /** A request begins; the answer tells its end. */
  begin(socket: Socket): () => void {
    const key = keyOf(socket);
    const connection = this.#connections.get(key);
    if (connection === undefined) return () => undefined;
    connection.requests++;
    return () => {
      connection.requests--;
      if (this.#connections.delete(key)) this.#connections.set(key, connection);
    };
  }

  #makeRoom(newAddress: string): void {
    const counts = new Map<string, number>();
    for (const { address } of this.#connections.values()) counts.set(address, (counts.get(address) ?? 0) + 1);
    const [most] = [...counts].reduce((one, other) => (other[1] > one[1] ? other : one), [newAddress, 0]);
    const theirs = [...this.#connections].filter(([, { address }]) => address === most);
    // The newcomer itself is the last of its caller's.
    const loser = theirs.find(([, { requests }]) => requests === 0) ?? theirs[0];
    if (loser === undefined) return;
    const [key, { socket }] = loser;
    this.#connections.delete(key);
    socket.destroy();
  }
}

function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? ''} ${remotePort ?? ''}`;
}
