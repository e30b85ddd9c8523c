import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';

export interface H2App {
  readonly port: number;
  close(): Promise<void>;
}

/** An app on a loopback port that speaks cleartext HTTP/2 with prior knowledge, and nothing else. */
export async function startH2App(body: string): Promise<H2App> {
  const sessions = new Set<http2.ServerHttp2Session>();
  const server = http2.createServer((_request, response) => response.end(body));
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.destroy();
      await closed;
    },
  };
}
