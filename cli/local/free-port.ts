import { once } from 'node:events';
import net from 'node:net';

/** A port of 127.0.0.1 that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  const address = server.address();
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  return address !== null && typeof address === 'object' ? address.port : 0;
}

const portTriesMax = 100;

/** `wanted` on 127.0.0.1, or the next free port above it; 0 gives any free one. */
export async function choosePort(wanted: number): Promise<number> {
  if (wanted === 0) return freePort();
  for (let port = wanted; port < wanted + portTriesMax && port < 65_536; port++)
    if (await isFree(port)) return port;
  return freePort();
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port }, () => server.close(() => resolve(true)));
  });
}
