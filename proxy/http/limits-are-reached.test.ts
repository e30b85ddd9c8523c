import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineHarness } from '../../test/support/engine-harness.ts';
import type { EngineLimits } from '../codec/limits.ts';

const GET = 'GET /a HTTP/1.1\r\nHost: catalog\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1000\r\nContent-Length: 2\r\n\r\nok';

async function harnessWith(limits: Partial<EngineLimits>): Promise<EngineHarness> {
  const harness = new EngineHarness(limits);
  await harness.outbound();
  await harness.inbound();
  harness.service();
  return harness;
}

test('idleConnectionsMax: more idle connections than that are closed', async () => {
  const harness = await harnessWith({ idleConnectionsMax: 1 });
  const apps = harness.app();
  for (let client = 0; client < 3; client++) harness.dial().say(GET);
  await harness.run();
  assert.equal(apps.length, 3);
  for (const app of apps) app.say(OK);
  await harness.run();
  assert.deepEqual(harness.stack.stats().upstream, { open: 1, idle: 1, pending: 0 });
  await harness.close();
});

test('connectionLifetimeMs: an old connection is not used again', async () => {
  const harness = await harnessWith({ connectionLifetimeMs: 1_000 });
  const apps = harness.app();
  const client = harness.dial();
  client.say(GET);
  await harness.run();
  await harness.clock.advance(1_100);
  apps[0]?.say(OK);
  await harness.run();
  assert.equal(harness.stack.stats().upstream.open, 0);
  await harness.close();
});

test('idle connections are closed a little before their peer says it would', async () => {
  const harness = await harnessWith({});
  const apps = harness.app();
  harness.dial().say(GET);
  await harness.run();
  apps[0]?.say(OK.replace('1000', '2'));
  await harness.run();
  await harness.clock.advance(1_500);
  assert.equal(harness.stack.stats().upstream.idle, 1);
  await harness.clock.advance(200);
  assert.equal(harness.stack.stats().upstream.idle, 0);
  await harness.close();
});

test('bodyHoldBytesMax: a body is not read ahead of a connection that is not there yet', async () => {
  const harness = await harnessWith({ bodyHoldBytesMax: 1_000 });
  harness.service({ delayMs: 60_000 });
  const client = harness.dial();
  client.say('PUT / HTTP/1.1\r\nHost: catalog\r\nContent-Length: 100000000\r\n\r\n');
  await harness.run();
  let accepted = 0;
  for (let block = 0; block < 50; block++) {
    if (client.stream.write(Buffer.alloc(65_536))) accepted++;
    await harness.run();
  }
  assert.ok(accepted < 8, `${accepted} blocks of 64 KiB were taken`);
  client.stream.resetAndDestroy?.();
  await harness.run();
  await harness.close();
});

test('lingerBytesMax: a refused client that goes on sending is cut', async () => {
  const harness = await harnessWith({ lingerBytesMax: 1_000 });
  const client = harness.dial();
  client.say('broken\r\n\r\n');
  await harness.run();
  assert.match(client.heard, /^HTTP\/1\.1 400 /);
  client.say('x'.repeat(2_000));
  await harness.run();
  assert.equal(harness.stack.stats().connections, 0);
  await harness.close();
});

test('lingerMs and lingerQuietMs: an answered client may send on for a while, if it does send', async () => {
  const harness = await harnessWith({ lingerMs: 10_000, lingerQuietMs: 1_000 });
  const sending = harness.dial();
  const quiet = harness.dial();
  for (const client of [sending, quiet]) client.say('broken\r\n\r\n');
  await harness.run();
  for (let second = 0; second < 9; second++) {
    sending.say('x'.repeat(1_000));
    await harness.clock.advance(1_000);
    assert.equal(harness.stack.stats().connections, second === 0 ? 2 : 1);
  }
  for (let second = 0; second < 3; second++) {
    sending.say('x'.repeat(1_000));
    await harness.clock.advance(1_000);
  }
  assert.equal(harness.stack.stats().connections, 0);
  await harness.close();
});

test('plainConnectionsMax and plainPendingMax: the own app is not drowned', async () => {
  const harness = await harnessWith({ plainConnectionsMax: 1, plainPendingMax: 1 });
  const apps = harness.app();
  const clients = [harness.dial(8_080), harness.dial(8_080), harness.dial(8_080)];
  for (const client of clients) client.say(GET);
  await harness.run();
  await harness.run();
  assert.equal(apps.length, 1);
  assert.match(clients[2]?.heard ?? '', /x-heddle-reason: limit-pending/);
  for (const client of clients) client.stream.resetAndDestroy?.();
  await harness.run();
  await harness.close();
});

test('helloReadMs: a client that says nothing under STRICT is not waited for', async () => {
  const harness = await harnessWith({ helloReadMs: 1_000 });
  const { config } = harness.fakes;
  if (config.inboundConfig !== undefined)
    config.inboundConfig = { ...config.inboundConfig, defaultMode: 'STRICT' };
  const client = harness.dial(8_080);
  await harness.clock.advance(900);
  assert.equal(client.closed, false);
  await harness.clock.advance(200);
  assert.equal(client.error, 'ECONNRESET');
  await harness.close();
});

test('helloBytesMax: a hello without an end is not held for ever', async () => {
  const harness = await harnessWith({ helloBytesMax: 1_000 });
  const { config } = harness.fakes;
  if (config.inboundConfig !== undefined)
    config.inboundConfig = { ...config.inboundConfig, defaultMode: 'STRICT' };
  const client = harness.dial(8_080);
  client.say(`\x16\x03\x01\x40\x00\x01\x00\x3f\xfc${'\0'.repeat(2_000)}`);
  await harness.run();
  assert.ok(client.error !== undefined);
  await harness.close();
});
