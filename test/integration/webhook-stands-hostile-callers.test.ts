import assert from 'node:assert/strict';
import { once } from 'node:events';
import https from 'node:https';
import { after, before, test } from 'node:test';
import tls from 'node:tls';
import { systemClock } from '../../common/clock.ts';
import type { AdmissionServer } from '../../injector/admission/server.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { callWebhook, openConnection, type RawConnection, reviewOf, WEBHOOK_NAME } from './webhook/caller.ts';
import { webhookServers } from './webhook/servers.ts';

leakCheck();

const POD = { kind: 'Pod', metadata: { name: 'web' }, spec: { containers: [{ name: 'app' }] } };
const LIMITS = {
  bodyBytesMax: 64 * 1024,
  bodiesBytesMax: 112 * 1024,
  smallBodyBytesMax: 16 * 1024,
  headBytesMax: 8 * 1024,
  connectionsMax: 8,
  requestMs: 1_000,
  handshakeMs: 500,
  drainMs: 500,
};

const { ca, lines, start, close } = webhookServers(LIMITS);
let server: AdmissionServer;
before(async () => {
  server = await start();
});
after(close);

/** After whatever it was told, the webhook goes on answering. */
async function assertServes(): Promise<void> {
  const answer = await callWebhook(server.port, ca.rootPem, reviewOf(POD));
  assert.equal(answer.status, 200);
  assert.match(answer.body, /"allowed":true/);
}

test('a pod is admitted by a caller that checks name and root', async () => {
  const answer = await callWebhook(server.port, ca.rootPem, reviewOf(POD, 'u-7'));
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['content-type'], 'application/json');
  const { response } = JSON.parse(answer.body) as { response: Record<string, unknown> };
  assert.deepEqual([response.uid, response.allowed, response.patchType], ['u-7', true, 'JSONPatch']);
});

test('each decision is one line of the log', async () => {
  lines.length = 0;
  await callWebhook(server.port, ca.rootPem, reviewOf(POD, 'u-8', { dryRun: true }));
  assert.equal(lines.length, 1);
  const { time: _time, tookMs, ...line } = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
  assert.deepEqual(line, {
    ...{ level: 'info', message: 'pod injected', uid: 'u-8', namespace: 'shop', pod: 'web' },
    ...{ dryRun: true, reason: '' },
  });
  assert.equal(typeof tookMs, 'number');
});

test('what is not a review has its HTTP status, with the remedy', async () => {
  const call = async (body: string, options = {}) => {
    const answer = await callWebhook(server.port, ca.rootPem, body, options);
    return `${answer.status} ${answer.body}`;
  };
  assert.match(await call('{'), /^400 the body is not JSON/);
  assert.match(
    await call('{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1"}'),
    /^400 .*\[v1\]/,
  );
  assert.match(await call('', { path: '/' }), /^404 reviews are taken at \/inject/);
  assert.match(await call('', { path: '/inject/../etc' }), /^404/);
  assert.match(await call('', { method: 'PUT' }), /^405 a review is sent with POST/);
  assert.match(
    await call('x', { headers: { 'content-type': 'text/plain' } }),
    /^415 a review is application\/json/,
  );
  assert.match(await call('', { method: 'GET', path: '/readyz' }), /^200 ready/);
  assert.match(await call('', { method: 'GET', path: '/livez' }), /^200 live/);
  await assertServes();
});

test('a body over the limit is refused, announced or not', async () => {
  const large = reviewOf({ ...POD, padding: 'x'.repeat(LIMITS.bodyBytesMax) });
  const announced = await openConnection(server.port, ca.rootPem);
  announced.socket.write(
    `POST /inject HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${large.length}\r\n\r\n`,
  );
  assert.match(await announced.closed, /^HTTP\/1\.1 413 [\s\S]*a review may have 65536 bytes$/);
  const streamed = await openConnection(server.port, ca.rootPem);
  streamed.socket.write(
    'POST /inject HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
  );
  const chunk = 'y'.repeat(LIMITS.bodyBytesMax + 1);
  streamed.socket.write(`${chunk.length.toString(16)}\r\n${chunk}\r\n`);
  assert.match(await streamed.closed, /^HTTP\/1\.1 413 /);
  await assertServes();
});

test('a body at the limit is read', async () => {
  const text = reviewOf({ ...POD, padding: '' });
  const padding = 'x'.repeat(LIMITS.bodyBytesMax - Buffer.byteLength(text));
  const answer = await callWebhook(server.port, ca.rootPem, reviewOf({ ...POD, padding }));
  assert.equal(answer.status, 200);
});

test('many large reviews at once are refused for a moment, and memory stays bounded', async () => {
  const open = await Promise.all([1, 2, 3].map(() => openConnection(server.port, ca.rootPem)));
  const part = 'z'.repeat(60 * 1024);
  for (const { socket } of open)
    socket.write(
      `POST /inject HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${part.length + 1}\r\n\r\n${part}`,
    );
  const refused = await Promise.race(open.map((one) => one.closed));
  assert.match(refused, /^HTTP\/1\.1 503 [\s\S]*retry-after: 1[\s\S]*try again$/);
  for (const { socket, closed } of open) {
    socket.destroy();
    await closed;
  }
  await assertServes();
});

test('a head over the limit is refused', async () => {
  const { socket, closed } = await openConnection(server.port, ca.rootPem);
  socket.write(`POST /inject HTTP/1.1\r\nhost: a\r\nx: ${'h'.repeat(LIMITS.headBytesMax)}\r\n\r\n`);
  assert.match(await closed, /^HTTP\/1\.1 431 /);
  await assertServes();
});

test('who says nothing, or half of a request, is not waited for', async () => {
  const silent = await openConnection(server.port, ca.rootPem);
  const slow = await openConnection(server.port, ca.rootPem);
  slow.socket.write(
    'POST /inject HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{',
  );
  assert.match(await slow.closed, /^HTTP\/1\.1 408 /);
  assert.match(await silent.closed, /^(HTTP\/1\.1 408 |$)/);
  await assertServes();
});

test('a client that goes away in the middle of its request is forgotten', async () => {
  lines.length = 0;
  const { socket, closed } = await openConnection(server.port, ca.rootPem);
  socket.write(
    'POST /inject HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{',
  );
  socket.end();
  await closed;
  await assertServes();
  assert.deepEqual(
    lines.filter((line) => line.includes('"error"')),
    [],
  );
});

test('garbage instead of TLS or HTTP does no harm', async () => {
  const { socket, closed } = await openConnection(server.port, ca.rootPem);
  socket.write('\0\x01\x02 this is not HTTP\r\n\r\n');
  assert.match(await closed, /^HTTP\/1\.1 400 /);
  const net = await import('node:net');
  const plain = net.connect({ host: '127.0.0.1', port: server.port });
  plain.on('error', () => plain.destroy());
  plain.write('GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n');
  plain.resume();
  await once(plain, 'close');
  const old = tls.connect({
    host: '127.0.0.1',
    port: server.port,
    ca: ca.rootPem,
    servername: WEBHOOK_NAME,
    maxVersion: 'TLSv1.2',
  });
  const [error] = (await once(old, 'error')) as [Error];
  assert.match(error.message, /protocol version/);
  await assertServes();
});

/** The answer that its rest may come says that it is under way. */
const HALF =
  'POST /inject HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n';

test('idle connections keep nobody out: over the limit their caller loses the one that idles longest', async () => {
  const open: RawConnection[] = [];
  for (let count = 0; count < LIMITS.connectionsMax; count++)
    open.push(await openConnection(server.port, ca.rootPem));
  const [first, second, ...others] = open;
  assert.ok(first !== undefined && second !== undefined);
  // The first has been used since.
  const text = reviewOf(POD);
  first.socket.write(
    `POST /inject HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
  );
  await eventually(() => first.heard().endsWith('}}'), { deadlineMs: 2_000, what: 'it is answered' });
  await assertServes();
  assert.equal(await second.closed, '');
  for (const { socket } of [first, ...others]) assert.equal(socket.destroyed, false);
  for (const { socket, closed } of [first, ...others]) {
    socket.destroy();
    await closed;
  }
});

test('a caller whose connections are all in use is taken no more of, and others are at its cost', async () => {
  // All at once: none is waited for longer than `requestMs`.
  const open = await Promise.all(
    Array.from({ length: LIMITS.connectionsMax }, () => openConnection(server.port, ca.rootPem)),
  );
  for (const { socket } of open) socket.write(HALF);
  await eventually(() => open.every((one) => one.heard().startsWith('HTTP/1.1 100 ')), {
    deadlineMs: 2_000,
    what: 'requests are under way',
  });
  const over = await openConnection(server.port, ca.rootPem);
  assert.equal(await over.closed, '');
  const other = await callWebhook(server.port, ca.rootPem, reviewOf(POD), { localAddress: '127.0.0.2' });
  assert.equal(other.status, 200);
  for (const { socket, closed } of open) {
    socket.destroy();
    await closed;
  }
  await assertServes();
});

test('at the end requests under way are answered, and idle connections closed', async () => {
  const ending = await start();
  const agent = new https.Agent({ keepAlive: true });
  await callWebhook(ending.port, ca.rootPem, reviewOf(POD), { agent });
  const { socket, closed } = await openConnection(ending.port, ca.rootPem);
  const text = reviewOf(POD);
  socket.write(
    `POST /inject HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text.slice(0, 20)}`,
  );
  await eventually(() => socket.bytesWritten > 0, { deadlineMs: 2_000, what: 'the request begins' });
  const end = ending.close();
  socket.write(text.slice(20));
  const heard = await closed;
  assert.match(heard, /^HTTP\/1\.1 200 [\s\S]*connection: close/i);
  await end;
  agent.destroy();
});

test('a request that does not end does not keep the process', async () => {
  const ending = await start();
  const { socket, closed } = await openConnection(ending.port, ca.rootPem);
  socket.write(
    'POST /inject HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{',
  );
  const from = systemClock.now();
  await ending.close();
  assert.ok(systemClock.now() - from < LIMITS.requestMs);
  await closed;
});

test('after a signal to end it is not ready, serves on for a while, and closes what it served', async () => {
  const ending = await start({ lingerMs: 1_000 });
  const from = systemClock.now();
  const end = ending.close();
  const ready = await callWebhook(ending.port, ca.rootPem, '', { method: 'GET', path: '/readyz' });
  assert.match(`${ready.status} ${ready.body}`, /^503 the webhook is going away/);
  const answer = await callWebhook(ending.port, ca.rootPem, reviewOf(POD));
  assert.deepEqual([answer.status, answer.headers.connection], [200, 'close']);
  await end;
  assert.ok(systemClock.now() - from >= 1_000);
  await assert.rejects(callWebhook(ending.port, ca.rootPem, reviewOf(POD)), /ECONNREFUSED/);
});
