import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Method } from '../../../sources/kubernetes/transport.ts';
import type { FakeApi } from './fake-api.ts';
import { refuse, type Upgrades } from './web-socket.ts';

export interface HttpApi {
  readonly server: string;
  close(): Promise<void>;
}

/** The fake API server on a real port, with pods' ports and commands behind it where `upgrades` are given. */
export async function serveApi(api: FakeApi, ...upgrades: readonly Upgrades[]): Promise<HttpApi> {
  const server: Server = createServer((request, response) => {
    const leaving = new AbortController();
    response.on('close', () => leaving.abort(new Error('the client is gone')));
    const { method = '', url = '' } = request;
    const contentType = request.headers['content-type'];
    const headers = contentType === undefined ? {} : { 'content-type': contentType };
    text(request)
      .then((body) =>
        api.handle({ method: method as Method, path: url, signal: leaving.signal, body, headers }),
      )
      .then(async ({ status, headers, body }) => {
        for (const [name, value] of Object.entries(headers))
          if (value !== undefined) response.setHeader(name, value);
        response.writeHead(status, { 'content-type': 'application/json' });
        response.flushHeaders();
        for await (const chunk of body) response.write(chunk);
        response.end();
      })
      .catch(() => response.destroy());
  });
  server.on('upgrade', (request, socket) => {
    if (!upgrades.some((one) => one.onUpgrade(request, socket))) refuse(socket, 404);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        for (const one of upgrades) one.close();
      }),
  };
}
