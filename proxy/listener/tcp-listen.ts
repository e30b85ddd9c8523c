import net from 'node:net';
import type { ByteStream } from '../../common/net.ts';

export interface ListenAddress {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
}

export interface ListenHandle {
  readonly host: string;
  readonly port: number;
  /** Stops accepting; streams that were accepted live on. */
  close(): Promise<void>;
}

/** Accepts connections; rejects where the address can't be had. */
export type Listen = (
  address: ListenAddress,
  onStream: (stream: ByteStream) => void,
) => Promise<ListenHandle>;

const BACKLOG = 4_096;

export const tcpListen: Listen = (address, onStream) =>
  new Promise((resolve, reject) => {
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, onStream);
    server.once('error', reject);
    server.listen({ ...address, backlog: BACKLOG }, () => {
      const bound = server.address();
      const port = bound !== null && typeof bound === 'object' ? bound.port : address.port;
      resolve({
        host: address.host,
        port,
        close: () => new Promise((closed) => server.close(() => closed())),
      });
    });
  });
