import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import type { PolicyStage } from '../../proxy/stage.ts';
import { EngineHarness, type Talker } from '../../test/support/engine-harness.ts';
import type { FakeService } from '../../test/support/fake-config.ts';
import type { EngineLimits } from '../codec/limits.ts';

const MIRROR_HOST = '10.0.0.30';
const SECOND_HOST = '10.0.0.31';
const PORT = 9_000;
const GET = 'GET /a?b HTTP/1.1\r\nHost: catalog\r\nX-One: 1\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

let harness: EngineHarness;
let apps: Talker[];
let mirrors: Talker[];

async function begin(limits: Partial<EngineLimits> = {}, service: Partial<FakeService> = {}): Promise<void> {
  harness = new EngineHarness(limits);
  await harness.outbound();
  harness.service({ mirrors: ['mirror:80'], ...service });
  for (const [host, address] of [
    ['mirror', MIRROR_HOST],
    ['second', SECOND_HOST],
  ] as const) {
    harness.fakes.config.add({ host, port: 80, endpoints: [{ address, port: PORT }] });
  }
  apps = harness.app();
  mirrors = harness.app(MIRROR_HOST);
}

afterEach(async () => {
  await harness.close();
  assert.equal(harness.fakes.policy.inFlightNow, 0);
  assert.equal(harness.stack.stats().active, 0);
  assert.deepEqual(harness.stack.stats().mirrors, { inFlight: 0, heldBytes: 0 });
  assert.equal(harness.stack.stats().upstream.open, 0);
});

async function ask(text = GET): Promise<Talker> {
  const client = harness.dial();
  await says(client, text);
  return client;
}

async function says(talker: Talker | undefined, text: string): Promise<void> {
  assert.ok(talker !== undefined, 'there is a connection');
  talker.say(text);
  await harness.run();
}

/** A body as a kernel brings it: in pieces. */
async function saysMuch(talker: Talker, bytes: number): Promise<void> {
  const piece = 50_000;
  for (let said = 0; said < bytes; said += piece)
    await says(talker, 'x'.repeat(Math.min(piece, bytes - said)));
}

/** The client has its whole answer now. */
async function answered(client: Talker): Promise<void> {
  await says(apps.at(-1), OK);
  assert.match(client.heard, /^HTTP\/1\.1 200 OK\r\n.*ok$/s);
}

const mirrored = () => harness.fakes.telemetry.mirrored;
const post = (bytes: number, more = '') =>
  `POST /a HTTP/1.1\r\nHost: catalog\r\n${more}Content-Length: ${bytes}\r\n\r\n`;

test('a copy is the request itself but for its trace, and its answer is thrown away', async () => {
  await begin();
  const client = await ask();
  const [own, copy] = [apps[0]?.take() ?? '', mirrors[0]?.take() ?? ''];
  assert.match(copy, /^GET \/a\?b HTTP\/1\.1\r\nHost: catalog\r\nX-One: 1\r\n/);
  assert.notEqual(copy, own);
  assert.equal(copy.replace(/traceparent: .*\r\n/, ''), own.replace(/traceparent: .*\r\n/, ''));
  await says(mirrors[0], 'HTTP/1.1 500 Broken\r\nX-Mirror: 1\r\nContent-Length: 5\r\n\r\nwrong');
  assert.equal(client.heard, '');
  assert.deepEqual(mirrored(), [500]);
  await answered(client);
  client.take();
  await says(client, GET);
  assert.deepEqual([apps.length, mirrors.length], [1, 1], 'both connections are used again');
  await says(mirrors[0], OK);
  await answered(client);
});

test('bodies are copied in their framing, with trailers', async () => {
  await begin();
  const client = await ask(
    'PUT /a HTTP/1.1\r\nHost: catalog\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
  );
  await says(client, '2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n');
  for (const list of [apps, mirrors]) {
    assert.match(list[0]?.heard ?? '', /\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n$/);
  }
  await answered(client);
  await says(mirrors[0], OK);
  assert.deepEqual(mirrored(), [200]);
});

test('copies have the edits and rewriting of the rule and of the backend that the original goes to', async () => {
  const set = (name: string) => ({ set: [[name, '1'] as const], add: [], remove: ['x-one'] });
  await begin(
    {},
    {
      rule: {
        matches: [{ path: { kind: 'prefix', value: '/a' }, method: undefined, headers: [], queryParams: [] }],
        rewrite: { hostname: 'new.example', path: { kind: 'prefix', value: '/x' } },
        requestHeaders: { ...set('X-Rule'), remove: [] },
        backends: [
          {
            ...{ cluster: 'catalog:80', weight: 1, invalid: undefined, responseHeaders: undefined },
            requestHeaders: set('X-Backend'),
          },
        ],
      },
    },
  );
  const client = await ask();
  const [own, copy] = [apps[0]?.heard ?? '', mirrors[0]?.heard ?? ''];
  for (const head of [own, copy]) {
    assert.match(head, /^GET \/x\?b HTTP\/1\.1\r\nhost: new\.example\r\n/);
    assert.match(head, /X-Rule: 1/);
    assert.deepEqual([/X-Backend/.test(head), /X-One/.test(head)], [true, false]);
  }
  await answered(client);
  await says(mirrors[0], OK);
});

test('several mirrors get a copy each, and one that is dead costs the other nothing', async () => {
  await begin({}, { mirrors: ['mirror:80', 'second:80'] });
  const client = await ask(`${post(2)}hi`);
  assert.match(mirrors[0]?.heard ?? '', /\r\n\r\nhi$/);
  assert.deepEqual(mirrored(), ['connect-failure'], 'nobody listens at the second');
  await says(mirrors[0], OK);
  await answered(client);
  assert.deepEqual(mirrored(), ['connect-failure', 200]);
});

test('a mirror that never answers: its client is answered, and the copy ends with its time', async () => {
  await begin({ mirrorAnswerMs: 2_000 });
  const client = await ask();
  await answered(client);
  await harness.clock.advance(1_900);
  assert.deepEqual(mirrored(), []);
  await harness.clock.advance(200);
  assert.deepEqual(mirrored(), ['backend-timeout']);
  assert.equal(mirrors[0]?.error, 'ECONNRESET');
});

test("a rule's timeouts hold for its copies", async () => {
  await begin({}, { timeouts: { requestMs: 900, backendRequestMs: 300 } });
  const client = await ask();
  await answered(client);
  await harness.clock.advance(350);
  assert.deepEqual(mirrored(), ['backend-timeout']);
});

test("an open breaker or a full limit of the mirror's cluster drops the copy alone", async () => {
  await begin();
  const begin0: PolicyStage['begin'] = harness.fakes.policy.begin.bind(harness.fakes.policy);
  const policy: PolicyStage = harness.fakes.policy;
  policy.begin = (cluster, endpoint, isRetry) => {
    if (cluster.service !== 'mirror') return begin0(cluster, endpoint, isRetry);
    const error = { code: 'circuit-open', source: 'mesh', retrySafety: 'never', message: 'open' } as const;
    return { ok: false, error };
  };
  const client = await ask();
  assert.equal(mirrors.length, 0);
  await answered(client);
  assert.deepEqual(mirrored(), ['circuit-open']);
});

test('mirrorBufferBytesMax: a mirror that reads nothing loses the copy, and a huge body goes on at full pace', async () => {
  await begin({ mirrorBufferBytesMax: 200_000 });
  const bytes = 3_000_000;
  const client = await ask(post(bytes));
  mirrors[0]?.stream.pause();
  await saysMuch(client, bytes);
  assert.ok((apps[0]?.heard.length ?? 0) > bytes, 'the app has all of it');
  assert.deepEqual(mirrored(), ['body-too-large']);
  await answered(client);
});

test('a mirror that reads as fast as the app gets a huge body whole', async () => {
  await begin({ mirrorBufferBytesMax: 200_000 });
  const bytes = 3_000_000;
  const client = await ask(post(bytes));
  await saysMuch(client, bytes);
  assert.equal(mirrors[0]?.heard.endsWith('x'.repeat(bytes)), true);
  await answered(client);
  await says(mirrors[0], OK);
  assert.deepEqual(mirrored(), [200]);
});

test('mirrorsBufferBytesMax: all copies together hold no more than that', async () => {
  await begin({ mirrorsBufferBytesMax: 100_000 });
  const clients: Talker[] = [];
  for (let index = 0; index < 3; index++) {
    const client = await ask(post(250_000));
    for (const mirror of mirrors) mirror.stream.pause();
    clients.push(client);
    await saysMuch(client, 250_000);
  }
  assert.ok(mirrored().length >= 1 && mirrored().every((reason) => reason === 'overload'), `${mirrored()}`);
  assert.ok(harness.stack.stats().mirrors.heldBytes <= 100_000);
  assert.equal(
    apps.every(({ heard }) => heard.endsWith('x'.repeat(250_000))),
    true,
  );
  for (const client of clients) client.stream.resetAndDestroy?.();
  await harness.run();
});

test('mirrorsInFlightMax: beyond it requests go without copies', async () => {
  await begin({ mirrorsInFlightMax: 2 });
  const clients = [await ask(), await ask(), await ask()];
  assert.deepEqual([apps.length, mirrors.length], [3, 2]);
  assert.deepEqual(mirrored(), ['overload']);
  for (const app of apps) app.say(OK);
  await harness.run();
  assert.equal(
    clients.every(({ heard }) => heard.endsWith('ok')),
    true,
  );
  await says(mirrors[0], OK);
  await ask();
  assert.equal(mirrors[0]?.heard.match(/GET /g)?.length, 2, 'there is room again');
});

test('mirrorAnswerBytesMax: an answer longer than that is cut off', async () => {
  await begin({ mirrorAnswerBytesMax: 100_000 });
  const client = await ask();
  await answered(client);
  await says(mirrors[0], `HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(90_000)}`);
  assert.equal(mirrors[0]?.closed, false);
  await says(mirrors[0], 'x'.repeat(20_000));
  assert.equal(mirrors[0]?.error, 'ECONNRESET');
  assert.deepEqual(mirrored(), [200]);
});

test('a client that aborts inside its body takes its copies with it, since they can not be whole', async () => {
  await begin();
  const client = await ask(`${post(100)}half`);
  assert.match(mirrors[0]?.heard ?? '', /half$/);
  client.stream.resetAndDestroy?.();
  await harness.run();
  assert.equal(mirrors[0]?.error, 'ECONNRESET');
  assert.deepEqual(mirrored(), ['downstream-reset']);
});

test('a client that leaves after its request was whole leaves its copy to be served', async () => {
  await begin();
  const client = await ask(`${post(2)}hi`);
  client.stream.resetAndDestroy?.();
  await harness.run();
  assert.equal(apps[0]?.error, 'ECONNRESET');
  assert.equal(mirrors[0]?.error, undefined);
  await says(mirrors[0], OK);
  assert.deepEqual(mirrored(), [200]);
});

test('an app that answers early ends the request, and the copy that is not whole', async () => {
  await begin();
  const client = await ask(`${post(100)}half`);
  await answered(client);
  assert.match(client.heard, /connection: close/);
  assert.deepEqual(mirrored(), ['downstream-reset']);
});

test('a mirror that answers early has its answer, and gets no more of the body', async () => {
  await begin();
  const client = await ask(`${post(8)}half`);
  await says(mirrors[0], OK);
  assert.deepEqual(mirrored(), [200]);
  assert.equal(mirrors[0]?.ended, true);
  await says(client, 'rest');
  assert.match(apps[0]?.heard ?? '', /halfrest$/);
  await answered(client);
});

test('an app that is dead fails its client and not the copy', async () => {
  await begin({}, { endpoints: [{ address: '10.0.0.99', port: PORT }], retry: { attempts: 0 } });
  const client = await ask(`${post(2)}hi`);
  assert.match(client.heard, /^HTTP\/1\.1 503 /);
  assert.match(mirrors[0]?.heard ?? '', /hi$/);
  await says(mirrors[0], OK);
  assert.deepEqual(mirrored(), [200]);
});

test('retries of a request make no more copies of it', async () => {
  await begin({}, { retry: { attempts: 1, codes: [503], methods: ['GET'], backoffBaseMs: 0 } });
  const client = await ask();
  await says(apps[0], 'HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n');
  await answered(client);
  assert.equal(mirrors.length, 1);
  assert.equal(mirrors[0]?.heard.match(/GET /g)?.length, 1);
});

test('a delay holds the copy as it holds the request', async () => {
  await begin({}, { delayMs: 500 });
  const client = await ask(`${post(2)}hi`);
  assert.equal(mirrors.length, 0);
  await harness.clock.advance(550);
  assert.match(mirrors[0]?.heard ?? '', /hi$/);
  await answered(client);
});

test('a request to switch protocols goes without a copy', async () => {
  await begin();
  const client = await ask(
    'GET / HTTP/1.1\r\nHost: catalog\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
  );
  assert.equal(mirrors.length, 0);
  await answered(client);
});

test('an idle connection that its mirror had closed is replaced by a new one, for a request without harm', async () => {
  await begin();
  const client = await ask();
  await says(mirrors[0], OK);
  await answered(client);
  client.take();
  mirrors[0]?.stream.once('data', () => mirrors[0]?.stream.resetAndDestroy?.());
  await says(client, GET);
  assert.equal(mirrors.length, 2);
  await says(mirrors[1], OK);
  await answered(client);
  assert.deepEqual(mirrored(), [200, 200]);
});

test('a mirror that breaks off is counted, and its client knows nothing of it', async () => {
  await begin();
  const client = await ask();
  mirrors[0]?.stream.resetAndDestroy?.();
  await harness.run();
  assert.deepEqual(mirrored(), ['upstream-reset']);
  await answered(client);
});

test('draining waits for no mirror, and closing leaves none behind', async () => {
  await begin();
  const client = await ask();
  await answered(client);
  client.stream.destroy();
  await harness.run();
  let drained = false;
  harness.stack.drain(10_000).then(() => {
    drained = true;
  });
  await harness.clock.advance(1_500);
  assert.equal(drained, true);
  assert.equal(harness.stack.stats().mirrors.inFlight, 1);
  await harness.close();
  assert.deepEqual(mirrored(), ['draining']);
});
