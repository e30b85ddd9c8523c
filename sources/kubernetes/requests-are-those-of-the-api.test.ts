import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { HeddleError } from '../../common/errors.ts';
import { ByteStream } from '../../test/support/kubernetes/byte-stream.ts';
import { status } from '../../test/support/kubernetes/fake-api.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { type KubernetesClient, kubernetesClient, orMissing } from './client.ts';
import { hasReason, KubernetesError } from './errors.ts';
import { KINDS } from './kinds.ts';
import { EVENT_BYTES_MAX, REQUEST_TIMEOUT_MS } from './limits.ts';
import type { WatchEvent } from './lines.ts';
import type { ApiRequest, ApiResponse } from './transport.ts';

leakCheck();

const RESPONSE_BYTES_MAX = 10_000;
const SERVICE = { apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'shop', name: 'cart' } };
const CART = { namespace: 'shop', name: 'cart' };

let clock: VirtualClock;
let client: KubernetesClient;
let asked: ApiRequest[];
let renewed: number;
/** Answers in turn; the fake refuses what it wasn't told to expect. */
let answers: ((request: ApiRequest) => ApiResponse | Promise<ApiResponse>)[];

beforeEach(() => {
  clock = new VirtualClock();
  asked = [];
  answers = [];
  renewed = 0;
  client = kubernetesClient({
    clock,
    responseBytesMax: RESPONSE_BYTES_MAX,
    transport: {
      async send(request) {
        asked.push(request);
        const answer = answers.shift();
        assert.ok(answer !== undefined, `unexpected: ${request.method} ${request.path}`);
        return answer(request);
      },
      renew: () => {
        renewed++;
      },
      close: () => undefined,
    },
  });
});

function json(value: unknown, code = 200): () => ApiResponse {
  return () => text(JSON.stringify(value), code);
}

function text(content: string, code = 200): ApiResponse {
  const body = new ByteStream(new AbortController().signal);
  body.push(content);
  body.end();
  return { status: code, headers: {}, body };
}

const summary = () => {
  const last = asked.at(-1);
  return [last?.method, last?.path, last?.headers['content-type'], last?.body && JSON.parse(last.body)];
};

test('each call is the request that the API asks for', async () => {
  const path = '/api/v1/namespaces/shop/services/cart';
  const dryRun = { dryRun: true };
  const calls: readonly (readonly [() => Promise<unknown>, readonly unknown[]])[] = [
    [() => client.get(KINDS.service, CART), ['GET', path, undefined, undefined]],
    [() => client.get(KINDS.node, { name: 'n 1' }), ['GET', '/api/v1/nodes/n%201', undefined, undefined]],
    [
      () => client.create(KINDS.service, SERVICE),
      ['POST', '/api/v1/namespaces/shop/services', 'application/json', SERVICE],
    ],
    [
      () => client.create(KINDS.tokenReview, { spec: { token: 't' } }),
      ['POST', '/apis/authentication.k8s.io/v1/tokenreviews', 'application/json', { spec: { token: 't' } }],
    ],
    [
      () => client.replace(KINDS.service, SERVICE, dryRun),
      ['PUT', `${path}?dryRun=All`, 'application/json', SERVICE],
    ],
    [
      () => client.replaceStatus(KINDS.service, SERVICE),
      ['PUT', `${path}/status`, 'application/json', SERVICE],
    ],
    [
      () => client.patch(KINDS.service, CART, { type: 'merge', body: { a: null } }),
      ['PATCH', path, 'application/merge-patch+json', { a: null }],
    ],
    [
      () => client.patch(KINDS.service, CART, { type: 'json', body: [{ op: 'remove', path: '/a' }] }),
      ['PATCH', path, 'application/json-patch+json', [{ op: 'remove', path: '/a' }]],
    ],
    [
      () =>
        client.patchStatus(KINDS.service, CART, { type: 'apply', body: {}, fieldManager: 'h', force: true }),
      ['PATCH', `${path}/status?fieldManager=h&force=true`, 'application/apply-patch+yaml', {}],
    ],
    [
      () => client.delete(KINDS.service, CART, { preconditions: { uid: 'u' } }),
      [
        'DELETE',
        path,
        'application/json',
        { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: 'u' } },
      ],
    ],
    [() => client.read('/version'), ['GET', '/version', undefined, undefined]],
  ];
  for (const [call, wanted] of calls) {
    answers = [json(SERVICE)];
    await call();
    assert.deepEqual(summary(), wanted);
  }
});

test('items of a list say what they are, and where the list goes on', async () => {
  const items = [{ metadata: CART }];
  answers = [json({ kind: 'ServiceList', items, metadata: { resourceVersion: '7', continue: 'more' } })];
  const list = await client.list(KINDS.service, { namespace: 'shop', labelSelector: 'a=b', limit: 5 });
  assert.deepEqual(list, { items: [SERVICE], resourceVersion: '7', continue: 'more' });
  assert.equal(asked[0]?.path, '/api/v1/namespaces/shop/services?labelSelector=a%3Db&limit=5');
});

test('a refusal says why, as the API does', async () => {
  const cases = [
    [
      status(404, 'NotFound', 'services "cart" not found'),
      'NotFound',
      /services "cart" not found \(404 NotFound\)/,
    ],
    [status(409, 'AlreadyExists', 'it is there'), 'AlreadyExists', /it is there/],
    [status(409, 'Conflict', 'the object has been modified'), 'Conflict', /modified/],
    [text('404 page not found\n', 404), 'NotFound', /404 page not found/],
    [text('<html>bad gateway', 502), 'InternalError', /bad gateway/],
  ] as const;
  for (const [answer, reason, message] of cases) {
    answers = [() => answer];
    const thrown = await client.get(KINDS.service, CART).catch((error: unknown) => error);
    assert.ok(thrown instanceof KubernetesError && hasReason(thrown, reason), reason);
    assert.match(thrown.message, /^GET \/api\/v1\/namespaces\/shop\/services\/cart: /);
    assert.match(thrown.message, message);
  }
  answers = [() => status(404, 'NotFound', 'no')];
  assert.equal(await orMissing(client.get(KINDS.service, CART)), undefined);
  answers = [() => status(403, 'Forbidden', 'no')];
  await assert.rejects(orMissing(client.get(KINDS.service, CART)), (error) => hasReason(error, 'Forbidden'));
});

test('a server that wants to be left alone says how long', async () => {
  answers = [() => ({ ...status(429, 'TooManyRequests', 'later'), headers: { 'retry-after': '3' } })];
  const thrown = await client.get(KINDS.service, CART).catch((error: unknown) => error);
  assert.ok(thrown instanceof KubernetesError);
  assert.equal(thrown.retryAfterMs, 3_000);
});

test('credentials that ran out are read anew once', async () => {
  answers = [() => status(401, 'Unauthorized', 'no'), json(SERVICE)];
  await client.get(KINDS.service, CART);
  assert.equal(renewed, 1);
  answers = [() => status(401, 'Unauthorized', 'no'), () => status(401, 'Unauthorized', 'still no')];
  await assert.rejects(client.get(KINDS.service, CART), (error) => hasReason(error, 'Unauthorized'));
  assert.equal(asked.length, 4);
});

const code = (wanted: string) => (thrown: unknown) => thrown instanceof HeddleError && thrown.code === wanted;

test('an answer that is too long, or none at all, is an error', async () => {
  answers = [() => text(JSON.stringify({ ...SERVICE, data: 'x'.repeat(RESPONSE_BYTES_MAX) }))];
  await assert.rejects(client.get(KINDS.service, CART), code('kubernetes-answer'));
  for (const content of ['', '{"kind":', '[]', '{"kind":"Service"}']) {
    answers = [() => text(content)];
    await assert.rejects(client.get(KINDS.service, CART), code('kubernetes-answer'));
  }
  answers = [json({ items: {} })];
  await assert.rejects(client.list(KINDS.service), code('kubernetes-answer'));
});

test('an answer that stops half-way is given up', async () => {
  let leftAt = 0;
  answers = [
    ({ signal }) => {
      const body = new ByteStream(signal, () => {
        leftAt = clock.now();
      });
      body.push('{"kind":');
      return { status: 200, headers: {}, body };
    },
  ];
  const failed = assert.rejects(client.get(KINDS.service, CART), code('kubernetes-timeout'));
  await clock.advance(REQUEST_TIMEOUT_MS);
  await failed;
  assert.equal(leftAt, REQUEST_TIMEOUT_MS);
});

async function watched(chunks: readonly (string | Uint8Array)[]): Promise<WatchEvent[]> {
  answers = [
    () => ({
      ...{ status: 200, headers: {} },
      body: (async function* () {
        for (const chunk of chunks) yield Buffer.from(chunk);
      })(),
    }),
  ];
  const events: WatchEvent[] = [];
  const options = { resourceVersion: '7', lastsMs: 60_000, fieldSelector: 'metadata.name=cart' };
  for await (const batch of client.watch(KINDS.service, options)) events.push(...batch);
  return events;
}

test('a watch is cut into its events wherever its bytes are', async () => {
  const event = (name: string) => ({ type: 'ADDED', object: { ...SERVICE, metadata: { name } } });
  const stream = [event('a'), event('ü'), event('c')].map((one) => `${JSON.stringify(one)}\n`).join('');
  for (const size of [1, 7, 64, 1_000]) {
    const bytes = Buffer.from(stream);
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
      bytes.subarray(index * size, (index + 1) * size),
    );
    const events = await watched(chunks);
    assert.deepEqual(events, [event('a'), event('ü'), event('c')]);
  }
  assert.equal(
    asked.at(-1)?.path,
    '/api/v1/services?fieldSelector=metadata.name%3Dcart&watch=true&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds=60',
  );
});

test('an event that was cut off never was, and one that is none is an error', async () => {
  const whole = `${JSON.stringify({ type: 'ADDED', object: SERVICE })}\n`;
  assert.equal((await watched([whole, whole.slice(0, 20)])).length, 1);
  assert.equal((await watched([whole, '\n', '\r\n'])).length, 1);
  for (const line of ['{"type":\n', '{"type":"MOVED","object":{}}\n', '{"type":"ADDED"}\n'])
    await assert.rejects(watched([line]), code('kubernetes-answer'));
  const long = 'x'.repeat(EVENT_BYTES_MAX / 4 + 1);
  await assert.rejects(watched([long, long, long, long]), code('kubernetes-answer'));
});
