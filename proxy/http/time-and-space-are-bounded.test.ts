import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EngineHarness, type Talker } from '../../test/support/engine-harness.ts';

let harness: EngineHarness;
let apps: Talker[];
let seconds: Talker[];

beforeEach(async () => {
  harness = new EngineHarness();
  await harness.outbound();
  harness.service({
    endpoints: [
      { address: '10.0.0.20', port: 9_000 },
      { address: '10.0.0.21', port: 9_000 },
    ],
  });
  apps = harness.app('10.0.0.20');
  seconds = harness.app('10.0.0.21');
});

afterEach(async () => {
  await harness.close();
  assert.equal(harness.fakes.policy.inFlightNow, 0);
  assert.equal(harness.stack.stats().active, 0);
});

const GET = 'GET /a HTTP/1.1\r\nHost: catalog\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

async function ask(text: string): Promise<Talker> {
  const client = harness.dial();
  client.say(text);
  await harness.run();
  return client;
}

function reasonOf(client: Talker): string | undefined {
  return /x-heddle-reason: (\S+)\r\n/.exec(client.heard)?.[1];
}

function talker(list: readonly Talker[], index = 0): Talker {
  const found = list[index];
  assert.ok(found !== undefined, 'the app was reached');
  return found;
}

test('the request timeout answers 504 and lets go of the app', async () => {
  harness.service({ endpoints: [{ address: '10.0.0.20', port: 9_000 }], timeouts: { requestMs: 300 } });
  const client = await ask(GET);
  await harness.clock.advance(280);
  assert.equal(client.heard, '');
  await harness.clock.advance(40);
  assert.match(client.heard, /^HTTP\/1\.1 504 /);
  assert.equal(reasonOf(client), 'request-timeout');
  assert.equal(talker(apps).error, 'ECONNRESET');
});

test('the backend timeout ends one attempt, and the next may answer', async () => {
  harness.service({
    endpoints: [
      { address: '10.0.0.20', port: 9_000 },
      { address: '10.0.0.21', port: 9_000 },
    ],
    timeouts: { backendRequestMs: 100 },
    retry: { codes: [504] },
  });
  const client = await ask(GET);
  await harness.clock.advance(200);
  talker(seconds).say(OK);
  await harness.run();
  assert.match(client.heard, /^HTTP\/1\.1 200 /);
});

test('a request whose streams fall silent ends after the idle timeout, not before', async () => {
  harness.service({ endpoints: [{ address: '10.0.0.20', port: 9_000 }], timeouts: { idleMs: 1_000 } });
  const client = await ask(GET);
  talker(apps).say('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab');
  await harness.run();
  await harness.clock.advance(900);
  talker(apps).say('cd');
  await harness.run();
  await harness.clock.advance(900);
  assert.equal(client.closed, false);
  await harness.clock.advance(200);
  assert.equal(client.error, 'ECONNRESET');
});

test('a connect timeout is told apart from a refusal', async () => {
  harness.service({
    endpoints: [{ address: '10.0.0.20', port: 9_000 }],
    timeouts: { connectMs: 200 },
    retry: { attempts: 0 },
  });
  const silent = harness.net.dialer.dial;
  harness.net.dialer.dial = (target) => {
    const stream = silent(target);
    if (target.port === 9_000) stream.emit = () => false;
    return stream;
  };
  const client = await ask(GET);
  await harness.clock.advance(250);
  assert.equal(reasonOf(client), 'connect-timeout');
});

test('a head that trickles is answered 408; an idle connection is closed in silence', async () => {
  const slow = await ask('GET / HT');
  for (let tick = 0; tick < 9; tick++) {
    await harness.clock.advance(1_000);
    slow.say('T');
  }
  assert.equal(slow.heard, '');
  await harness.clock.advance(2_000);
  assert.match(slow.heard, /^HTTP\/1\.1 408 /);
  const idle = await ask('');
  await harness.clock.advance(301_000);
  assert.equal(idle.heard, '');
  assert.ok(idle.ended || idle.closed);
});

test('a client that is gone cancels its attempt', async () => {
  const client = await ask(GET);
  client.stream.resetAndDestroy?.();
  await harness.run();
  assert.equal(talker(apps).error, 'ECONNRESET');
  assert.equal(harness.fakes.telemetry.results[0]?.failure?.code, 'downstream-reset');
});

test('a client that closed its sending side still gets a quick answer, and a slow one is given up', async () => {
  const quick = await ask(GET);
  quick.stream.end();
  await harness.run();
  talker(apps).say(OK);
  await harness.run();
  assert.match(quick.heard, /ok$/);
  const slow = await ask(GET);
  slow.stream.end();
  await harness.clock.advance(1_500);
  assert.equal(talker(apps, apps.length - 1).error, 'ECONNRESET');
});

test('limits of a cluster: requests wait for a connection, then are refused', async () => {
  harness.service({
    endpoints: [{ address: '10.0.0.20', port: 9_000 }],
    limits: { maxConnections: 1, maxPendingRequests: 1 },
  });
  const first = await ask(GET);
  const second = await ask(GET);
  const third = await ask(GET);
  assert.equal(apps.length, 1);
  assert.equal(reasonOf(third), 'limit-pending');
  talker(apps).say(OK);
  await harness.run();
  assert.match(first.heard, /ok$/);
  talker(apps).say(OK);
  await harness.run();
  assert.match(second.heard, /ok$/);
  assert.equal(apps.length, 1);
});

test('limits of a cluster: an idle connection makes room for one to another endpoint, and for a tunnel', async () => {
  const limits = { maxConnections: 1, maxPendingRequests: 1 };
  for (const address of ['10.0.0.20', '10.0.0.21']) {
    harness.service({ endpoints: [{ address, port: 9_000 }], limits });
    const client = await ask(GET);
    talker(address.endsWith('0') ? apps : seconds).say(OK);
    await harness.run();
    assert.match(client.heard, /ok$/);
    assert.deepEqual(harness.stack.stats().upstream, { open: 1, idle: 1, pending: 0 });
  }
  const tunnel = await ask('CONNECT catalog:80 HTTP/1.1\r\nHost: catalog\r\n\r\n\0opaque');
  assert.equal(talker(seconds, 1).heard, '\0opaque');
  assert.deepEqual(harness.stack.stats().upstream, { open: 1, idle: 0, pending: 0 });
  const refused = await ask('CONNECT catalog:80 HTTP/1.1\r\nHost: catalog\r\n\r\n\0opaque');
  assert.equal(refused.error, 'ECONNRESET');
  tunnel.stream.destroy();
  await harness.run();
});

test('what limits or a breaker refuse is answered at once with their reason', async () => {
  harness.fakes.policy.refuse = 'circuit-open';
  const client = await ask(GET);
  assert.match(client.heard, /^HTTP\/1\.1 503 /);
  assert.equal(reasonOf(client), 'circuit-open');
  assert.equal(apps.length, 0);
});

test('a fault delays, and a client that leaves meanwhile is forgotten', async () => {
  harness.service({ endpoints: [{ address: '10.0.0.20', port: 9_000 }], delayMs: 200 });
  const client = await ask(GET);
  await harness.clock.advance(100);
  assert.equal(apps.length, 0);
  client.stream.resetAndDestroy?.();
  await harness.clock.advance(2_000);
  assert.equal(apps.length, 0);
});

test('a slow reader holds the app back: neither side is read ahead of the other', async () => {
  const client = harness.dial();
  client.stream.removeAllListeners('data');
  client.stream.pause();
  client.say(GET);
  await harness.run();
  const app = talker(apps);
  app.say('HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n');
  const block = Buffer.alloc(65_536);
  let accepted = 0;
  for (let index = 0; index < 200; index++) {
    if (app.stream.write(block)) accepted++;
    await harness.run();
    if (app.stream.writableLength > 1_000_000) break;
  }
  assert.ok(accepted < 20, `${accepted} blocks of 64 KiB were taken from the app`);
  client.stream.destroy();
});

test('a slow app holds the client back', async () => {
  const client = await ask('PUT / HTTP/1.1\r\nHost: catalog\r\nContent-Length: 100000000\r\n\r\n');
  const app = talker(apps);
  app.stream.pause();
  const block = Buffer.alloc(65_536);
  let accepted = 0;
  for (let index = 0; index < 200; index++) {
    if (client.stream.write(block)) accepted++;
    await harness.run();
    if (client.stream.writableLength > 1_000_000) break;
  }
  assert.ok(accepted < 20, `${accepted} blocks of 64 KiB were taken from the client`);
  client.stream.destroy();
  await harness.run();
});
