import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { type ByteStream, dialUnix, tcpDialer } from '../../common/net.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { runProbe } from '../local/probes.ts';
import { nodeDialer } from './node-dialer.ts';
import { serveRelay } from './node-relay.ts';

leakCheck();

const root = mkdtempSync(join(tmpdir(), 'heddle-relay-'));
const socket = join(root, 'relay.sock');
let relay: net.Server;
const dialer = nodeDialer(() => dialUnix(socket));
before(async () => {
  relay = await serveRelay(socket, tcpDialer, systemClock);
});
after(() => {
  relay.close();
  rmSync(root, { recursive: true, force: true });
});

/** A server of this machine's loopback for one test; what it serves ends with it. */
async function serving<T>(
  onStream: (stream: net.Socket) => void,
  use: (port: number) => Promise<T>,
): Promise<T> {
  const server = net.createServer({ allowHalfOpen: true }, onStream);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  try {
    return await use(address.port);
  } finally {
    server.close();
  }
}

async function all(stream: ByteStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('bytes go through as they are, both ways, to the end of each', async () => {
  const sent = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) & 0xff));
  const received = await serving(
    (stream) => stream.pipe(stream),
    async (port) => {
      const stream = dialer.dial({ host: '127.0.0.1', port });
      await once(stream, 'connect');
      stream.end(sent);
      return all(stream);
    },
  );
  assert.ok(received.equals(sent));
});

test('a server that speaks first is heard whole', async () => {
  const received = await serving(
    (stream) => stream.end(Buffer.from([10, 0, 255, 10])),
    async (port) => all(dialer.dial({ host: '127.0.0.1', port })),
  );
  assert.deepEqual([...received], [10, 0, 255, 10]);
});

test('a probe through the relay tells what a probe tells', async () => {
  const target = { podIp: '127.0.0.1', exec: async () => 0 };
  const answered = await serving(
    (stream) => stream.once('data', () => stream.end('HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n')),
    (port) => runProbe(systemClock, dialer, { httpGet: { port, path: '/' } }, { ...target, ports: [] }),
  );
  assert.deepEqual([answered.ok, answered.message.endsWith('answered 204')], [true, true]);
  const closed = await serving(
    () => undefined,
    async (port) => port,
  );
  const refused = await runProbe(
    systemClock,
    dialer,
    { tcpSocket: { port: closed } },
    { ...target, ports: [] },
  );
  assert.equal(refused.ok, false);
  assert.match(refused.message, /ECONNREFUSED/);
});

test('a relay that is away, or answers nonsense, is an error of the connection', async () => {
  const away = nodeDialer(() => dialUnix(join(root, 'nobody'))).dial({ host: '127.0.0.1', port: 1 });
  const [error] = await once(away, 'error');
  assert.match(String(error), /ENOENT/);
  const path = join(root, 'nonsense');
  const server = net.createServer((stream) => stream.resume().write('x'.repeat(1_000)));
  server.listen(path);
  await once(server, 'listening');
  const [nonsense] = await once(nodeDialer(() => dialUnix(path)).dial({ host: '::1', port: 1 }), 'error');
  assert.match(String(nonsense), /nonsense/);
  server.close();
});

test('the relay refuses heads without an address, and lets go of who sends none', async () => {
  const asked = dialUnix(socket);
  asked.write('example.com 80\n');
  assert.equal((await all(asked)).toString(), 'no address\n');
  const clock = new VirtualClock();
  const patient = join(root, 'patient');
  const server = await serveRelay(patient, tcpDialer, clock);
  const served = once(server, 'connection');
  const silent = dialUnix(patient);
  const gone = once(silent, 'close');
  silent.resume();
  await served;
  await clock.advance(5_000);
  await gone;
  server.close();
});

test('past its limit the relay takes no more connections', async () => {
  const path = join(root, 'narrow');
  const server = await serveRelay(path, tcpDialer, systemClock, 1);
  const first = dialUnix(path);
  await once(first, 'connect');
  const second = dialUnix(path);
  second.resume();
  await once(second, 'close');
  assert.equal(first.destroyed, false);
  first.destroy();
  server.close();
});

test('who gives up while the far end is dialled leaves no dial behind', async () => {
  const path = join(root, 'given-up');
  const far = new PassThrough();
  const dials = new EventEmitter();
  const dial = () => {
    dials.emit('dial');
    return far;
  };
  const asked = once(dials, 'dial');
  const server = await serveRelay(path, { dial }, systemClock);
  const dialled = nodeDialer(() => dialUnix(path)).dial({ host: '192.0.2.1', port: 1 });
  dialled.write('kept until it is connected');
  await asked;
  dialled.destroy();
  await once(far, 'close');
  server.close();
});
