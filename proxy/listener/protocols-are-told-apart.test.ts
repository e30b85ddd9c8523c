import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { hello, records } from '../../test/support/client-hello.ts';
import { EngineHarness, type Talker } from '../../test/support/engine-harness.ts';
import { detect } from './detect.ts';

let harness: EngineHarness;
let apps: Talker[];

beforeEach(async () => {
  harness = new EngineHarness();
  await harness.outbound('transparent');
  apps = harness.app();
  harness.capture('10.96.0.5', 80);
  harness.service({ host: '10.96.0.5' });
});

afterEach(async () => {
  await harness.close();
  assert.equal(harness.fakes.policy.inFlightNow, 0);
  assert.equal(harness.stack.stats().active, 0);
});

async function say(text: string): Promise<Talker> {
  const client = harness.dial(80, '10.96.0.5');
  client.say(text);
  await harness.run();
  return client;
}

test('the address that was dialled is the destination, and HTTP on it is routed', async () => {
  const client = await say('GET /a HTTP/1.1\r\nHost: whatever\r\n\r\n');
  assert.match(apps[0]?.heard ?? '', /^GET \/a HTTP\/1\.1\r\nHost: whatever\r\n[\s\S]*traceparent/);
  apps[0]?.say('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  await harness.run();
  assert.match(client.heard, /ok$/);
});

test('HTTP in single bytes is HTTP', async () => {
  const client = await say('');
  for (const char of 'GET / HTTP/1.1\r\nHost: a\r\n\r\n') {
    client.say(char);
    await harness.clock.advance(1);
  }
  assert.match(apps[0]?.heard ?? '', /traceparent/);
  client.stream.destroy();
});

test('HTTP/1.0 without Host goes to the dialled address, which the app is told', async () => {
  const client = await say('GET / HTTP/1.0\r\n\r\n');
  assert.match(apps[0]?.heard ?? '', /^GET \/ HTTP\/1\.1\r\nhost: 10\.96\.0\.5:80\r\n/);
  client.stream.destroy();
});

test('a client that ends within its request line is let go', async () => {
  const client = await say('GET /a');
  client.stream.end();
  await harness.clock.advance(200);
  await harness.run();
  assert.equal(client.ended, true);
  assert.equal(harness.stack.stats().connections, 0);
});

test('a client that connects and finishes without a word is carried to its server, and its end too', async () => {
  const client = await say('');
  client.stream.end();
  await harness.run();
  await harness.clock.advance(200);
  assert.equal(apps[0]?.ended, true);
  apps[0]?.say('bye');
  apps[0]?.stream.end();
  await harness.run();
  assert.deepEqual([client.heard, client.ended], ['bye', true]);
  assert.equal(harness.stack.stats().connections, 0);
});

test('a client that finishes while its server may still speak first is carried on as well', async () => {
  const client = await say('');
  await harness.clock.advance(200);
  assert.equal(apps.length, 1);
  client.stream.end();
  await harness.run();
  assert.equal(apps[0]?.ended, true);
  apps[0]?.stream.end();
  await harness.run();
  assert.equal(harness.stack.stats().connections, 0);
});

test('other protocols pass as they are', async () => {
  for (const bytes of [
    'EHLO mail\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0',
    '*1\r\n$4\r\nPING\r\n',
    '\x16\x03\x01\0\x05hello',
  ]) {
    const client = await say(bytes);
    const app = apps.at(-1);
    assert.equal(app?.heard, bytes);
    app?.say('answer');
    await harness.run();
    assert.equal(client.heard, 'answer');
    client.stream.end();
    app?.stream.end();
    await harness.run();
  }
});

test('a declared protocol is believed: tcp is not looked at, http is not waited for', async () => {
  harness.service({ host: '10.96.0.5', protocol: 'tcp' });
  const raw = await say('GET / HTTP/1.1\r\n');
  assert.equal(apps[0]?.heard, 'GET / HTTP/1.1\r\n');
  raw.stream.destroy();
  harness.service({ host: '10.96.0.5', protocol: 'http' });
  const broken = await say('EHLO mail\r\n\r\n');
  assert.match(broken.heard, /^HTTP\/1\.1 400 /);
});

test('after silence the server may speak first', async () => {
  const client = await say('');
  assert.equal(apps.length, 0);
  await harness.clock.advance(150);
  apps[0]?.say('220 ready\r\n');
  await harness.run();
  assert.equal(client.heard, '220 ready\r\n');
  client.say('GET looks like a word\r\n');
  await harness.run();
  assert.equal(apps[0]?.heard, 'GET looks like a word\r\n');
  client.stream.end();
  apps[0]?.stream.end();
});

test('a client that was silent and then speaks HTTP first is routed all the same', async () => {
  const client = await say('');
  await harness.clock.advance(150);
  assert.equal(apps.length, 1);
  client.say('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await harness.run();
  assert.equal(apps[0]?.heard, '');
  assert.match(apps[1]?.heard ?? '', /traceparent/);
  client.stream.destroy();
});

test('a client that was silent is carried soon, although what it says might go on as HTTP', async () => {
  const client = await say('');
  await harness.clock.advance(150);
  client.say('hello');
  await harness.clock.advance(90);
  assert.equal(apps[0]?.heard, '');
  await harness.clock.advance(60);
  assert.equal(apps[0]?.heard, 'hello');
  apps[0]?.say('hello yourself');
  await harness.run();
  assert.equal(client.heard, 'hello yourself');
  client.stream.destroy();
});

for (const [words, waitMs] of [
  ['hello', 0],
  ['GET / HTTP/1.1\r\n\r\n', 0],
  ['\x16\x03', 5_100],
] as const) {
  test(`a port that is declared as tcp gets ${JSON.stringify(words)} as it is from a client that was silent`, async () => {
    const config = harness.fakes.config.inboundConfig;
    assert.ok(config);
    harness.fakes.config.inboundConfig = {
      ...config,
      ports: [{ port: 8_080, mode: 'PERMISSIVE', protocol: 'tcp' }],
    };
    await harness.inbound();
    const client = harness.dial(8_080);
    await harness.clock.advance(150);
    client.say(words);
    await harness.clock.advance(waitMs);
    await harness.run();
    assert.equal(apps[0]?.heard, words);
    client.stream.destroy();
    await harness.run();
  });
}

test('a silent client that leaves takes its connection along', async () => {
  const client = await say('');
  await harness.clock.advance(150);
  client.stream.resetAndDestroy?.();
  await harness.run();
  assert.ok(apps[0]?.closed || apps[0]?.error !== undefined);
});

test('bytes and the end of them at once still arrive', async () => {
  const client = harness.dial(80, '10.96.0.5');
  client.say('PING');
  await harness.run();
  client.stream.end();
  await harness.run();
  assert.equal(apps[0]?.heard, 'PING');
  assert.equal(apps[0]?.ended, true);
  apps[0]?.stream.end('PONG');
  await harness.run();
  assert.equal(client.heard, 'PONG');
});

test('an opaque connection that no endpoint takes is reset', async () => {
  harness.service({ host: '10.96.0.5', protocol: 'tcp', endpoints: [{ address: '10.0.0.66', port: 1 }] });
  const client = await say('x');
  await harness.clock.advance(500);
  assert.equal(client.error, 'ECONNRESET');
});

test('limit-connections: an opaque connection beyond the limit is reset', async () => {
  harness.service({ host: '10.96.0.5', protocol: 'tcp', limits: { maxConnections: 1 } });
  const first = await say('x');
  const second = await say('y');
  await harness.clock.advance(500);
  assert.ok(second.error !== undefined);
  assert.equal(first.closed, false);
  first.stream.destroy();
});

test('a sidecar does not dial itself', async () => {
  const client = harness.dial();
  client.say('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await harness.run();
  assert.ok(client.error !== undefined);
});

test('inbound without configuration waits for it, then refuses', async () => {
  await harness.inbound();
  const { inboundConfig } = harness.fakes.config;
  harness.fakes.config.inboundConfig = undefined;
  const early = harness.dial(8_080);
  early.say('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  const late = harness.dial(8_080);
  await harness.clock.advance(500);
  harness.fakes.config.inboundConfig = inboundConfig;
  await harness.clock.advance(100);
  assert.match(apps[0]?.heard ?? '', /^GET /);
  harness.fakes.config.inboundConfig = undefined;
  late.stream.destroy();
  const refused = harness.dial(8_080);
  await harness.clock.advance(1_200);
  assert.equal(refused.error, 'ECONNRESET');
  early.stream.destroy();
});

test('connections beyond the limit are reset', async () => {
  const small = new EngineHarness({ connectionsMax: 1 });
  await small.outbound();
  const first = small.dial();
  await small.run();
  const second = small.dial();
  await small.run();
  assert.equal(second.error, 'ECONNRESET');
  assert.equal(first.closed, false);
  await small.close();
});

test('detection does not depend on how bytes are split', () => {
  for (const [text, expected] of [
    ['GET /a HTTP/1.1\r\n', 'http1'],
    ['BREW /pot HTTP/1.1\r\n', 'http1'],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'http2'],
    ['HELO a\r\n', 'opaque'],
    ['\x16\x03\x03', 'tls'],
    ['\x16\x07\x03', 'opaque'],
    ['\0\x01', 'opaque'],
  ] as const) {
    let verdict: string | undefined;
    for (let length = 1; length <= text.length && verdict === undefined; length++) {
      verdict = detect(Buffer.from(text.slice(0, length), 'latin1'));
    }
    assert.equal(verdict, expected, text);
  }
});

test('a client of an HTTP port that is silent for long costs its app nothing, and is heard when it speaks', async () => {
  await harness.inbound();
  const { config } = harness.fakes;
  if (config.inboundConfig === undefined) throw new Error('no configuration');
  const ports = [{ port: 8_080, protocol: 'http', mode: 'PERMISSIVE' }] as const;
  config.inboundConfig = { ...config.inboundConfig, ports };
  const clients = [harness.dial(8_080), harness.dial(8_080)];
  await harness.clock.advance(60_000);
  assert.equal(apps.length, 0);
  clients[0]?.say('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await harness.run();
  apps[0]?.say('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  await harness.run();
  assert.match(clients[0]?.heard ?? '', /ok$/);
  await harness.clock.advance(245_000);
  assert.deepEqual([clients[1]?.ended, apps.length], [true, 1]);
});

test('a hello that comes in two parts, the second late, is not taken for the words of an opaque client', async () => {
  await harness.inbound();
  const bytes = records(hello(['h2']), 4_000).toString('latin1');
  const client = harness.dial(8_080);
  client.say(bytes.slice(0, 20));
  await harness.clock.advance(2_000);
  assert.equal(apps.length, 0);
  client.say(bytes.slice(20));
  await harness.run();
  assert.equal(apps[0]?.heard, bytes);
  const never = harness.dial(8_080);
  never.say(bytes.slice(0, 20));
  await harness.clock.advance(6_000);
  assert.equal(apps[1]?.heard, bytes.slice(0, 20), 'it may be no hello at all');
  for (const one of [client, never]) one.stream.destroy();
  await harness.run();
});
