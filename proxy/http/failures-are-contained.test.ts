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
const POST = 'POST /a HTTP/1.1\r\nHost: catalog\r\nContent-Length: 4\r\n\r\nbody';
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

test('a refused connection is tried elsewhere, whatever the method, body and all', async () => {
  harness.service({
    endpoints: [
      { address: '10.0.0.66', port: 9_000 },
      { address: '10.0.0.21', port: 9_000 },
    ],
  });
  const client = await ask(POST);
  await harness.clock.advance(50);
  const app = talker(seconds);
  assert.ok(app.heard.endsWith('\r\n\r\nbody'));
  assert.match(app.heard, /x-heddle-attempt: 2\r\n/);
  app.say(OK);
  await harness.run();
  assert.match(client.heard, /ok$/);
});

test('a connection that can not be made at all is 503 connect-failure', async () => {
  harness.service({ endpoints: [{ address: '10.0.0.66', port: 9_000 }] });
  const client = await ask(GET);
  await harness.clock.advance(500);
  assert.match(client.heard, /^HTTP\/1\.1 503 /);
  assert.equal(reasonOf(client), 'connect-failure');
  assert.equal(harness.fakes.policy.settled.length, 3);
});

test('a reset after the request was sent is not tried again unless the rule asks', async () => {
  for (const text of [GET, POST]) {
    const client = await ask(text);
    talker(apps, apps.length - 1).stream.resetAndDestroy?.();
    await harness.run();
    await harness.clock.advance(500);
    assert.equal(reasonOf(client), 'upstream-reset');
    assert.equal(seconds.length, 0);
  }
});

test('a reset is tried again for an idempotent method where the rule asks, and never for POST', async () => {
  harness.service({
    endpoints: [
      { address: '10.0.0.20', port: 9_000 },
      { address: '10.0.0.21', port: 9_000 },
    ],
    retry: { on: ['reset'] },
  });
  const post = await ask(POST);
  talker(apps).stream.resetAndDestroy?.();
  await harness.run();
  await harness.clock.advance(500);
  assert.equal(reasonOf(post), 'upstream-reset');
  assert.equal(seconds.length, 0);
  await ask(GET);
  talker(apps, 1).stream.resetAndDestroy?.();
  await harness.run();
  await harness.clock.advance(500);
  assert.equal(seconds.length, 1);
});

test('a status the rule names is tried again, its response read to the end, its connection kept', async () => {
  harness.service({
    endpoints: [
      { address: '10.0.0.20', port: 9_000 },
      { address: '10.0.0.21', port: 9_000 },
    ],
    retry: { codes: [503] },
  });
  const client = await ask(GET);
  talker(apps).say('HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy');
  await harness.run();
  await harness.clock.advance(50);
  assert.equal(harness.stack.stats().upstream.open, 2);
  assert.equal(talker(apps).closed, false);
  talker(seconds).say(OK);
  await harness.run();
  assert.match(client.heard, /^HTTP\/1\.1 200 /);
  assert.equal(client.heard.includes('busy'), false);
});

test('a response that is thrown away and does not end, or is large, is not read on', async () => {
  for (const body of [
    'Content-Length: 10\r\n\r\nbusy',
    `Content-Length: 100000\r\n\r\n${'x'.repeat(70_000)}`,
  ]) {
    harness.service({
      endpoints: [
        { address: '10.0.0.20', port: 9_000 },
        { address: '10.0.0.21', port: 9_000 },
      ],
      retry: { codes: [503] },
    });
    const client = await ask(GET);
    const app = talker(apps, apps.length - 1);
    app.say(`HTTP/1.1 503 No\r\n${body}`);
    await harness.run();
    await harness.clock.advance(50);
    talker(seconds, seconds.length - 1).say(OK);
    await harness.run();
    assert.match(client.heard, /ok$/);
    await harness.clock.advance(1_500);
    assert.equal(app.closed, true);
    assert.deepEqual(harness.stack.stats().upstream, { open: 1, idle: 1, pending: 0 });
  }
});

test('a body beyond the replay buffer is sent once only', async () => {
  harness.service({
    endpoints: [
      { address: '10.0.0.20', port: 9_000 },
      { address: '10.0.0.21', port: 9_000 },
    ],
    retry: { codes: [503], bodyBufferBytesMax: 10, methods: ['PUT'] },
  });
  const client = await ask(
    'PUT / HTTP/1.1\r\nHost: catalog\r\nContent-Length: 20\r\n\r\n01234567890123456789',
  );
  talker(apps).say('HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n');
  await harness.run();
  await harness.clock.advance(500);
  assert.match(client.heard, /^HTTP\/1\.1 503 No\r\n/);
  assert.equal(seconds.length, 0);
});

test('an ambiguous response is never passed on', async () => {
  const hostile = [
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok',
    'HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok',
    'HTTP/1.1 200 OK\nContent-Length: 2\n\nok',
    'HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 2000 OK\r\n\r\n',
    'HTTP/2.0 200 OK\r\n\r\n',
    'ICY 200 OK\r\n\r\n',
    'HTTP/1.1 200 O\x01K\r\n\r\n',
    'HTTP/1.1 200 OK\r\nX : a\r\n\r\n',
    'HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n',
    `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(70_000)}\r\n\r\n`,
    'HTTP/1.1 103 Hints\r\n\r\n'.repeat(20),
  ];
  for (const bytes of hostile) {
    const client = await ask(GET);
    const app = talker(apps, apps.length - 1);
    app.say(bytes);
    await harness.run();
    const final = client.heard.slice(client.heard.lastIndexOf('HTTP/1.1 503'));
    assert.match(final, /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: upstream-reset/, bytes.slice(0, 60));
    assert.ok(app.closed || app.ended || app.error !== undefined, 'the upstream connection ends');
  }
});

test('a response that breaks in the middle cuts the client, who must not take it for whole', async () => {
  for (const head of ['Content-Length: 10', 'Transfer-Encoding: chunked']) {
    const client = await ask(GET);
    const app = talker(apps, apps.length - 1);
    app.say(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n${head.startsWith('T') ? '3\r\nabc\r\nzz' : 'abc'}`);
    await harness.run();
    app.stream.destroy();
    await harness.run();
    assert.equal(client.error, 'ECONNRESET');
  }
});

test('bytes after a response are never taken for the next one', async () => {
  const client = await ask(GET);
  talker(apps).say(`${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`);
  await harness.run();
  client.say(GET);
  await harness.run();
  assert.equal(apps.length, 2);
  assert.equal(client.heard.includes('evil'), false);
});

test('bytes on an idle upstream connection end it', async () => {
  const client = await ask(GET);
  talker(apps).say(OK);
  await harness.run();
  talker(apps).say(OK);
  await harness.run();
  assert.equal(harness.stack.stats().upstream.idle, 0);
  client.say(GET);
  await harness.run();
  assert.equal(apps.length, 2);
});

test('an idle connection that the app closed is not used again', async () => {
  const client = await ask(GET);
  talker(apps).say(OK);
  await harness.run();
  talker(apps).stream.end();
  await harness.run();
  client.say(GET);
  await harness.run();
  assert.equal(apps.length, 2);
  talker(apps, 1).say(OK);
  await harness.run();
  assert.equal(client.heard.split('HTTP/1.1 200').length, 3);
});

test('an unsafe request takes no connection that was idle for a second', async () => {
  const client = await ask(GET);
  talker(apps).say(OK);
  await harness.run();
  await harness.clock.advance(1_500);
  client.say(POST);
  await harness.run();
  assert.equal(apps.length, 2);
  talker(apps, 1).say(OK);
  await harness.run();
  await harness.clock.advance(500);
  client.say(POST);
  await harness.run();
  assert.equal(apps.length, 2);
});

test('an idle connection too old for an unsafe request is left to safe ones', async () => {
  const client = await ask(GET);
  talker(apps).say(OK);
  await harness.run();
  await harness.clock.advance(1_500);
  const other = await ask(POST);
  assert.deepEqual(harness.stack.stats().upstream, { open: 2, idle: 1, pending: 0 });
  client.say(GET);
  await harness.run();
  talker(apps).say(OK);
  talker(apps, 1).say(OK);
  await harness.run();
  assert.match(other.heard, /ok$/);
  assert.equal(client.heard.split('HTTP/1.1 200').length, 3);
  assert.equal(apps.length, 2);
});

test('a peer that resets while it is written to does not keep its client from being heard again', async () => {
  const client = await ask(POST);
  talker(apps).say(OK);
  await harness.run();
  assert.match(client.take(), /ok$/);
  // The next request is on its way to the sidecar when its app's connection breaks: the write itself fails.
  client.say(POST);
  talker(apps).stream.resetAndDestroy?.();
  await harness.run();
  assert.match(client.take(), /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: upstream-reset\r\n/);
  client.say(POST);
  await harness.run();
  talker(apps, 1).say(OK);
  await harness.run();
  assert.match(client.heard, /ok$/);
});
