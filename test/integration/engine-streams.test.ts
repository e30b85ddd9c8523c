import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { makeCa, type TestCa } from './engine/ca.ts';
import { openTcp, type Sidecar, startServer, startSidecar } from './engine/sidecar.ts';

leakCheck();

const WEB = 'spiffe://cluster.local/ns/shop/sa/web';
const CATALOG = 'spiffe://cluster.local/ns/shop/sa/catalog';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

let ca: TestCa;
let web: Sidecar;
let catalog: Sidecar;

before(async () => {
  ca = makeCa('Heddle test');
  web = await startSidecar(ca, WEB);
  catalog = await startSidecar(ca, CATALOG);
});

after(async () => {
  await web.close();
  await catalog.close();
});

/** A service `host:80` whose app answers each connection as told, behind two sidecars. */
async function service(host: string, onSocket: (socket: net.Socket) => void) {
  const app = await startServer(onSocket);
  const handle = await catalog.stack.listenInbound(
    { host: '127.0.0.1', port: 0 },
    { containerPort: app.port, app: { host: '127.0.0.1', port: app.port } },
  );
  web.fakes.config.add({
    host,
    port: 80,
    endpoints: [{ address: '127.0.0.1', port: handle.port, identities: [CATALOG] }],
  });
  return app;
}

test('a websocket is carried both ways over mTLS, and each side ends by itself', async () => {
  const app = await service('socket', (socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
      socket.on('data', (chunk) => socket.write(chunk));
      socket.on('end', () => socket.end('bye'));
    });
  });
  const client = await openTcp(web.outboundPort);
  client.socket.write(
    'GET http://socket/ HTTP/1.1\r\nHost: socket\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  );
  await eventually(() => client.text().includes('101 Switching'), { deadlineMs: 5_000, what: 'the switch' });
  client.socket.write('ping');
  await eventually(() => client.text().endsWith('ping'), { deadlineMs: 5_000, what: 'the echo' });
  client.socket.end();
  await eventually(() => client.text().endsWith('bye') && client.ended(), {
    deadlineMs: 5_000,
    what: 'the end',
  });
  await app.close();
});

test('a client that resets cancels its request through both sidecars to the app', async () => {
  let seen: net.Socket | undefined;
  let gone = false;
  const app = await service('slow', (socket) => {
    seen = socket;
    socket.on('data', () => undefined);
    socket.on('close', () => {
      gone = true;
    });
  });
  const client = await openTcp(web.outboundPort);
  client.socket.write('GET http://slow/ HTTP/1.1\r\nHost: slow\r\n\r\n');
  await eventually(() => seen !== undefined, { deadlineMs: 5_000, what: 'the app is reached' });
  client.socket.resetAndDestroy();
  await eventually(() => gone, { deadlineMs: 5_000, what: 'the app sees the end' });
  await eventually(() => web.stack.stats().active === 0 && catalog.stack.stats().active === 0, {
    deadlineMs: 5_000,
    what: 'nothing is being served',
  });
  await app.close();
});

test('an opaque connection that is reset is reset on the other side, over mTLS too', async () => {
  let seen: net.Socket | undefined;
  const app = await service('opaque', (socket) => {
    seen = socket;
    socket.write('hello');
  });
  const client = await openTcp(web.outboundPort);
  let error = '';
  client.socket.on('error', (thrown: NodeJS.ErrnoException) => {
    error = thrown.code ?? '';
  });
  client.socket.write('CONNECT opaque:80 HTTP/1.1\r\nHost: opaque:80\r\n\r\n');
  await eventually(() => client.text().endsWith('hello'), { deadlineMs: 5_000, what: 'the greeting' });
  seen?.resetAndDestroy();
  await eventually(() => error === 'ECONNRESET', { deadlineMs: 5_000, what: 'the reset' });
  await app.close();
});

test('a large body meets a slow reader: all of it arrives, and little of it waits in memory', async () => {
  const total = 192 * 1024 * 1024;
  const block = Buffer.alloc(256 * 1024, 'x');
  let sent = 0;
  const app = await service('large', (socket) => {
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
      const more = (): void => {
        while (sent < total) {
          sent += block.length;
          if (!socket.write(block)) return;
        }
      };
      socket.on('drain', more);
      more();
    });
  });
  const socket = net.connect(web.outboundPort, '127.0.0.1');
  let received = 0;
  let ahead = 0;
  let held = 0;
  let collectAt = total / 8;
  socket.on('data', (chunk) => {
    received += chunk.length;
    if (received >= collectAt) {
      collectAt += total / 8;
      // What nobody holds any more doesn't count, whenever it would have been collected.
      collectGarbage();
      held = Math.max(held, process.memoryUsage().arrayBuffers);
    }
    ahead = Math.max(ahead, sent - received);
    if (received < total / 4) {
      socket.pause();
      setImmediate(() => socket.resume());
    }
  });
  socket.write('GET http://large/ HTTP/1.1\r\nHost: large\r\n\r\n');
  await eventually(() => received >= total, { deadlineMs: 60_000, what: 'the whole body' });
  // Socket buffers of the kernel on three hops, and ours.
  assert.ok(ahead < 48 * 1024 * 1024, `${ahead} bytes were on the way at once`);
  assert.ok(held > 0 && held < 64 * 1024 * 1024, `${held} bytes were held`);
  socket.destroy();
  await app.close();
});
