import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EngineHarness, type Talker } from '../../test/support/engine-harness.ts';

let harness: EngineHarness;
let apps: Talker[];

beforeEach(async () => {
  harness = new EngineHarness();
  await harness.outbound();
  await harness.inbound();
  harness.service();
  apps = harness.app();
});

afterEach(async () => {
  await harness.close();
  assert.equal(harness.fakes.policy.inFlightNow, 0);
  assert.deepEqual(harness.stack.stats().upstream, { open: 0, idle: 0, pending: 0 });
});

const GET = 'GET /a HTTP/1.1\r\nHost: catalog\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** A client with one answered request behind it, so that an idle connection to the app waits. */
async function served(port = 15_001): Promise<Talker> {
  const client = harness.dial(port);
  client.say(GET);
  await harness.run();
  apps.at(-1)?.say(OK);
  await harness.run();
  assert.match(client.take(), /ok$/);
  assert.equal(apps.length, 1);
  return client;
}

/** Sends on the idle connection while the app is ending it: the request crosses the end on its way. */
async function crossing(client: Talker, text: string, end: (app: Talker) => void): Promise<void> {
  const app = apps[0] as Talker;
  client.say(text);
  app.stream.once('data', () => end(app));
  await harness.run();
}

const ENDS = {
  FIN: (app: Talker) => app.stream.end(),
  RST: (app: Talker) => app.stream.resetAndDestroy?.(),
};

for (const [name, end] of Object.entries(ENDS)) {
  for (const [side, port] of [
    ['to a peer', 15_001],
    ['to the own app', 8_080],
  ] as const) {
    test(`a GET ${side} that crosses ${name} is sent once more, on a new connection`, async () => {
      const client = await served(port);
      await crossing(client, GET, end);
      assert.equal(apps.length, 2);
      apps[1]?.say(OK);
      await harness.run();
      assert.match(client.heard, /^HTTP\/1\.1 200 OK\r\n[\s\S]*ok$/);
      assert.equal(client.heard.split('HTTP/1.1').length, 2);
    });

    test(`a POST ${side} that crosses ${name} is not sent twice`, async () => {
      const client = await served(port);
      await crossing(client, `POST /a HTTP/1.1\r\nHost: catalog\r\nContent-Length: 4\r\n\r\nbody`, end);
      await harness.clock.advance(1_000);
      assert.equal(apps.length, 1);
      assert.match(client.heard, /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: upstream-reset\r\n/);
    });
  }
}

test('the new connection is believed: a second end is a failure', async () => {
  const client = await served();
  await crossing(client, GET, ENDS.FIN);
  apps[1]?.stream.end();
  await harness.run();
  assert.equal(apps.length, 2);
  assert.match(client.heard, /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: upstream-reset\r\n/);
});

test('the new connection is not another idle one, which may be ending as well', async () => {
  const first = await served();
  const second = harness.dial();
  first.say(GET);
  second.say(GET);
  await harness.run();
  for (const app of apps) app.say(OK);
  await harness.run();
  assert.equal(harness.stack.stats().upstream.idle, 2);
  first.take();
  first.say(GET);
  for (const app of [...apps]) app.stream.once('data', () => app.stream.end());
  await harness.run();
  assert.equal(apps.length, 3);
  apps[2]?.say(OK);
  await harness.run();
  assert.match(first.heard, /ok$/);
});

test('an end within an answer is a failure: the app has seen the request', async () => {
  const client = await served();
  await crossing(client, GET, (app) => {
    app.say('HTTP/1.1 200');
    app.stream.end();
  });
  assert.equal(apps.length, 1);
  assert.match(client.heard, /^HTTP\/1\.1 503 /);
});

test('an answer that breaks the protocol is a failure: the app has seen the request', async () => {
  const client = await served();
  await crossing(client, GET, (app) => app.say('nonsense\r\n\r\n'));
  assert.equal(apps.length, 1);
  assert.match(client.heard, /^HTTP\/1\.1 503 /);
});

test('a GET with a body is sent once more with all of it', async () => {
  const client = await served();
  await crossing(client, 'GET /a HTTP/1.1\r\nHost: catalog\r\nContent-Length: 8\r\n\r\nfour', ENDS.FIN);
  client.say('more');
  await harness.run();
  assert.ok(apps[1]?.heard.endsWith('\r\n\r\nfourmore'));
  apps[1]?.say(OK);
  await harness.run();
  assert.match(client.heard, /ok$/);
});

test('a client that leaves while the new connection is made is forgotten', async () => {
  const client = await served();
  const dial = harness.net.dialer.dial;
  harness.net.dialer.dial = (target) => {
    const stream = dial(target);
    if (target.port === 9_000) stream.emit = () => false;
    return stream;
  };
  await crossing(client, GET, ENDS.FIN);
  client.stream.resetAndDestroy?.();
  await harness.run();
  assert.equal(harness.stack.stats().active, 0);
});

test('a connection that was being made for a request that is given up serves another', async () => {
  const client = harness.dial();
  const dial = harness.net.dialer.dial;
  let connect = () => {};
  harness.net.dialer.dial = (target) => {
    const stream = dial(target);
    const emit = stream.emit.bind(stream);
    stream.emit = (event: string | symbol, ...rest: unknown[]) => {
      if (event !== 'connect') return emit(event, ...rest);
      connect = () => emit('connect');
      return true;
    };
    return stream;
  };
  client.say(GET);
  await harness.run();
  assert.equal(harness.stack.stats().upstream.open, 1);
  client.stream.resetAndDestroy?.();
  await harness.run();
  connect();
  harness.net.dialer.dial = dial;
  await harness.run();
  assert.deepEqual(harness.stack.stats().upstream, { open: 1, idle: 1, pending: 0 });
  const other = harness.dial();
  other.say(GET);
  await harness.run();
  apps[0]?.say(OK);
  await harness.run();
  assert.match(other.heard, /ok$/);
  assert.equal(apps.length, 1);
});
