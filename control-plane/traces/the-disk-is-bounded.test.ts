import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { silentLogger } from '../../common/log.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { storeExport } from './export.ts';
import { ASIDE_SHARE, DEFAULT_TRACE_LIMITS, type TraceLimits } from './limits.ts';
import type { SpanRecord } from './span.ts';
import { openTraceStore } from './store.ts';

const MIB = 1024 * 1024;
const clock = new VirtualClock();
const NOW_US = clock.wallMs() * 1000;
let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-traces-'));
  path = join(directory, 'traces.db');
});

afterEach(() => rmSync(directory, { recursive: true }));

function open(limits: Partial<TraceLimits>) {
  return openTraceStore({ path, clock, log: silentLogger, limits });
}

/** Four spans to a trace, which begin at all times. */
function span(number: number, textBytes: number): SpanRecord {
  const trace = Math.floor(number / 4);
  return {
    traceId: traceId(trace),
    spanId: (number + 1).toString(16).padStart(16, '0'),
    ...{ parentId: '', service: 'web', operation: 'GET /', kind: 2, durationUs: 1000 },
    startUs: NOW_US + trace + (number % 4) * 50,
    ...{ status: 0, statusMessage: '', traceState: '', scopeName: '', scopeVersion: '' },
    tags: [{ key: 'prompt', type: 'string', value: 'a'.repeat(textBytes) }],
    ...{ processTags: [], events: [], links: [] },
  };
}

const traceId = (trace: number) => (trace + 1).toString(16).padStart(32, '0');
const diskBytes = () =>
  readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);

test('the oldest traces go, whole, before the disk is full', () => {
  const diskBytesMax = 32 * MIB;
  const store = open({ diskBytesMax, flushBytesMax: MIB });
  const traces = 1_000;
  for (let number = 0; number < traces * 4; number += 200) {
    store.add(Array.from({ length: 200 }, (_, index) => span(number + index, 16_000)));
    store.flush();
    assert.ok(diskBytes() <= diskBytesMax, `${diskBytes()} bytes`);
  }
  assert.ok(diskBytes() > diskBytesMax / 2, 'most of it is used');
  const found = Array.from({ length: traces }, (_, trace) => store.trace(traceId(trace)).length);
  const first = found.findIndex((spans) => spans > 0);
  assert.ok(first > 0);
  assert.deepEqual(new Set(found.slice(first)), new Set([4]));
  assert.equal(store.counters().expired, first * 4);
  store.close();
});

test('a file from before a smaller limit loses what is too much for it', () => {
  const before = open({});
  before.add(Array.from({ length: 1_000 }, (_, number) => span(number, 16_000)));
  before.close();
  const bytes = diskBytes();
  const store = open({ diskBytesMax: bytes / 2 });
  assert.ok(store.counters().expired > 400);
  store.add(Array.from({ length: 500 }, (_, number) => span(1_000 + number, 16_000)));
  store.flush();
  store.close();
  assert.ok(diskBytes() <= bytes, 'its free pages are used again');
});

test('what waits to be written is bounded in bytes, and so is a span', () => {
  const { spanBytesMax } = DEFAULT_TRACE_LIMITS;
  const store = open({ queuedBytesMax: 2 * MIB });
  const spans = [span(0, spanBytesMax), span(1, spanBytesMax - 1024), span(2, spanBytesMax / 2)];
  const partial = storeExport(store, { spans: [...spans, span(3, spanBytesMax)], rejected: new Map() });
  assert.deepEqual(partial, { rejectedSpans: 2, errorMessage: '2 spans: of more than 1048576 bytes' });
  assert.deepEqual(
    new Map(store.add([span(4, spanBytesMax - 1024), span(5, 10)])),
    new Map([['queue-full', 1]]),
  );
  assert.deepEqual(store.counters().dropped, { 'too-large': 2, 'queue-full': 1 });
  assert.equal(store.trace(traceId(0)).length, 2);
  assert.equal(store.add([span(6, spanBytesMax - 1024)]).size, 0, 'what is written leaves room');
  store.close();
});

test('a transaction is bounded in bytes', () => {
  const store = open({ flushBytesMax: MIB });
  let writes = 0;
  store.onChange(() => writes++);
  store.add(Array.from({ length: 10 }, (_, number) => span(number, MIB / 2 - 1024)));
  store.flush();
  assert.equal(writes, 5);
  store.close();
});

test('of files that could not be read one is kept, where it is small', () => {
  const limits = { diskBytesMax: 16 * MIB };
  const spoil = (bytes: number) => {
    writeFileSync(path, 'no database'.repeat(Math.ceil(bytes / 11)));
    open(limits).close();
    return readdirSync(directory).filter((name) => name.includes('.corrupt-'));
  };
  assert.equal(spoil(1024).length, 1);
  assert.equal(spoil(1024).length, 1);
  writeFileSync(`${path}.corrupt-1`, 'older');
  assert.ok(!spoil(1024).includes('traces.db.corrupt-1'));
  assert.deepEqual(spoil(limits.diskBytesMax * ASIDE_SHARE + 11), []);
});
