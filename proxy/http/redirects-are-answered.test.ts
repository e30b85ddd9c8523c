import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EngineHarness, type Talker } from '../../test/support/engine-harness.ts';

let harness: EngineHarness;
let apps: Talker[];

const LOCATION = 'http://elsewhere.example/b?c';

beforeEach(async () => {
  harness = new EngineHarness();
  await harness.outbound();
  harness.service({ redirect: LOCATION });
  apps = harness.app();
});

afterEach(async () => {
  await harness.close();
  assert.equal(apps.length, 0, 'no backend is asked');
  assert.equal(harness.stack.stats().active, 0);
});

async function ask(text: string): Promise<Talker> {
  const client = harness.dial();
  client.say(text);
  await harness.run();
  return client;
}

const GET = 'GET /a HTTP/1.1\r\nHost: catalog\r\n\r\n';

for (const [status, phrase] of [
  [301, 'Moved Permanently'],
  [302, 'Found'],
  [303, 'See Other'],
  [307, 'Temporary Redirect'],
  [308, 'Permanent Redirect'],
] as const) {
  test(`${status}: Location, no body, no reason of the mesh, and the connection is kept`, async () => {
    const redirect = { scheme: undefined, hostname: undefined, path: undefined, port: undefined, status };
    harness.service({ redirect: LOCATION, rule: { redirect } });
    const client = await ask(GET);
    const answer = `HTTP/1.1 ${status} ${phrase}\r\nlocation: ${LOCATION}\r\ncontent-length: 0\r\n\r\n`;
    assert.equal(client.take(), answer);
    client.say(GET);
    await harness.run();
    assert.equal(client.heard, answer);
    const [result] = harness.fakes.telemetry.results;
    assert.deepEqual([result?.status, result?.failure], [status, undefined]);
  });
}

test("the rule's edits of responses apply, to Location too", async () => {
  harness.service({
    redirect: LOCATION,
    rule: {
      responseHeaders: {
        set: [
          ['X-Set', 'one'],
          ['Content-Length', '9'],
        ],
        add: [['Set-Cookie', 'a=b']],
        remove: ['location'],
      },
    },
  });
  const client = await ask(GET);
  assert.equal(
    client.heard,
    'HTTP/1.1 302 Found\r\nX-Set: one\r\nSet-Cookie: a=b\r\ncontent-length: 0\r\n\r\n',
  );
});

test('HEAD is answered as GET is', async () => {
  const client = await ask(GET.replace('GET', 'HEAD'));
  assert.match(client.heard, /^HTTP\/1\.1 302 Found\r\nlocation: /);
});

test('a body that is here already costs nothing; one that is still to come costs the connection, after it is read over', async () => {
  const whole = await ask('POST /a HTTP/1.1\r\nHost: catalog\r\nContent-Length: 4\r\n\r\nabcd');
  assert.equal(/connection: close/.test(whole.heard), false);
  const partial = await ask('POST /a HTTP/1.1\r\nHost: catalog\r\nContent-Length: 400000\r\n\r\nabcd');
  assert.match(partial.heard, /^HTTP\/1\.1 302 Found\r\n.*\r\nconnection: close\r\n\r\n$/s);
  partial.say('x'.repeat(399_996));
  await harness.run();
  assert.equal(partial.error, undefined, 'the client may finish and read its answer');
  assert.ok(partial.ended);
});

test('a client that asks before it sends its body sends it elsewhere', async () => {
  const client = await ask(
    'PUT /a HTTP/1.1\r\nHost: catalog\r\nExpect: 100-continue\r\nContent-Length: 400\r\n\r\n',
  );
  assert.match(client.heard, /^HTTP\/1\.1 302 Found\r\n/);
});

test('an HTTP/1.0 client that keeps its connection is told so', async () => {
  const client = await ask('GET /a HTTP/1.0\r\nHost: catalog\r\nConnection: keep-alive\r\n\r\n');
  assert.match(client.heard, /\r\nconnection: keep-alive\r\n\r\n$/);
  const closing = await ask('GET /a HTTP/1.0\r\nHost: catalog\r\n\r\n');
  assert.match(closing.heard, /\r\nconnection: close\r\n\r\n$/s);
});

test('a delay is waited for, and a client that left meanwhile is not answered', async () => {
  harness.service({ redirect: LOCATION, delayMs: 300 });
  const patient = await ask(GET);
  const hasty = await ask(GET);
  hasty.stream.resetAndDestroy?.();
  await harness.clock.advance(250);
  assert.equal(patient.heard, '');
  await harness.clock.advance(100);
  assert.match(patient.heard, /^HTTP\/1\.1 302 /);
  assert.deepEqual(
    harness.fakes.telemetry.results.map(({ status }) => status),
    [499, 302],
  );
});

test('a draining sidecar says that the connection ends', async () => {
  const client = await ask(GET);
  client.take();
  const drained = harness.stack.drain(1_000);
  client.say(GET);
  await harness.run();
  assert.match(client.heard, /\r\nconnection: close\r\n\r\n$/s);
  client.stream.destroy();
  await harness.clock.advance(1_100);
  await drained;
});

test('pipelined requests are redirected in order', async () => {
  harness.fakes.config.add({ host: 'other', port: 80, redirect: 'http://o/', endpoints: [] });
  const client = await ask(GET + GET.replace('catalog', 'other') + GET);
  assert.deepEqual(
    [...client.heard.matchAll(/location: (\S+)/g)].map((match) => match[1]),
    [LOCATION, 'http://o/', LOCATION],
  );
});
