import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EngineHarness, SIDECAR_HOST, type Talker } from '../../test/support/engine-harness.ts';
import { OwnAddresses } from './own-addresses.ts';

const POD = '10.0.0.9';

let harness: EngineHarness;

beforeEach(async () => {
  harness = new EngineHarness({}, [POD, 'fd10:244::7']);
  await harness.outbound();
});

afterEach(async () => {
  await harness.close();
  assert.equal(harness.stack.stats().active, 0);
});

async function ask(text: string): Promise<Talker> {
  const client = harness.dial();
  client.say(text);
  await harness.run();
  return client;
}

const REFUSED = /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: unknown-destination\r\n/;

test('the control ports of the own pod and of any loopback address are out of reach, in every form', () => {
  const own = new OwnAddresses([POD, 'fd10:244::7']);
  const hosts = [
    ...[POD, '::ffff:10.0.0.9', 'fd10:244::7', 'fd10:0244:0:0:0:0:0:7', '127.0.0.1', '127.244.0.5'],
    ...['::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '::ffff:7f00:1', '0.0.0.0', '::', '::ffff:0.0.0.0'],
  ];
  for (const host of hosts) {
    for (const port of [15_000, 15_001, 15_006, 15_009]) assert.equal(own.has(host, port), true, host);
    for (const port of [80, 15_020, 15_021]) assert.equal(own.has(host, port), false, `${host} ${port}`);
  }
  for (const host of ['10.0.0.8', '8.8.8.8', 'fd10:244::8', 'localhost', '127.0.0.1.example', '']) {
    assert.equal(own.has(host, 15_000), false, host);
  }
});

test('a listener on every address is the pod at each of its addresses; one on one address is only that', () => {
  const own = new OwnAddresses([POD]);
  own.listensOn('0.0.0.0', 20_001);
  own.listensOn('10.1.1.1', 20_002);
  assert.deepEqual(
    [own.has(POD, 20_001), own.has('127.0.0.1', 20_001), own.has('10.1.1.1', 20_001)],
    [true, true, false],
  );
  assert.deepEqual([own.has('10.1.1.1', 20_002), own.has(POD, 20_002)], [true, false]);
});

for (const authority of [
  ...['127.0.0.1:15000', '[::1]:15000', '[::ffff:127.0.0.1]:15000', '0.0.0.0:15000', `${POD}:15000`],
  ...[`${POD}:15001`, `${POD}:15006`, '[fd10:244::7]:15009'],
]) {
  test(`a request for ${authority} through the proxy is refused`, async () => {
    for (const text of [
      `POST http://${authority}/quit HTTP/1.1\r\nHost: harmless\r\nContent-Length: 0\r\n\r\n`,
      `POST /quit HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: 0\r\n\r\n`,
      `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`,
    ]) {
      const client = await ask(text);
      assert.match(client.heard, REFUSED);
      assert.equal(client.heard.split('HTTP/1.1').length, 2);
    }
  });
}

test('a name that resolves to the sidecar is refused, and so is a number that stands for an address', async () => {
  for (const host of ['loop.example', '2130706433', '0x7f000001', '127.1']) {
    harness.fakes.resolver.resolve = (asked: string) =>
      asked === host ? Promise.resolve('127.0.0.1') : Promise.reject(new Error('ENOTFOUND'));
    const client = await ask(
      `POST http://${host}:15000/quit HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`,
    );
    assert.match(client.heard, REFUSED);
  }
});

test('CONNECT to a place that the mesh does not let through is refused before it is granted', async () => {
  harness.fakes.config.settings({ outboundUnknown: 'DENY' });
  const denied = await ask('CONNECT outside.example:443 HTTP/1.1\r\nHost: outside.example:443\r\n\r\n');
  assert.match(denied.heard, REFUSED);
  const { found } = harness.fakes.config;
  for (const kind of ['external', 'unavailable'] as const) {
    harness.fakes.config.found = () => Promise.resolve({ kind });
    const later = await ask('CONNECT outside.example:443 HTTP/1.1\r\nHost: outside.example:443\r\n\r\nhello');
    assert.match(later.heard, /^HTTP\/1\.1 503 /);
  }
  harness.fakes.config.found = found;
});

test('a CONNECT whose place is found later is granted then, with what the client said meanwhile', async () => {
  let answer: (found: { kind: 'external' }) => void = () => undefined;
  harness.fakes.config.found = () =>
    new Promise((resolve) => {
      answer = resolve;
    });
  const outside = harness.app('10.9.9.9', 443);
  const client = await ask(
    'CONNECT outside.example:443 HTTP/1.1\r\nHost: outside.example:443\r\n\r\n\x16\x03\x01',
  );
  assert.equal(client.heard, '');
  harness.fakes.config.found = () => ({ kind: 'external' });
  answer({ kind: 'external' });
  await harness.run();
  assert.equal(client.take(), 'HTTP/1.1 200 Connection Established\r\n\r\n');
  await harness.clock.advance(200);
  assert.equal(outside[0]?.heard, '\x16\x03\x01');
  client.stream.destroy();
  await harness.run();
});

test('a client that leaves while its CONNECT is looked at is forgotten', async () => {
  let answer: (found: { kind: 'external' }) => void = () => undefined;
  harness.fakes.config.found = () =>
    new Promise((resolve) => {
      answer = resolve;
    });
  const client = await ask('CONNECT outside.example:443 HTTP/1.1\r\nHost: outside.example:443\r\n\r\n');
  client.stream.resetAndDestroy?.();
  await harness.run();
  answer({ kind: 'external' });
  await harness.run();
  assert.equal(harness.stack.stats().connections, 0);
});

test('a captured connection that was dialled to a control port of the pod goes nowhere', async () => {
  const captured = new EngineHarness({}, [POD]);
  await captured.stack.listenInbound(
    { host: '0.0.0.0', port: 15_006 },
    { containerPort: undefined, app: undefined },
  );
  for (const port of [15_000, 15_001, 15_006, 15_009]) {
    captured.capture(SIDECAR_HOST, port);
    const client = captured.dial(port);
    client.say('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await captured.run();
    await captured.clock.advance(500);
    assert.deepEqual([client.error !== undefined, client.heard], [true, ''], String(port));
  }
  assert.equal(captured.stack.stats().connections, 0);
  await captured.close();
});

test('a captured connection to the outbound port itself does not come back to it', async () => {
  const captured = new EngineHarness({}, [POD]);
  await captured.stack.listenOutbound({ host: '0.0.0.0', port: 15_001 }, 'transparent');
  captured.capture(POD, 15_001);
  const client = captured.dial(15_001, POD);
  client.say('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await captured.run();
  assert.deepEqual([client.error !== undefined, client.heard], [true, '']);
  assert.equal(captured.stack.stats().upstream.open, 0);
  await captured.close();
});
