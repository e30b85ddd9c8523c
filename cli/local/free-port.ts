import net from 'node:net';
import { HeddleError } from '../../common/errors.ts';
import type { Random } from '../../common/random.ts';

/**
 * Where free ports are taken from: below the range from which the kernel gives ports to outgoing connections
 * (ip(7), `ip_local_port_range`), so that none is lost to one between its choice and its use.
 */
const FREE_RANGE = { from: 20_000, count: 10_000 } as const;
/** Ports tried before giving up. */
export const portTriesMax = 200;

/** A port of 127.0.0.1 that nobody listens on now and `taken` doesn't hold. */
export async function freePort(
  random: Random,
  taken: { has(port: number): boolean } = new Set(),
): Promise<number> {
  const start = Math.floor(random.next() * FREE_RANGE.count);
  for (let step = 0; step < portTriesMax; step++) {
    const port = FREE_RANGE.from + ((start + step) % FREE_RANGE.count);
    if (!taken.has(port) && (await isFree(port))) return port;
  }
  throw new HeddleError('port-conflict', `${portTriesMax} ports of 127.0.0.1 tried, and none is free`);
}

/** `wanted` on 127.0.0.1, or the next free port above it; 0 gives any free one. */
export async function choosePort(wanted: number, random: Random): Promise<number> {
  if (wanted === 0) return freePort(random);
  for (let port = wanted; port < wanted + portTriesMax && port < 65_536; port++)
    if (await isFree(port)) return port;
  return freePort(random);
}

/** Whether this process could listen on a port now. */
export function isFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port }, () => server.close(() => resolve(true)));
  });
}
