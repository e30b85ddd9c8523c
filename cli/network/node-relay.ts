import { chmodSync, rmSync } from 'node:fs';
import net, { isIP } from 'node:net';
import { type Clock, systemClock } from '../../common/clock.ts';
import { type Dialer, tcpDialer } from '../../common/net.ts';
import { relayHeadBytesMax } from './node-dialer.ts';

/** Connections at a time: every container of a full node is probed twice a second. */
export const relayedMax = 512;
/** From the connection to its head. */
const headMs = 5_000;

/**
 * Serves a Unix socket: every connection names a place, is connected to it from this process's network, and passes bytes
 * both ways until either side ends. The caller owns the deadline, by closing.
 */
export function serveRelay(path: string, dialer: Dialer, clock: Clock): Promise<net.Server> {
  rmSync(path, { force: true });
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: false }, (client) =>
    relay(client, dialer, clock),
  );
  server.maxConnections = relayedMax;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      chmodSync(path, 0o600);
      resolve(server);
    });
  });
}

function relay(client: net.Socket, dialer: Dialer, clock: Clock): void {
  const timer = clock.after(headMs, () => client.destroy());
  let head = Buffer.alloc(0);
  client.on('error', () => client.destroy());
  client.on('close', () => timer.cancel());
  client.on('data', function read(chunk: Buffer) {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf(10);
    if (end < 0 && head.length <= relayHeadBytesMax) return;
    client.off('data', read);
    client.pause();
    timer.cancel();
    const [host = '', port = ''] = head.subarray(0, Math.max(0, end)).toString().split(' ');
    if (isIP(host) === 0 || !/^\d{1,5}$/.test(port)) {
      client.end('no address\n');
      return;
    }
    const rest = head.subarray(end + 1);
    if (rest.length > 0) client.unshift(rest);
    connect(client, dialer, host, Number(port));
  });
}

function connect(client: net.Socket, dialer: Dialer, host: string, port: number): void {
  const upstream = dialer.dial({ host, port });
  let connected = false;
  client.on('close', () => upstream.destroy());
  upstream.on('error', (error) => {
    if (connected) client.destroy();
    else client.end(`${error.message.split('\n')[0]}\n`);
  });
  upstream.once('connect', () => {
    connected = true;
    client.write('\n');
    client.pipe(upstream);
    upstream.pipe(client);
    upstream.on('close', () => client.destroySoon());
  });
}

// As a program: node node-relay.ts SOCKET
const [, program = '', socket] = process.argv;
if (import.meta.main && program !== '' && socket !== undefined) {
  await serveRelay(socket, tcpDialer, systemClock);
  process.on('SIGTERM', () => process.exit(0));
}
