import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { systemClock } from '../../common/clock.ts';
import { DEFAULT_CLUSTER_POLICY } from '../../model/policy-types.ts';
import { LiveState } from '../../proxy/policy/live-state.ts';
import type { FakeService } from '../support/fake-config.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { makeCa, type TestCa } from './engine/ca.ts';
import { ask, type Sidecar, startServer, startSidecar, type TestServer } from './engine/sidecar.ts';

leakCheck();

const WEB = 'spiffe://cluster.local/ns/shop/sa/web';
const CATALOG = 'spiffe://cluster.local/ns/shop/sa/catalog';
const run = promisify(execFile);

let ca: TestCa;
let app: TestServer;
let mirror: TestServer;
let web: Sidecar;
let catalog: Sidecar;
let live: LiveState;
/** Everything that the mirror's app was sent. */
let heard = '';

before(async () => {
  ca = makeCa('Heddle test');
  app = await startServer((socket) => {
    let head = '';
    let bodyBytes = 0;
    socket.on('data', (chunk: Buffer) => {
      if (head.includes('\r\n\r\n')) bodyBytes += chunk.length;
      else {
        head += chunk.toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        bodyBytes = head.length - end - 4;
      }
      if (bodyBytes < Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)) return;
      const told = `${head.split('\r\n')[0]} ${bodyBytes}`;
      head = '';
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${told.length}\r\n\r\n${told}`);
    });
  });
  mirror = await startServer((socket) => {
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1');
      socket.write('HTTP/1.1 204 No Content\r\n\r\n');
    });
  });
  const events = { breakerChanged: () => {}, endpointEjected: () => {}, clusterForgotten: () => {} };
  live = new LiveState(systemClock, events);
  web = await startSidecar(ca, WEB, 'http-proxy', {}, { policy: live });
  catalog = await startSidecar(ca, CATALOG);
});

after(async () => {
  await web.close();
  await catalog.close();
  live.close();
  await app.close();
  await mirror.close();
});

const plain = (host: string, port: number): FakeService => ({
  host,
  port: 80,
  endpoints: [{ address: '127.0.0.1', port }],
});

function mirroredTo(service: FakeService): void {
  web.fakes.config.add(service);
  web.fakes.config.add({ ...plain('catalog', app.port), mirrors: [`${service.host}:80`] });
  web.fakes.telemetry.mirrored.length = 0;
}

const get = (path: string) =>
  ask(web.outboundPort, `GET ${path} HTTP/1.1\r\nHost: catalog\r\nConnection: close\r\n\r\n`);

async function outcomes(count: number): Promise<readonly (number | string)[]> {
  const { mirrored } = web.fakes.telemetry;
  await eventually(() => mirrored.length >= count, { deadlineMs: 10_000, what: `${count} copies ended` });
  assert.deepEqual(web.stack.stats().mirrors, { inFlight: 0, heldBytes: 0 });
  return mirrored;
}

test('a copy goes to its mirror over mTLS, with its body, by the identity of its sender', async () => {
  catalog.mode(7_001, 'STRICT');
  const { port } = await catalog.stack.listenInbound(
    { host: '127.0.0.1', port: 0 },
    { containerPort: 7_001, app: { host: '127.0.0.1', port: mirror.port } },
  );
  mirroredTo({
    ...plain('meshed', port),
    endpoints: [{ address: '127.0.0.1', port, identities: [CATALOG] }],
  });
  const answer = await ask(
    web.outboundPort,
    'POST /a?b HTTP/1.1\r\nHost: catalog\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello',
  );
  assert.match(answer.text, /POST \/a\?b HTTP\/1\.1 5$/);
  assert.deepEqual(await outcomes(1), [204]);
  assert.match(heard, /^POST \/a\?b HTTP\/1\.1\r\nHost: catalog\r\n/);
  assert.match(heard, new RegExp(`x-forwarded-client-cert: By=${CATALOG};URI=${WEB}\r\n`));
  assert.match(heard, /\r\n\r\nhello$/);
});

test('a mirror that reads nothing costs a large upload nothing but the copy', async () => {
  const deaf = await startServer((socket) => socket.pause());
  mirroredTo(plain('deaf', deaf.port));
  const bytes = 32_000_000;
  const answer = await ask(
    web.outboundPort,
    `POST /big HTTP/1.1\r\nHost: catalog\r\nConnection: close\r\nContent-Length: ${bytes}\r\n\r\n${'x'.repeat(bytes)}`,
  );
  assert.match(answer.text, new RegExp(`POST /big HTTP/1\\.1 ${bytes}$`));
  assert.deepEqual(await outcomes(1), ['body-too-large']);
  await deaf.close();
});

test('a dead mirror opens its own breaker, and every client is answered', async () => {
  const gone = await startServer(() => undefined);
  await gone.close();
  mirroredTo(plain('dead', gone.port));
  const cluster = web.fakes.config.clusters.get('dead:80');
  assert.ok(cluster !== undefined);
  const circuitBreaker = {
    ...{ errorThresholdPercentage: 50, volumeThreshold: 4, rollingCountTimeoutMs: 60_000 },
    ...{ rollingCountBuckets: 10, resetTimeoutMs: 60_000, errorCodes: [] },
  };
  web.fakes.config.clusters.set('dead:80', {
    ...cluster,
    policy: { ...DEFAULT_CLUSTER_POLICY, circuitBreaker },
  });
  for (let index = 0; index < 12; index++) {
    const answer = await get(`/${index}`);
    assert.match(answer.text, /^HTTP\/1\.1 200 /);
    await outcomes(index + 1);
  }
  const told = await outcomes(12);
  assert.equal(told[0], 'connect-failure');
  assert.equal(told.at(-1), 'circuit-open');
  assert.equal(live.breaker('dead:80'), 'open');
  assert.equal(live.breaker('catalog:80'), 'closed');
});

test('curl follows a redirect from one Service to another, and sends its body again where the status says so', async () => {
  web.fakes.config.add({
    ...plain('moved', app.port),
    redirect: 'http://catalog/new',
    rule: {
      redirect: { scheme: undefined, hostname: 'catalog', path: undefined, port: undefined, status: 307 },
    },
  });
  web.fakes.config.add(plain('catalog', app.port));
  const { stdout } = await run('curl', [
    ...['-sS', '-L', '--max-time', '20', '-x', `http://127.0.0.1:${web.outboundPort}`],
    ...['-w', ' %{num_redirects} %{num_connects}', '-d', 'hello', 'http://moved/old'],
  ]);
  assert.equal(stdout, 'POST /new HTTP/1.1 5 1 1');
});
