import type { AddressInfo } from 'node:net';
import net from 'node:net';

export interface Tap {
  readonly host: string;
  readonly port: number;
  /** What came from the client, one buffer a connection. */
  fromClients(): Buffer[];
  /** What came from the server behind, one buffer a connection. */
  fromServer(): Buffer[];
  close(): Promise<void>;
}

interface Crossing {
  readonly client: Buffer[];
  readonly server: Buffer[];
}

/** A TCP forwarder on loopback that keeps what crosses it, in both directions. */
export async function startTap(target: { readonly host: string; readonly port: number }): Promise<Tap> {
  const crossings: Crossing[] = [];
  const sockets = new Set<net.Socket>();
  const server = net.createServer((client) => {
    const upstream = net.connect(target.port, target.host);
    const crossing: Crossing = { client: [], server: [] };
    crossings.push(crossing);
    for (const [from, to, kept] of [
      [client, upstream, crossing.client],
      [upstream, client, crossing.server],
    ] as const) {
      sockets.add(from);
      from.on('data', (chunk: Buffer) => {
        kept.push(chunk);
        to.write(chunk);
      });
      from.on('end', () => to.end());
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    fromClients: () => crossings.map(({ client }) => Buffer.concat(client)),
    fromServer: () => crossings.map(({ server: behind }) => Buffer.concat(behind)),
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
