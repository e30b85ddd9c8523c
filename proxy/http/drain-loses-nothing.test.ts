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
const POST = 'POST /a HTTP/1.1\r\nHost: catalog\r\nContent-Length: 4\r\n\r\nbody';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

async function ask(text: string): Promise<Talker> {
  const client = harness.dial();
  client.say(text);
  await harness.run();
  return client;
}

/** Begins a drain; the returned function says whether it is over. */
function drain(graceMs = 30_000): () => boolean {
  let over = false;
  void harness.stack.drain(graceMs).then(() => {
    over = true;
  });
  return () => over;
}

test('drain lets requests finish, ends their connections, and closes idle ones', async () => {
  const idle = await ask(GET);
  apps[0]?.say(OK);
  await harness.run();
  await harness.clock.advance(1_500);
  const busy = await ask(GET);
  const over = drain();
  await harness.run();
  assert.equal(idle.ended, true);
  const late = await ask(GET);
  assert.equal(over(), false);
  for (const app of apps) app.say(OK);
  await harness.run();
  for (const client of [busy, late]) {
    assert.match(client.heard, /connection: close\r\n[\s\S]*ok$/);
    assert.equal(client.ended, true);
  }
  await harness.clock.advance(50);
  assert.equal(over(), true);
});

test('a connection that was in use a moment ago may bring one more request', async () => {
  const client = await ask(GET);
  apps[0]?.say(OK);
  await harness.run();
  const over = drain();
  await harness.clock.advance(900);
  assert.deepEqual([client.ended, over()], [false, false]);
  client.take();
  client.say(POST);
  await harness.run();
  apps[0]?.say(OK);
  await harness.run();
  assert.match(client.heard, /^HTTP\/1\.1 200 OK\r\n[\s\S]*connection: close\r\n[\s\S]*ok$/);
  await harness.clock.advance(50);
  assert.deepEqual([client.ended, over()], [true, true]);
});

test('pipelined requests are answered up to the first that ends the connection', async () => {
  const client = await ask(GET + GET);
  drain();
  apps[0]?.say(OK);
  await harness.run();
  assert.equal(client.heard.split('HTTP/1.1 200').length, 2);
  assert.equal(client.ended, true);
});

test('drain waits for a client that is still reading its answer', async () => {
  const client = harness.dial();
  client.stream.pause();
  client.say(GET);
  await harness.run();
  apps[0]?.say('HTTP/1.1 200 OK\r\nContent-Length: 120000\r\n\r\n');
  for (let block = 0; block < 4; block++) {
    apps[0]?.say('x'.repeat(30_000));
    await harness.run();
  }
  assert.equal(harness.stack.stats().active, 0);
  const over = drain();
  await harness.clock.advance(5_000);
  assert.equal(over(), false);
  client.stream.resume();
  for (let turn = 0; turn < 5; turn++) await harness.run();
  await harness.clock.advance(1_500);
  assert.equal(over(), true);
  assert.ok(client.heard.endsWith('x'.repeat(120_000)));
});

test('drain gives up when its grace is over', async () => {
  await ask(GET);
  const over = drain(1_000);
  await harness.clock.advance(900);
  assert.equal(over(), false);
  await harness.clock.advance(200);
  assert.equal(over(), true);
});

test('two drains at once each end', async () => {
  await ask(GET);
  const both = [drain(), drain()];
  apps[0]?.say(OK);
  await harness.run();
  await harness.clock.advance(100);
  assert.deepEqual(
    both.map((over) => over()),
    [true, true],
  );
});

test('retire refuses new connections, and serves those it had accepted, said or unsaid', async () => {
  await harness.inbound();
  const clients = [harness.dial(8_080), harness.dial()];
  await harness.run();
  let over = false;
  void harness.stack.retire().then(() => {
    over = true;
  });
  await harness.run();
  const late = harness.dial();
  await harness.run();
  assert.equal(late.error, 'ECONNREFUSED');
  await harness.clock.advance(50);
  for (const client of clients) client.say(GET);
  await harness.run();
  for (const app of apps) app.say(OK);
  await harness.run();
  for (const client of clients) assert.match(client.heard, /connection: close\r\n[\s\S]*ok$/);
  assert.equal(over, false);
  await harness.clock.advance(50);
  assert.equal(over, true);
});

test('retireMs: a connection that says nothing does not hold the end up', async () => {
  await harness.close();
  harness = new EngineHarness({ retireMs: 500 });
  await harness.inbound();
  harness.fakes.config.settings({ detectionTimeoutMs: 10_000 });
  harness.dial(8_080);
  await harness.run();
  let over = false;
  void harness.stack.retire().then(() => {
    over = true;
  });
  await harness.clock.advance(450);
  assert.equal(over, false);
  await harness.clock.advance(100);
  assert.equal(over, true);
});
