import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EngineHarness, type Talker } from '../../test/support/engine-harness.ts';

let harness: EngineHarness;
let apps: Talker[];

beforeEach(async () => {
  harness = new EngineHarness();
  await harness.outbound();
  harness.service();
  apps = harness.app();
});

afterEach(async () => {
  await harness.close();
  assert.equal(harness.fakes.policy.inFlightNow, 0);
  assert.equal(harness.stack.stats().active, 0);
});

const GET = 'GET /a HTTP/1.1\r\nHost: catalog\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** A client that has said `text`, and the app's end of its first connection. */
async function asked(text: string): Promise<{ client: Talker; app: Talker }> {
  const client = harness.dial();
  client.say(text);
  await harness.run();
  const app = apps[0];
  assert.ok(app !== undefined, `the app is reached; the client heard: ${client.heard}`);
  return { client, app };
}

async function says(talker: Talker, text: string): Promise<void> {
  talker.say(text);
  await harness.run();
}

test('an app that wants another protocol says which', async () => {
  const { client, app } = await asked(GET);
  await says(
    app,
    'HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n',
  );
  assert.match(client.heard, /connection: upgrade\r\nupgrade: websocket\r\n/);
  assert.equal(client.ended, false);
});

test('an upgrade becomes a tunnel, each side ending by itself', async () => {
  const { client, app } = await asked(
    'GET /ws HTTP/1.1\r\nHost: catalog\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n',
  );
  assert.match(app.take(), /connection: upgrade\r\nupgrade: websocket\r\n/);
  await says(
    app,
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst',
  );
  assert.match(client.take(), /^HTTP\/1\.1 101 Switching Protocols\r\n[\s\S]*\r\n\r\nfirst$/);
  await says(client, '\x81\x05hello');
  assert.equal(app.take(), '\x81\x05hello');
  client.stream.end();
  await harness.run();
  assert.equal(app.ended, true);
  await says(app, 'still');
  assert.equal(client.take(), 'still');
  app.stream.end();
  await harness.run();
  assert.equal(client.closed, true);
});

test('a switch of protocols that nobody asked for is not passed on', async () => {
  const { client, app } = await asked(GET);
  await says(app, 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
  assert.match(client.heard, /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: upstream-reset/);
});

test('CONNECT opens a connection to the named place, and HTTP inside of it is routed', async () => {
  const client = harness.dial();
  client.say('CONNECT catalog:80 HTTP/1.1\r\nHost: catalog:80\r\n\r\n');
  await harness.run();
  assert.equal(client.take(), 'HTTP/1.1 200 Connection Established\r\n\r\n');
  await says(client, GET);
  assert.match(apps[0]?.take() ?? '', /^GET \/a HTTP\/1\.1\r\n[\s\S]*traceparent/);
  await says(apps[0] as Talker, OK);
  assert.match(client.take(), /ok$/);
});

test("bytes that come early, from either side, are the tunnel's", async () => {
  const { client, app } = await asked(
    'GET /ws HTTP/1.1\r\nHost: catalog\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05early',
  );
  assert.ok(app.take().endsWith('\r\n\r\n') || app.heard === '');
  await says(client, '\x81\x04more');
  await says(
    app,
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi',
  );
  assert.ok(client.take().endsWith('\r\n\r\n\x81\x02hi'));
  assert.equal(app.take(), '\x81\x05early\x81\x04more');
  client.stream.destroy();
  await harness.run();
});

test('where the app does not switch, early bytes are what they are: no request', async () => {
  for (const answer of [
    'HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  ]) {
    const { client } = await asked(
      'GET /ws HTTP/1.1\r\nHost: catalog\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05early',
    );
    const app = apps.at(-1) as Talker;
    await says(app, answer);
    assert.match(client.heard, /^HTTP\/1\.1 (426|200) [\s\S]*HTTP\/1\.1 400 /);
    assert.equal(app.heard.includes('early'), false);
    assert.equal(client.ended, true);
    client.stream.destroy();
    await harness.run();
  }
});

test('an upgrade with a body, or from HTTP/1.0, is not offered on', async () => {
  for (const [version, rest] of [
    ['1.1', 'Content-Length: 1\r\n\r\nx'],
    ['1.0', '\r\n'],
  ] as const) {
    const { client } = await asked(
      `GET / HTTP/${version}\r\nHost: catalog\r\nConnection: upgrade\r\nUpgrade: websocket\r\n${rest}`,
    );
    assert.equal(/upgrade/i.test(apps.at(-1)?.heard ?? ''), false);
    client.stream.destroy();
    await harness.run();
  }
});
