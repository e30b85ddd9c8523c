import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../common/random.ts';
import type { AttemptOutcome, Forward } from '../../model/decision-types.ts';
import { DEFAULT_CLUSTER_POLICY, DEFAULT_REQUEST_POLICY } from '../../model/policy-types.ts';
import type { Endpoint, RouteMatch, RouteRule } from '../../model/snapshot.ts';
import type { RequestInfo, RequestResult } from '../stage.ts';
import { headersRecordedMax, RequestRecord, reasonsMax, textCharsMax } from './request-record.ts';
import type { SpanRecord } from './span-record.ts';
import { parseTraceparent, type TraceContext } from './trace-context.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';
const CONTEXT: TraceContext = {
  ...{ traceId: TRACE, parentId: PARENT, sampled: true, state: 'vendor=1', b3: undefined },
};
const WALL_OFFSET_MS = 1_000_000;

const endpoint = (address: string): Endpoint => ({
  ...{ key: `${address}:8080`, address, port: 8080, pod: 'shop/catalog-1', node: undefined, zone: undefined },
  ...{ weight: 1, health: 'ready', mtls: true, identities: ['spiffe://cluster.local/ns/shop/sa/catalog'] },
});

function forward(headerNames: readonly string[] = []): Forward {
  const match: RouteMatch = {
    path: { kind: 'prefix', value: '/' },
    method: undefined,
    headers: headerNames.map((name) => ({ name, match: { kind: 'exact', value: 'x' } })),
    queryParams: [],
  };
  const rule: RouteRule = {
    ...{
      id: 'HTTPRoute/shop/catalog#0',
      matches: [match],
      requestHeaders: undefined,
      responseHeaders: undefined,
    },
    ...{ redirect: undefined, rewrite: undefined, mirrors: [] },
    ...{ backends: [], policy: DEFAULT_REQUEST_POLICY, createdAtMs: 0, object: 'shop/catalog', ruleIndex: 0 },
  };
  const service = { namespace: 'shop', service: 'catalog', port: 80, protocol: 'http' } as const;
  return {
    kind: 'forward',
    destination: {
      ...{ key: 'catalog.shop.svc.cluster.local:80', ...service, addresses: [], entries: [{ match, rule }] },
      ...{ defaultCluster: 'outbound|80||catalog.shop.svc.cluster.local', policy: DEFAULT_REQUEST_POLICY },
    },
    ...{ rule, match, backend: undefined, mirrors: [] },
    cluster: {
      ...{ name: 'outbound|80||catalog.shop.svc.cluster.local', ...service },
      ...{ policy: DEFAULT_CLUSTER_POLICY, endpoints: [] },
    },
    endpoint: endpoint('10.0.0.1'),
    policy: DEFAULT_REQUEST_POLICY,
    timeouts: DEFAULT_REQUEST_POLICY.timeouts,
    delayMs: 0,
  };
}

interface Setup {
  readonly direction?: RequestInfo['direction'];
  readonly authority?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly context?: TraceContext | undefined;
  readonly sampled?: boolean;
}

function record(setup: Setup = {}): RequestRecord {
  const headers = setup.headers ?? {};
  const info: RequestInfo = {
    direction: setup.direction ?? 'outbound',
    view: {
      ...{ method: 'GET', path: setup.path ?? '/items', query: 'page=2', sourceAddress: '10.0.0.9' },
      header: (name) => headers[name],
    },
    authority: setup.authority ?? 'catalog',
    peer: setup.direction === 'inbound' ? 'spiffe://cluster.local/ns/shop/sa/web' : undefined,
    startedAtMs: 100,
  };
  const owner = { random: seededRandom(7), finished: () => true, mirrored: () => undefined };
  const context = 'context' in setup ? setup.context : CONTEXT;
  return new RequestRecord(owner, info, context, setup.sampled ?? true);
}

const result = (part: Partial<RequestResult> = {}): RequestResult => ({
  ...{ status: 200, failure: undefined, requestBytes: 3, responseBytes: 5, endedAtMs: 150 },
  ...part,
});
const answered = (status: number): AttemptOutcome => ({ kind: 'response', status, appRefused: false });
const spansOf = (one: RequestRecord, part?: Partial<RequestResult>): SpanRecord[] =>
  one.spans(result(part), (atMs) => atMs + WALL_OFFSET_MS);

test('an outbound request is a client span with a child per attempt, by the ids that went upstream', () => {
  const one = record();
  one.decided(forward());
  const first = one.attempt(1, endpoint('10.0.0.1'), 101);
  first.end(
    {
      kind: 'failure',
      condition: 'connect-failure',
      failure: { code: 'connect-failure', source: 'upstream', retrySafety: 'always', message: 'refused' },
    },
    110,
    'closed',
  );
  const second = one.attempt(2, endpoint('10.0.0.2'), 120);
  second.end(answered(200), 149, 'closed');
  const [own, ...attempts] = spansOf(one);
  assert.deepEqual(
    [own?.kind, own?.name, own?.traceId, own?.parentId, own?.parentRemote, own?.startMs, own?.endMs],
    ['client', 'GET catalog', TRACE, PARENT, true, 1_000_100, 1_000_150],
  );
  assert.equal(own?.error, undefined);
  assert.equal(own?.traceState, 'vendor=1');
  assert.deepEqual(
    attempts.map((span) => [span.name, span.parentId, span.startMs, span.endMs, span.error]),
    [
      ['attempt 1', own?.spanId, 1_000_101, 1_000_110, 'refused'],
      ['attempt 2', own?.spanId, 1_000_120, 1_000_149, undefined],
    ],
  );
  for (const [index, sent] of [first, second].entries()) {
    const context = parseTraceparent(sent.traceparent);
    assert.deepEqual(
      [context?.traceId, context?.parentId, context?.sampled],
      [TRACE, attempts[index]?.spanId, true],
    );
  }
  assert.equal(attempts[0]?.attributes['heddle.reason'], 'connect-failure');
  assert.equal(attempts[1]?.attributes['http.response.status_code'], 200);
  assert.equal(attempts[1]?.attributes['heddle.peer'], 'spiffe://cluster.local/ns/shop/sa/catalog');
});

test('the span says what was asked, and where it went', () => {
  const one = record({ authority: 'catalog:8080' });
  one.decided(forward());
  one.attempt(1, endpoint('10.0.0.1'), 101).end(answered(200), 140, 'half-open');
  const attributes = spansOf(one)[0]?.attributes ?? {};
  const expected = {
    'http.request.method': 'GET',
    'url.full': 'http://catalog:8080/items?page=2',
    'url.path': '/items',
    'url.query': 'page=2',
    'server.address': 'catalog',
    'server.port': 8080,
    'http.response.status_code': 200,
    'heddle.direction': 'outbound',
    'heddle.route': 'HTTPRoute/shop/catalog#0',
    'heddle.cluster': 'outbound|80||catalog.shop.svc.cluster.local',
    'heddle.attempts': 1,
    'heddle.breaker.state': 'half-open',
  };
  for (const [key, value] of Object.entries(expected)) assert.equal(attributes[key], value, key);
});

test('an inbound request is one server span, whose id the app continues', () => {
  const one = record({ direction: 'inbound', authority: '[fd00::1]:8080' });
  const sent = one.attempt(1, undefined, 101);
  sent.end(answered(500), 149, '');
  const spans = spansOf(one, { status: 500 });
  assert.equal(spans.length, 1);
  assert.equal(spans[0]?.kind, 'server');
  assert.equal(parseTraceparent(sent.traceparent)?.parentId, spans[0]?.spanId);
  assert.equal(spans[0]?.attributes['heddle.peer'], 'spiffe://cluster.local/ns/shop/sa/web');
  assert.equal(spans[0]?.attributes['server.address'], 'fd00::1');
  assert.equal(spans[0]?.attributes['url.full'], undefined);
  assert.equal(spans[0]?.error, 'status 500');
});

test('4xx is an error of the client, not of the server; a failure says itself', () => {
  assert.equal(spansOf(record(), { status: 404 })[0]?.error, 'status 404');
  assert.equal(spansOf(record({ direction: 'inbound' }), { status: 404 })[0]?.error, undefined);
  const failure = {
    code: 'no-route',
    source: 'mesh',
    retrySafety: 'never',
    message: 'no rule matches',
  } as const;
  const [span] = spansOf(record(), { status: 404, failure });
  assert.equal(span?.error, 'no rule matches');
  assert.equal(span?.attributes['heddle.reason'], 'no-route');
});

test('an attempt that nobody ended was cut off with its request', () => {
  const one = record();
  one.attempt(1, endpoint('10.0.0.1'), 101);
  const [, attempt] = spansOf(one);
  assert.deepEqual([attempt?.error, attempt?.endMs], ['the attempt was cut off', 1_000_150]);
});

test('without a context a trace begins, with ids of its own', () => {
  const one = record({ context: undefined });
  const sent = parseTraceparent(one.attempt(1, endpoint('10.0.0.1'), 101).traceparent);
  const [own] = spansOf(one);
  assert.match(own?.traceId ?? '', /^[0-9a-f]{32}$/);
  assert.equal(own?.parentId, undefined);
  assert.equal(sent?.traceId, own?.traceId);
});

test('B3 goes on where it came in, beside W3C', () => {
  const single = record({ context: { ...CONTEXT, b3: 'single' } }).attempt(1, undefined, 101);
  const span = parseTraceparent(single.traceparent)?.parentId;
  assert.deepEqual(single.b3, [['b3', `${TRACE}-${span}-1`]]);
  assert.equal(record().attempt(1, undefined, 101).b3, undefined);
});

test('a request id is kept, or made as a UUID', () => {
  assert.equal(record({ headers: { 'x-request-id': 'mine' } }).requestId, 'mine');
  assert.match(record().requestId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test('reasons are gathered for sampled requests only, up to a limit', () => {
  assert.equal(record({ sampled: false }).reasons, undefined);
  const one = record();
  for (let index = 0; index < reasonsMax + 20; index++) {
    one.reasons?.add({ stage: 'route', subject: `rule ${index}`, outcome: 'rejected', text: 'no' });
  }
  const kept = JSON.parse(String(spansOf(one)[0]?.attributes['heddle.reasons']));
  assert.equal(kept.length, reasonsMax);
});

test('text that a client chose is cut', () => {
  const [span] = spansOf(record({ path: `/${'a'.repeat(2 * textCharsMax)}` }));
  for (const key of ['url.path', 'url.full']) {
    assert.equal(String(span?.attributes[key]).length, textCharsMax + 1, key);
  }
});

test('headers that a rule looks at are recorded, secrets never, and no more than a limit', () => {
  const names = ['x-user', 'authorization', 'cookie', 'x-absent'];
  const one = record({
    headers: { 'x-user': 'beta', authorization: 'Bearer s', cookie: 's', 'x-other': 'o' },
  });
  one.decided(forward(names));
  const recorded = Object.entries(spansOf(one)[0]?.attributes ?? {}).filter(([key]) =>
    key.startsWith('http.request.header.'),
  );
  assert.deepEqual(recorded, [['http.request.header.x-user', 'beta']]);

  const many = Array.from({ length: headersRecordedMax + 5 }, (_, index) => `x-${index}`);
  const all = record({ headers: Object.fromEntries(many.map((name) => [name, 'v'])) });
  all.decided(forward(many));
  const keys = Object.keys(spansOf(all)[0]?.attributes ?? {});
  assert.equal(keys.filter((key) => key.startsWith('http.request.header.')).length, headersRecordedMax);
});

test('a redirect is told by its rule and where it sends the client, and is no error', () => {
  const { destination, rule } = forward();
  assert.ok(rule !== undefined);
  const one = record();
  one.decided({
    ...{ kind: 'redirect', destination, rule, status: 301, location: 'https://new.example/items?page=2' },
    ...{ cluster: undefined, delayMs: 0 },
  });
  const [own, ...others] = spansOf(one, { status: 301 });
  assert.deepEqual(others, []);
  assert.equal(own?.name, 'GET catalog');
  assert.equal(own?.error, undefined);
  assert.equal(own?.attributes['heddle.route'], 'HTTPRoute/shop/catalog#0');
  assert.deepEqual(own?.attributes['http.response.header.location'], ['https://new.example/items?page=2']);
  assert.equal(own?.attributes['http.response.status_code'], 301);
  assert.equal(own?.attributes['heddle.reason'], undefined);
});
