import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { seededRandom } from '../../common/random.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { makeCa } from './engine/ca.ts';
import { type ForeignApp, nodeApp } from './engine/peers.ts';
import { type Sidecar, startSidecar } from './engine/sidecar.ts';

leakCheck();

const CATALOG = 'spiffe://cluster.local/ns/shop/sa/catalog';
const WAVE_REQUESTS = 600;
const HEAP_GROWTH_BYTES_MAX = 3_000_000;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

let web: Sidecar;
let catalog: Sidecar;
let app: ForeignApp;

before(async () => {
  const ca = makeCa('Heddle test');
  web = await startSidecar(ca, 'spiffe://cluster.local/ns/shop/sa/web');
  catalog = await startSidecar(ca, CATALOG);
  app = await nodeApp(Buffer.alloc(200_000, 'x'));
  const handle = await catalog.stack.listenInbound(
    { host: '127.0.0.1', port: 0 },
    { containerPort: app.port, app: { host: '127.0.0.1', port: app.port } },
  );
  web.fakes.config.add({
    host: 'catalog',
    port: 80,
    endpoints: [{ address: '127.0.0.1', port: handle.port, identities: [CATALOG] }],
  });
});

after(async () => {
  await web?.close();
  await catalog?.close();
  await app?.close();
});

const HOST = 'Host: catalog\r\n';
const BEGUN: readonly string[] = [
  `GET http://catalog/ HTTP/1.1\r\n${HOST}\r\n`,
  `GET http://catalog/ HTTP/1.1\r\n${HOST}\r\n`.repeat(4),
  `POST http://catalog/ HTTP/1.1\r\n${HOST}Content-Length: 100000\r\n\r\nabc`,
  `POST http://catalog/early HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhel`,
  `CONNECT catalog:80 HTTP/1.1\r\n${HOST}\r\nGET / HTTP/1.1\r\n${HOST}\r\n`,
  'GET http://catalog/ HT',
];

/** Requests on twenty lanes, each broken off at some moment. */
async function wave(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const lane = async () => {
    for (let index = 0; index < WAVE_REQUESTS / 20; index++) {
      const socket = net.connect(web.outboundPort, '127.0.0.1');
      socket.on('error', () => socket.destroy());
      socket.write(BEGUN[Math.floor(random.next() * BEGUN.length)] ?? '');
      await new Promise((resolve) => setTimeout(resolve, random.next() * 8));
      const closed = once(socket, 'close');
      if (random.next() < 0.5) socket.resetAndDestroy();
      else socket.destroy();
      await closed;
    }
  };
  await Promise.all(Array.from({ length: 20 }, lane));
  await eventually(() => web.stack.stats().active + catalog.stack.stats().active === 0, {
    deadlineMs: 30_000,
    what: 'nothing is being served',
  });
  for (const { fakes } of [web, catalog]) {
    assert.equal(fakes.policy.inFlightNow, 0);
    assert.equal(fakes.telemetry.opened.length, fakes.telemetry.results.length);
    // The fakes remember all they were told.
    fakes.telemetry.opened.length = 0;
    fakes.telemetry.results.length = 0;
    fakes.telemetry.events.length = 0;
    fakes.policy.settled.length = 0;
  }
}

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

test('requests that are broken off anywhere leave nothing on the heap', async () => {
  await wave(1);
  await wave(2);
  const before = heapBytes();
  for (let seed = 3; seed < 7; seed++) await wave(seed);
  const grown = heapBytes() - before;
  assert.ok(
    grown < HEAP_GROWTH_BYTES_MAX,
    `${Math.round(grown / 1_000)} kB more after ${4 * WAVE_REQUESTS} requests`,
  );
});
