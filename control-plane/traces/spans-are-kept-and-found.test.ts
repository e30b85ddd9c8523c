import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { silentLogger } from '../../common/log.ts';
import { spanRecord } from '../../test/support/span-records.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { parseTraceId, toJaegerTrace } from './jaeger.ts';
import { DEFAULT_TRACE_LIMITS, type TraceLimits } from './limits.ts';
import { decodeJsonExport } from './otlp-json.ts';
import { decodeProtobufExport } from './otlp-protobuf.ts';
import { boundedText } from './otlp-span.ts';
import type { SpanRecord } from './span.ts';
import { openTraceStore } from './store.ts';

const clock = new VirtualClock();
const NOW_US = clock.wallMs() * 1000;

function open(limits: Partial<TraceLimits> = {}, path = ':memory:', at = clock) {
  return openTraceStore({ path, clock: at, log: silentLogger, limits });
}

const span = (number: number, from?: Partial<SpanRecord>) => spanRecord(NOW_US, number, from);

test('each filter finds its spans and no others, newest first', () => {
  const store = open();
  store.add([
    span(1),
    span(2, { service: 'cart', status: 2, durationUs: 9000 }),
    span(3, { tags: [{ key: 'http.response.status_code', type: 'int64', value: 500 }] }),
  ]);
  const ids = (query: object) =>
    store.find({ limit: 10, ...query }).map((spans) => Number(`0x${spans[0]?.traceId}`));
  assert.deepEqual(ids({}), [3, 2, 1]);
  assert.deepEqual(ids({ limit: 1 }), [3]);
  assert.deepEqual(ids({ service: 'cart' }), [2]);
  assert.deepEqual(ids({ operation: 'POST /' }), []);
  assert.deepEqual(ids({ minDurationUs: 2000 }), [2]);
  assert.deepEqual(ids({ maxDurationUs: 2000 }), [3, 1]);
  assert.deepEqual(ids({ errorsOnly: true }), [2]);
  assert.deepEqual(ids({ tags: [['error', 'true']] }), [2]);
  assert.deepEqual(ids({ tags: [['http.response.status_code', '500']] }), [3]);
  assert.deepEqual(ids({ startUs: NOW_US + 2, endUs: NOW_US + 2 }), [2]);
  assert.deepEqual(ids({ service: "' OR 1=1 --" }), []);
  store.close();
});

test('a search for errors finds no trace whose errors are all of copies', () => {
  const store = open();
  const mirror = [{ key: 'heddle.mirror', type: 'bool', value: true } as const];
  const of = (number: number, parent: SpanRecord, from: Partial<SpanRecord> = {}) =>
    span(number, { traceId: parent.traceId, parentId: parent.spanId, ...from });
  const root = span(1);
  const copy = of(2, root, { status: 2, tags: mirror });
  const served = of(3, copy, { status: 2, service: 'shadow' });
  store.add([root, copy, served, of(4, served, { status: 2, service: 'shadow' })]);
  // Both fail: the request and its copy.
  const failed = span(16, { status: 2 });
  store.add([failed, of(17, failed, { status: 2, tags: mirror })]);
  // A copy of which nothing else has come, and spans that are each other's parents.
  store.add([span(32, { status: 2, tags: mirror }), span(48, { status: 2, parentId: span(49).spanId })]);
  store.add([of(49, span(48), { status: 2 })]);
  const ids = (query: object) =>
    store.find({ limit: 10, ...query }).map((spans) => Number(`0x${spans[0]?.traceId}`));
  assert.deepEqual(ids({ errorsOnly: true }), [48, 16]);
  assert.deepEqual(ids({ errorsOnly: true, service: 'shadow' }), []);
  assert.deepEqual(ids({ tags: [['error', 'true']] }), [48, 32, 16, 1]);
  store.close();
});

test('a full queue drops the newest and counts them', () => {
  const store = open({ queuedSpansMax: 2 });
  assert.deepEqual([...store.add([span(1), span(2), span(3)])], [['queue-full', 1]]);
  assert.deepEqual(store.counters().dropped, { 'queue-full': 1 });
  assert.equal(store.trace(span(3).traceId).length, 0);
  store.close();
});

test('spans leave by count, then by age', async () => {
  const time = new VirtualClock();
  const store = open({ spansMax: 2, retentionMs: 60_000 }, ':memory:', time);
  store.add([span(1), span(2), span(3)]);
  await time.advance(6_000);
  assert.deepEqual(
    [1, 2, 3].map((each) => store.trace(span(each).traceId).length),
    [0, 1, 1],
  );
  await time.advance(60_000);
  assert.equal(store.find({ limit: 10 }).length, 0);
  assert.equal(store.counters().expired, 3);
  store.close();
});

test('traces survive a restart, and a corrupt file is put aside', () => {
  const directory = mkdtempSync(join(tmpdir(), 'heddle-traces-'));
  const path = join(directory, 'traces.db');
  const first = open({}, path);
  first.add([span(1)]);
  first.close();
  const second = open({}, path);
  assert.equal(second.trace(span(1).traceId).length, 1);
  second.close();
  writeFileSync(path, 'this is no database at all, whatever its name says'.repeat(100));
  const third = open({}, path);
  assert.deepEqual(third.services(), []);
  third.close();
  assert.ok(readdirSync(directory).some((name) => name.includes('.corrupt-')));
  rmSync(directory, { recursive: true });
});

test('a span reads as Jaeger writes it', () => {
  const parent = span(1);
  const failed = span(2, {
    traceId: parent.traceId,
    parentId: parent.spanId,
    kind: 3,
    status: 2,
    scopeName: 'heddle',
  });
  const trace = toJaegerTrace([parent, failed]);
  assert.equal(trace.traceID, '0000000000000001');
  assert.deepEqual(trace.processes, { p1: { serviceName: 'web', tags: [] } });
  assert.deepEqual(trace.spans[1], {
    traceID: '0000000000000001',
    spanID: '0000000000000002',
    flags: 1,
    operationName: 'GET /',
    references: [{ refType: 'CHILD_OF', traceID: '0000000000000001', spanID: '0000000000000001' }],
    startTime: NOW_US + 2,
    duration: 1000,
    tags: [
      { key: 'otel.scope.name', type: 'string', value: 'heddle' },
      { key: 'span.kind', type: 'string', value: 'client' },
      { key: 'otel.status_code', type: 'string', value: 'ERROR' },
      { key: 'error', type: 'bool', value: true },
    ],
    logs: [],
    processID: 'p1',
    warnings: null,
  });
  assert.equal(parseTraceId('1'), parent.traceId);
  assert.equal(parseTraceId('xyz'), undefined);
});

test('the graph counts a served request for the service that caused it', () => {
  const store = open();
  const client = span(1, { kind: 3 });
  store.add([
    client,
    span(2, { traceId: client.traceId, parentId: client.spanId, service: 'cart', status: 2 }),
  ]);
  const { edges } = store.graph({ startUs: NOW_US, endUs: NOW_US + 10 });
  assert.deepEqual(edges, [
    { caller: 'web', callee: 'cart', copies: 0, requests: 1, errors: 1, p50Us: 1000, p99Us: 1000 },
  ]);
  store.close();
});

test('the graph counts copies beside the requests of a call, and as work of the service that served them', () => {
  const store = open();
  const { traceId } = span(1);
  const mirror = [{ key: 'heddle.mirror', type: 'bool', value: true } as const];
  const served = (number: number, parent: SpanRecord, from: Partial<SpanRecord> = {}) =>
    span(number, { traceId, parentId: parent.spanId, service: 'cart', ...from });
  const [attempt, copy] = [span(1, { kind: 3 }), span(3, { traceId, kind: 3, tags: mirror })];
  const failedCopy = served(4, copy, { status: 2, durationUs: 9000 });
  const call = span(5, { traceId, parentId: failedCopy.spanId, service: 'cart', kind: 3 });
  store.add([attempt, served(2, attempt), copy, failedCopy, call, served(6, call, { service: 'stock' })]);
  const { edges, nodes } = store.graph({ startUs: NOW_US, endUs: NOW_US + 10 });
  const toCart = edges.find(({ callee }) => callee === 'cart');
  const usual = { requests: 1, errors: 0, p50Us: 1000, p99Us: 1000 };
  assert.deepEqual(toCart, { caller: 'web', callee: 'cart', copies: 1, ...usual });
  const toStock = edges.find(({ callee }) => callee === 'stock');
  assert.deepEqual(toStock, { caller: 'cart', callee: 'stock', copies: 0, ...usual });
  const cart = nodes.find(({ service }) => service === 'cart');
  assert.deepEqual([cart?.requests, cart?.errors], [2, 1]);
  store.close();
});

test('long text is cut to its limit between characters', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.integer({ min: 8, max: 40 }),
      (text, bytesMax) => {
        const cut = boundedText(text, bytesMax);
        assert.ok(Buffer.byteLength(cut) <= bytesMax);
        assert.ok(!cut.includes('\ufffd') || text.includes('\ufffd'));
      },
    ),
  );
});

test('an attribute is bounded, also inside arrays that nest deep', () => {
  let value: object = { stringValue: 'é'.repeat(50_000) };
  for (let depth = 0; depth < 200; depth++) value = { arrayValue: { values: [value] } };
  const traceId = '1'.repeat(32);
  const attributes = [
    { key: 'deep', value },
    { key: 'long', value: { stringValue: 'é'.repeat(50_000) } },
  ];
  const one = { traceId, spanId: '2'.repeat(16), startTimeUnixNano: '1', attributes };
  const body = JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [one] }] }] });
  const [kept] = decodeJsonExport(body, DEFAULT_TRACE_LIMITS).spans;
  for (const tag of kept?.tags ?? []) {
    assert.ok(Buffer.byteLength(String(tag.value)) <= DEFAULT_TRACE_LIMITS.attributeBytesMax);
  }
});

test('random bytes either decode or throw an error, and never hang', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        decodeProtobufExport(bytes, DEFAULT_TRACE_LIMITS);
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }),
    { numRuns: 3_000 },
  );
});
