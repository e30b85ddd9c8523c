import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { jsonLogger } from '../../common/log.ts';
import { seededRandom } from '../../common/random.ts';
import type { MirrorTarget } from '../../model/decision-types.ts';
import { DEFAULT_CLUSTER_POLICY } from '../../model/policy-types.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import type { RequestInfo, RequestResult, RequestScope } from '../stage.ts';
import { SidecarMetrics } from './metrics.ts';
import type { TracingSettings } from './sampling.ts';
import type { SpanRecord } from './span-record.ts';
import { loggedPerSecondMax, Telemetry } from './telemetry.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const EVERYTHING: TracingSettings = {
  ...{ samplingPercent: 100, keepErrors: true, keepSlowerThanMs: 1_000, otlpEndpoint: '' },
};

let clock: VirtualClock;
let metrics: SidecarMetrics;
let spans: SpanRecord[];
let lines: string[];
let settings: TracingSettings;
let telemetry: Telemetry;

beforeEach(() => {
  clock = new VirtualClock();
  metrics = new SidecarMetrics();
  spans = [];
  lines = [];
  settings = EVERYTHING;
  telemetry = new Telemetry({
    ...{ clock, metrics, random: seededRandom(3), log: jsonLogger(clock, (line) => lines.push(line)) },
    spans: { export: (some) => spans.push(...some), close: async () => undefined },
    settings: () => settings,
  });
});

function open(headers: Readonly<Record<string, string>> = {}): RequestScope {
  const info: RequestInfo = {
    direction: 'outbound',
    view: { method: 'GET', path: '/', query: '', header: (name) => headers[name], sourceAddress: undefined },
    authority: 'catalog',
    peer: undefined,
    startedAtMs: clock.now(),
  };
  return telemetry.open(info);
}

const result = (part: Partial<RequestResult> = {}): RequestResult => ({
  ...{ status: 200, failure: undefined, requestBytes: 0, responseBytes: 0, endedAtMs: clock.now() + 5 },
  ...part,
});

function serve(part: Partial<RequestResult> = {}, headers: Readonly<Record<string, string>> = {}): void {
  open(headers).end(result(part));
}

const failure = { code: 'no-endpoints', source: 'mesh', retrySafety: 'always', message: 'none' } as const;

test('the share sampled is the share configured', () => {
  settings = { ...EVERYTHING, samplingPercent: 25 };
  for (let index = 0; index < 2_000; index++) serve();
  assert.ok(spans.length > 430 && spans.length < 570, `${spans.length} of 2000 at 25 %`);
  spans.length = 0;
  settings = { ...EVERYTHING, samplingPercent: 0 };
  for (let index = 0; index < 100; index++) serve();
  assert.equal(spans.length, 0);
});

test('whoever began the trace has decided for all', () => {
  settings = { ...EVERYTHING, samplingPercent: 0 };
  serve({}, { traceparent: `00-${TRACE}-b7ad6b7169203331-01` });
  assert.equal(spans.length, 1);
  settings = EVERYTHING;
  serve({}, { traceparent: `00-${TRACE}-b7ad6b7169203331-00` });
  serve({}, { b3: '0' });
  assert.equal(spans.length, 1);
});

test('errors and slow requests are kept although they were not sampled', () => {
  settings = { ...EVERYTHING, samplingPercent: 0 };
  serve({ status: 500 });
  serve({ status: 503, failure });
  serve({ endedAtMs: clock.now() + 1_001 });
  assert.equal(spans.length, 3);
  serve({ status: 404 });
  serve({ endedAtMs: clock.now() + 1_000 });
  assert.equal(spans.length, 3, 'neither a 404 nor what is as slow as allowed');
  settings = { ...settings, keepErrors: false, keepSlowerThanMs: 0 };
  serve({ status: 500, endedAtMs: clock.now() + 60_000 });
  assert.equal(spans.length, 3, 'switched off');
});

test('spans carry the time of day', () => {
  serve();
  assert.equal(spans[0]?.startMs, clock.wallMs());
  assert.equal(spans[0]?.endMs, clock.wallMs() + 5);
});

test('what the mesh ends is logged, a bounded number in a second', async () => {
  for (let index = 0; index < loggedPerSecondMax + 15; index++) serve({ status: 503, failure });
  assert.equal(lines.length, loggedPerSecondMax);
  await clock.advance(1_000);
  serve({ status: 503, failure });
  assert.equal(lines.length, loggedPerSecondMax + 1);
  const line = JSON.parse(lines[0] ?? '{}');
  assert.deepEqual([line.reason, line.status, line.why], ['no-endpoints', 503, 'none']);
});

test('every request is counted, with its result', () => {
  serve();
  serve();
  serve({ status: 503, failure });
  const text = metrics.render();
  assert.match(text, /^heddle_requests_total\{direction="outbound",.*response_code="200",reason=""\} 2$/m);
  assert.match(text, /^heddle_requests_total\{.*response_code="503",reason="no-endpoints"\} 1$/m);
  assert.match(text, /^heddle_request_duration_seconds_bucket\{.*le="0\.0025"\} 0$/m);
  assert.match(text, /^heddle_request_duration_seconds_bucket\{.*le="0\.005"\} 3$/m);
  assert.match(text, /^heddle_request_duration_seconds_count\{.*\} 3$/m);
});

test('connection events are counted by direction', () => {
  telemetry.connection('inbound', 'opened');
  telemetry.connection('inbound', 'refused-mtls');
  telemetry.connection('inbound', 'refused-mtls');
  assert.match(metrics.render(), /^heddle_connections_total\{direction="inbound",event="refused-mtls"\} 2$/m);
});

test('a family keeps a bounded number of series; the rest is counted in one', () => {
  const seriesMax = 2_000;
  for (let index = 0; index < seriesMax + 500; index++) {
    metrics.attempts.add(1, `service-${index}`, 'first', '200');
  }
  const lines = metrics
    .render()
    .split('\n')
    .filter((line) => line.startsWith('heddle_attempts_total{'));
  assert.equal(lines.length, seriesMax + 1);
  assert.equal(lines.at(-1), 'heddle_attempts_total{overflow="true"} 500');
});

test('a label value with quotes, backslashes and line feeds stays one value', () => {
  metrics.ejections.add(1, 'a"b\\c\nd');
  assert.match(metrics.render(), /^heddle_ejections_total\{cluster="a\\"b\\\\c\\nd"\} 1$/m);
});

const MIRROR: MirrorTarget = {
  cluster: {
    ...{ name: 'outbound|80||catalog-v2', namespace: 'shop', service: 'catalog-v2', port: 80 },
    ...{ protocol: 'http', policy: DEFAULT_CLUSTER_POLICY, endpoints: [] },
  },
  endpoint: {
    ...{ key: '10.0.0.2:80', address: '10.0.0.2', port: 80, pod: 'shop/catalog-v2-1', node: undefined },
    ...{ zone: undefined, weight: 1, health: 'ready', mtls: true, identities: ['spiffe://v2'] },
  },
};
const ANSWERED = { kind: 'response', status: 200, appRefused: false } as const;

test('a copy that ends before its request is one of its spans, marked as a mirror', () => {
  const scope = open();
  const copy = scope.mirror(MIRROR, clock.now());
  copy.end(ANSWERED, clock.now() + 3, 'closed');
  assert.equal(spans.length, 0);
  scope.end(result());
  const [own, mirror] = spans;
  assert.equal(spans.length, 2);
  assert.deepEqual(
    [mirror?.name, mirror?.kind, mirror?.parentId],
    ['mirror catalog-v2', 'client', own?.spanId],
  );
  assert.equal(copy.traceparent, `00-${own?.traceId}-${mirror?.spanId}-01`);
  assert.deepEqual(mirror?.attributes, {
    'heddle.mirror': true,
    'heddle.cluster': 'outbound|80||catalog-v2',
    'network.peer.address': '10.0.0.2',
    'network.peer.port': 80,
    'heddle.pod': 'shop/catalog-v2-1',
    'heddle.peer': 'spiffe://v2',
    'heddle.breaker.state': 'closed',
    'http.response.status_code': 200,
  });
  assert.equal(own?.attributes['heddle.attempts'], undefined, 'a copy is no attempt');
});

test('a copy that outlives its request is sent by itself, and only where its request was kept', () => {
  const scope = open();
  const copy = scope.mirror(MIRROR, clock.now());
  scope.end(result());
  assert.equal(spans.length, 1);
  copy.end({ kind: 'failure', failure, condition: 'other' }, clock.now() + 40, 'open');
  assert.equal(spans[1]?.parentId, spans[0]?.spanId);
  assert.equal(spans[1]?.error, 'none');
  settings = { ...EVERYTHING, samplingPercent: 0 };
  const unseen = open();
  const unseenCopy = unseen.mirror(MIRROR, clock.now());
  unseen.end(result());
  unseenCopy.end(ANSWERED, clock.now(), 'closed');
  assert.equal(spans.length, 2);
});

test('copies are counted by their outcome, apart from requests and attempts', () => {
  const scope = open();
  scope.mirror(MIRROR, clock.now()).end(ANSWERED, clock.now(), 'closed');
  scope
    .mirror(MIRROR, clock.now())
    .end({ kind: 'failure', failure, condition: 'other' }, clock.now(), 'open');
  scope.end(result());
  const text = metrics.render();
  const counted = (outcome: string) =>
    `heddle_mirrors_total{destination_service="catalog-v2.shop",route="",outcome="${outcome}"} 1`;
  assert.ok(text.includes(counted('200')), text);
  assert.ok(text.includes(counted('no-endpoints')), text);
  assert.equal(/heddle_attempts_total\{/.test(text), false);
});
