import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { HeaderEdit, RouteMatch, RouteRule, UrlRewrite, WeightedBackend } from '../../model/snapshot.ts';
import { EngineHarness, type Talker } from '../../test/support/engine-harness.ts';

let harness: EngineHarness;
let apps: Talker[];
let seconds: Talker[];

const ENDPOINTS = [
  { address: '10.0.0.20', port: 9_000 },
  { address: '10.0.0.21', port: 9_000 },
];

beforeEach(async () => {
  harness = new EngineHarness();
  await harness.outbound();
  apps = harness.app('10.0.0.20');
  seconds = harness.app('10.0.0.21');
});

afterEach(async () => {
  await harness.close();
  assert.equal(harness.fakes.policy.inFlightNow, 0);
  assert.equal(harness.stack.stats().active, 0);
});

const OK = 'HTTP/1.1 200 OK\r\nX-From: app\r\nContent-Length: 2\r\n\r\nok';

const under = (prefix: string): RouteMatch => ({
  path: { kind: 'prefix', value: prefix },
  method: undefined,
  headers: [],
  queryParams: [],
});

const edit = (part: Partial<HeaderEdit>): HeaderEdit => ({ set: [], add: [], remove: [], ...part });

const backend = (part: Partial<WeightedBackend>): WeightedBackend => ({
  cluster: 'catalog:80',
  weight: 1,
  invalid: undefined,
  requestHeaders: undefined,
  responseHeaders: undefined,
  ...part,
});

function serve(rule: Partial<RouteRule>, retries = 0): void {
  const retry = { attempts: retries, codes: [503], methods: ['GET', 'PUT'], backoffBaseMs: 0 };
  harness.service({ endpoints: ENDPOINTS, rule, retry });
}

const rewriting = (rewrite: Partial<UrlRewrite>, prefix = '/a') => ({
  matches: [under(prefix)],
  rewrite: { hostname: undefined, path: undefined, ...rewrite },
});

async function ask(line: string, fields = 'Host: catalog\r\n', body = ''): Promise<Talker> {
  const client = harness.dial();
  client.say(`${line} HTTP/1.1\r\n${fields}\r\n${body}`);
  await harness.run();
  return client;
}

async function answer(list: readonly Talker[] = apps, text = OK): Promise<void> {
  list[0]?.say(text);
  await harness.run();
}

const heardBy = (list: readonly Talker[]) => list[0]?.heard ?? '';
const lineOf = (list: readonly Talker[]) => heardBy(list).split('\r\n')[0];
const valuesOf = (list: readonly Talker[], name: string) =>
  [...heardBy(list).matchAll(new RegExp(`^${name}: (.*)\r$`, 'gim'))].map((match) => match[1]);

test('an empty query goes on, too', async () => {
  serve(rewriting({ path: { kind: 'full', value: '/x' } }));
  await ask('GET http://catalog/a/b?', 'Host: other\r\n');
  assert.equal(lineOf(apps), 'GET /x? HTTP/1.1');
  await answer();
});

test('a prefix is replaced and the query goes on as it came', async () => {
  serve(rewriting({ path: { kind: 'prefix', value: '/x' } }));
  await ask('GET /a/b%2Fc?d=%20e?f');
  assert.equal(lineOf(apps), 'GET /x/b%2Fc?d=%20e?f HTTP/1.1');
  assert.deepEqual(valuesOf(apps, 'host'), ['catalog']);
  await answer();
});

test('a whole path is replaced, by a query of the request itself followed', async () => {
  serve(rewriting({ path: { kind: 'full', value: '/one' } }));
  await ask('GET /a/b?c');
  assert.equal(lineOf(apps), 'GET /one?c HTTP/1.1');
  await answer();
});

test('Host is replaced, whatever a header edit says of it, and no X-Forwarded-Host is written', async () => {
  serve({
    ...rewriting({ hostname: 'new.example' }),
    requestHeaders: edit({ set: [['Host', 'edited.example']] }),
  });
  await ask('GET /a');
  assert.deepEqual(valuesOf(apps, 'host'), ['new.example']);
  assert.deepEqual(valuesOf(apps, 'x-forwarded-host'), []);
  await answer();
});

const setHost = (value: string) => edit({ set: [['Host', value]] });
for (const [how, rule] of [
  ['rewritten', rewriting({ hostname: 'rule.example' })],
  ['edited', { requestHeaders: setHost('rule.example') }],
] as const) {
  test(`a backend's Host comes after that of its rule, ${how}`, async () => {
    serve({ ...rule, backends: [backend({ requestHeaders: setHost('backend.example') })] });
    await ask('GET /a');
    assert.deepEqual(valuesOf(apps, 'host'), ['backend.example']);
    await answer();
  });
}

test('an absolute target goes on as a rewritten path under the new Host', async () => {
  serve(rewriting({ hostname: 'new.example', path: { kind: 'prefix', value: '/x' } }));
  await ask('GET http://catalog/a/b?c', 'Host: elsewhere\r\n');
  assert.equal(lineOf(apps), 'GET /x/b?c HTTP/1.1');
  assert.deepEqual(valuesOf(apps, 'host'), ['new.example']);
  await answer();
});

test('"OPTIONS *" has no path to rewrite', async () => {
  serve(rewriting({ path: { kind: 'full', value: '/one' } }, '/'));
  await ask('OPTIONS *');
  assert.equal(lineOf(apps), 'OPTIONS * HTTP/1.1');
  await answer();
});

test('a retry is rewritten as the first attempt was, and telemetry keeps what the client asked for', async () => {
  serve(
    {
      ...rewriting({ hostname: 'new.example', path: { kind: 'prefix', value: '/x' } }),
      backends: [backend({ requestHeaders: edit({ add: [['X-Backend', 'b']] }) })],
      requestHeaders: edit({ add: [['X-Rule', 'r']], remove: ['x-gone'] }),
    },
    1,
  );
  const client = await ask('PUT /a/b?c', 'Host: catalog\r\nX-Gone: 1\r\nContent-Length: 2\r\n', 'hi');
  await answer(apps, 'HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n');
  for (const list of [apps, seconds]) {
    assert.equal(lineOf(list), 'PUT /x/b?c HTTP/1.1');
    assert.deepEqual(valuesOf(list, 'host'), ['new.example']);
    assert.deepEqual([valuesOf(list, 'x-rule'), valuesOf(list, 'x-backend')], [['r'], ['b']]);
    assert.deepEqual(valuesOf(list, 'x-gone'), []);
    assert.match(heardBy(list), /\r\n\r\nhi$/);
  }
  await answer(seconds);
  assert.match(client.heard, /ok$/);
  const [info] = harness.fakes.telemetry.opened;
  assert.deepEqual([info?.view.path, info?.view.query, info?.authority], ['/a/b', 'c', 'catalog']);
});

test("a backend's edits come after the rule's, and see what they did", async () => {
  serve({
    requestHeaders: edit({
      set: [
        ['X-Both', 'rule'],
        ['X-Taken', 'rule'],
      ],
      add: [['X-List', 'rule']],
    }),
    backends: [
      backend({
        requestHeaders: edit({
          set: [['x-both', 'backend']],
          add: [['X-List', 'backend']],
          remove: ['x-taken'],
        }),
        responseHeaders: edit({ set: [['X-From', 'backend']], add: [['X-More', '1']] }),
      }),
    ],
    responseHeaders: edit({ set: [['X-From', 'rule']] }),
  });
  const client = await ask('GET /a', 'Host: catalog\r\nX-Both: client\r\nX-List: client\r\n');
  assert.deepEqual(valuesOf(apps, 'x-both'), ['backend']);
  assert.deepEqual(valuesOf(apps, 'x-list'), ['client', 'rule', 'backend']);
  assert.deepEqual(valuesOf(apps, 'x-taken'), []);
  await answer();
  assert.deepEqual(valuesOf([client], 'x-from'), ['backend']);
  assert.deepEqual(valuesOf([client], 'x-more'), ['1']);
});

test('neither a rule nor a backend touches framing', async () => {
  const framing = edit({
    set: [
      ['Content-Length', '99'],
      ['Transfer-Encoding', 'chunked'],
      ['Connection', 'close'],
    ],
    remove: ['content-length', 'host'],
  });
  serve({ requestHeaders: framing, backends: [backend({ requestHeaders: framing })] });
  await ask('POST /a', 'Host: catalog\r\nContent-Length: 2\r\n', 'hi');
  assert.deepEqual(valuesOf(apps, 'content-length'), ['2']);
  assert.deepEqual(valuesOf(apps, 'transfer-encoding'), []);
  assert.deepEqual(valuesOf(apps, 'connection'), []);
  assert.deepEqual(valuesOf(apps, 'host'), ['catalog']);
  await answer();
});
