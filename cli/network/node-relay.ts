import { chmodSync, rmSync } from 'node:fs';
import net, { isIP } from 'node:net';
import { type Clock, systemClock } from '../../common/clock.ts';
import { type Dialer, type DialTarget, tcpDialer } from '../../common/net.ts';
import { relayHeadBytesMax } from './node-dialer.ts';

/** Connections at a time: every container of a full node is probed twice a second. */
const relayedMax = 512;
/** From the connection to its head. */
const headMs = 5_000;

/**
 * Serves a Unix socket: every connection names a place, is connected to it from this process's network, and passes bytes
 * both ways until either side ends. The caller owns the deadline, by closing.
 */
export function serveRelay(
  path: string,
  dialer: Dialer,
  clock: Clock,
  connectionsMax = relayedMax,
): Promise<net.Server> {
  rmSync(path, { force: true });
  const server = net.createServer({ allowHalfOpen: true }, (client) => relay(client, dialer, clock));
  server.maxConnections = connectionsMax;
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
  let head = '';
  client.on('error', () => client.destroy());
  client.on('close', () => timer.cancel());
  // Who ends before it is connected has given up.
  const giveUp = () => client.destroy();
  client.on('end', giveUp);
  client.on('data', (chunk: Buffer) => {
    head += chunk.toString('latin1');
    const end = head.indexOf('\n');
    if (end < 0 && head.length <= relayHeadBytesMax) return;
    client.removeAllListeners('data');
    timer.cancel();
    const [host = '', port = ''] = head.slice(0, Math.max(0, end)).split(' ');
    if (isIP(host) === 0 || !/^\d{1,5}$/.test(port) || end < head.length - 1) refuse(client, 'no address');
    else connect(client, dialer, { host, port: Number(port) }, () => client.off('end', giveUp));
  });
}

function refuse(client: net.Socket, reason: string): void {
  client.write(`${reason.split('\n')[0]}\n`);
  client.destroySoon();
}

function connect(client: net.Socket, dialer: Dialer, target: DialTarget, onConnect: () => void): void {
  const upstream = dialer.dial(target);
  let connected = false;
  // It still reads, so that an end is seen; bytes before the answer are none of the protocol.
  client.on('data', giveUpOnBytes);
  function giveUpOnBytes(): void {
    client.destroy();
  }
  client.on('close', () => upstream.destroy());
  upstream.on('error', (error) => {
    if (connected) client.destroy();
    else refuse(client, error.message);
  });
  upstream.once('connect', () => {
    connected = true;
    client.off('data', giveUpOnBytes);
    onConnect();
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
