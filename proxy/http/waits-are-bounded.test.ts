import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineHarness, type Talker } from '../../test/support/engine-harness.ts';
import type { EngineLimits } from '../codec/limits.ts';

const GET = 'GET /a HTTP/1.1\r\nHost: catalog\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Runs `body` with a data path of these limits, and closes it. */
async function within(
  limits: Partial<EngineLimits>,
  body: (harness: EngineHarness, apps: Talker[]) => Promise<void>,
): Promise<void> {
  const harness = new EngineHarness(limits);
  await harness.outbound();
  await harness.inbound();
  harness.service();
  await body(harness, harness.app());
  await harness.close();
}

/** Dials that nobody answers. */
function holdDials(harness: EngineHarness): void {
  const dial = harness.net.dialer.dial;
  harness.net.dialer.dial = (target) => {
    const stream = dial(target);
    if (target.port === 9_000) stream.emit = () => false;
    return stream;
  };
}

test('connectionsMax: one more client than that is refused, and the others are served', async () => {
  await within({ connectionsMax: 2 }, async (harness, apps) => {
    const clients = [harness.dial(), harness.dial(8_080), harness.dial(), harness.dial(8_080)];
    for (const client of clients) client.say(GET);
    await harness.run();
    for (const app of apps) app.say(OK);
    await harness.run();
    assert.deepEqual(
      clients.map((client) => client.heard.endsWith('ok')),
      [true, true, false, false],
    );
    assert.ok(clients[2]?.error !== undefined && clients[3]?.error !== undefined);
    clients[0]?.stream.destroy();
    await harness.run();
    const next = harness.dial();
    next.say(GET);
    await harness.run();
    for (const app of apps) if (app.take() !== '') app.say(OK);
    await harness.run();
    assert.match(next.heard, /ok$/);
  });
});

test('connectMs: an app that does not answer its door is not waited for', async () => {
  await within({ connectMs: 300 }, async (harness) => {
    holdDials(harness);
    const client = harness.dial(8_080);
    client.say(GET);
    await harness.run();
    await harness.clock.advance(250);
    assert.equal(client.heard, '');
    await harness.clock.advance(100);
    assert.match(client.heard, /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: connect-timeout\r\n/);
  });
});

test('configWaitMs: without configuration nobody is let in, nor kept waiting', async () => {
  await within({ configWaitMs: 500 }, async (harness, apps) => {
    const config = harness.fakes.config.inboundConfig;
    harness.fakes.config.inboundConfig = undefined;
    const early = harness.dial(8_080);
    early.say(GET);
    await harness.clock.advance(300);
    const late = harness.dial(8_080);
    late.say(GET);
    await harness.clock.advance(300);
    assert.deepEqual([early.closed, early.heard, late.closed], [true, '', false]);
    harness.fakes.config.inboundConfig = config;
    await harness.clock.advance(50);
    apps[0]?.say(OK);
    await harness.run();
    assert.match(late.heard, /ok$/);
    assert.equal(apps.length, 1);
  });
});

test('idleUnknownPeerMs: a connection to an app whose habit is not known is soon closed', async () => {
  await within({ idleUnknownPeerMs: 2_000 }, async (harness, apps) => {
    harness.dial(8_080).say(GET);
    await harness.run();
    apps[0]?.say(OK);
    await harness.run();
    await harness.clock.advance(1_900);
    assert.equal(harness.stack.stats().upstream.idle, 1);
    await harness.clock.advance(200);
    assert.equal(harness.stack.stats().upstream.open, 0);
  });
});

test('tunnelIdleMs: a quiet tunnel ends, one with bytes in it does not', async () => {
  await within({ tunnelIdleMs: 10_000 }, async (harness, apps) => {
    const client = harness.dial();
    client.say('CONNECT catalog:80 HTTP/1.1\r\nHost: catalog\r\n\r\n\0\0');
    await harness.run();
    for (let word = 0; word < 4; word++) {
      await harness.clock.advance(8_000);
      (word % 2 === 0 ? client : apps[0])?.say('\0');
      await harness.run();
    }
    assert.equal(client.closed, false);
    await harness.clock.advance(25_000);
    assert.deepEqual([client.closed, apps[0]?.closed, harness.stack.stats().active], [true, true, 0]);
  });
});

test('tunnelIdleMs: a request to the own app that falls silent ends', async () => {
  await within({ tunnelIdleMs: 4_000 }, async (harness, apps) => {
    const client = harness.dial(8_080);
    client.say(GET);
    await harness.run();
    await harness.clock.advance(4_100);
    assert.match(client.heard, /^HTTP\/1\.1 504 /);
    assert.equal(apps[0]?.error, 'ECONNRESET');
  });
});

test('detectionBytesMax: a request line longer than what is looked at is HTTP by its method', async () => {
  const harness = new EngineHarness({ detectionBytesMax: 100 });
  await harness.outbound('transparent');
  harness.service({ host: '10.96.0.5' });
  harness.capture('10.96.0.5', 80);
  const apps = harness.app();
  for (const [bytes, routed] of [
    [`GET /${'a'.repeat(200)}`, true],
    [`SSH ${'a'.repeat(200)}`, false],
  ] as const) {
    const client = harness.dial(80, '10.96.0.5');
    client.say(bytes);
    await harness.run();
    client.say(' HTTP/1.1\r\nHost: a\r\n\r\n');
    await harness.run();
    assert.equal(apps.at(-1)?.heard.includes('traceparent'), routed, bytes.slice(0, 10));
    client.stream.destroy();
    await harness.run();
  }
  await harness.close();
});
