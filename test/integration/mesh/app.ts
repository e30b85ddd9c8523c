import http from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ReceivedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** A plain HTTP app on a loopback port that remembers what reached it. It knows nothing of the mesh. */
export interface TestApp {
  readonly port: number;
  readonly received: ReceivedRequest[];
  /** Replaces the behaviour from the next request on. */
  answer(handler: AppHandler): void;
  /** Stops listening and cuts its connections; `start` listens again on the same port. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

export type AppHandler = (
  request: ReceivedRequest,
  response: http.ServerResponse,
  raw: http.IncomingMessage,
) => void;

export async function startApp(handler: AppHandler): Promise<TestApp> {
  let current = handler;
  const received: ReceivedRequest[] = [];
  const make = () =>
    http.createServer((raw, response) => {
      const chunks: Buffer[] = [];
      raw.on('data', (chunk: Buffer) => chunks.push(chunk));
      raw.on('error', () => response.destroy());
      raw.on('end', () => {
        const request = {
          method: raw.method ?? '',
          url: raw.url ?? '',
          headers: raw.headers,
          body: Buffer.concat(chunks).toString(),
        };
        received.push(request);
        current(request, response, raw);
      });
    });
  let server = make();
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => resolve());
    });
  await listen(0);
  const port = (server.address() as AddressInfo).port;
  return {
    port,
    received,
    answer: (next) => {
      current = next;
    },
    async stop() {
      if (!server.listening) return;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
    async start() {
      server = make();
      await listen(port);
    },
  };
}
