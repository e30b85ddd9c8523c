import net from 'node:net';

/** A port that nothing listens on now, the same on every given address. */
export async function freePort(...hosts: readonly string[]): Promise<number> {
  for (let tries = 0; tries < 50; tries++) {
    const port = await portOf(hosts[0] ?? '127.0.0.1', 0);
    const others = await Promise.all(hosts.slice(1).map((host) => portOf(host, port ?? 0)));
    if (port !== undefined && !others.includes(undefined)) return port;
  }
  throw new Error(`no port is free on all of ${hosts.join(', ')}`);
}

function portOf(host: string, port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.on('error', () => resolve(undefined));
    server.listen({ host, port }, () => {
      const bound = server.address();
      server.close(() => resolve(bound !== null && typeof bound === 'object' ? bound.port : undefined));
    });
  });
}
