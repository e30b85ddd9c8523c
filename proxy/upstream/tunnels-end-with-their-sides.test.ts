import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import type { ByteStream } from '../../common/net.ts';
import { MemoryNetwork } from '../../test/support/memory-net.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import { Deadlines } from '../http/deadlines.ts';
import { carriedBy } from '../tls/reset.ts';
import { startTunnel, type TunnelBytes } from './tunnel.ts';

const LIMITS = { tunnelIdleMs: 600_000, halfClosedStallMs: 60_000 };
const BLOCK = Buffer.alloc(60_000);

let clock: VirtualClock;
let net: MemoryNetwork;
/** The ends of the client and of the server, and the tunnel's own ends of both connections. */
let client: ByteStream;
let server: ByteStream;
let clientSide: ByteStream;
let serverSide: ByteStream;
let over: TunnelBytes | undefined;

async function connected(name: string): Promise<[far: ByteStream, near: ByteStream]> {
  let near: ByteStream | undefined;
  net.listen(name, 1, (stream) => {
    near = stream;
  });
  const far = net.dialer.dial({ host: name, port: 1 });
  await settle();
  assert.ok(near !== undefined);
  for (const stream of [far, near]) stream.on('error', () => stream.destroy());
  return [far, near];
}

beforeEach(async () => {
  clock = new VirtualClock();
  net = new MemoryNetwork();
  over = undefined;
  [client, clientSide] = await connected('client');
  [server, serverSide] = await connected('server');
});

function start(): void {
  startTunnel(clientSide, serverSide, new Deadlines(clock), LIMITS, (bytes) => {
    over = bytes;
  });
}

/** The server sends more than its reader takes; the client has finished sending and reads nothing. */
async function stall(): Promise<void> {
  client.end();
  for (let block = 0; block < 6; block++) {
    server.write(BLOCK);
    await settle(8);
  }
}

test('a TLS side that has ended and takes nothing for a minute is gone', async () => {
  carriedBy(clientSide, clientSide);
  start();
  await stall();
  await clock.advance(59_000);
  assert.equal(over, undefined);
  await clock.advance(63_000);
  assert.ok(over !== undefined);
  assert.equal(server.destroyed, true);
});

test('a TLS side that has ended and takes its time is waited for', async () => {
  carriedBy(clientSide, clientSide);
  start();
  await stall();
  for (let minute = 0; minute < 5; minute++) {
    await clock.advance(55_000);
    client.read();
    server.write(BLOCK);
    await settle(8);
  }
  assert.equal(over, undefined);
});

test('a plain side is waited for as long as any: its reset would show', async () => {
  start();
  await stall();
  await clock.advance(300_000);
  assert.equal(over, undefined);
  await clock.advance(400_000);
  assert.ok(over !== undefined);
});

test('what was carried is counted, in each direction', async () => {
  start();
  client.resume();
  server.resume();
  client.end('12345');
  server.end('123');
  await settle(12);
  assert.deepEqual(over, { sent: 5, received: 3 });
});
