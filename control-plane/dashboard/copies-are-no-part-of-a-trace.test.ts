import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type SpanRecord, STATUS } from '../traces/span.ts';
import { summarize } from './trace-summary.ts';

interface Given {
  readonly parent?: string;
  readonly at?: readonly [startUs: number, endUs: number];
  readonly failed?: boolean;
  readonly mirror?: boolean;
  readonly attempt?: number;
}

function span(
  id: string,
  { parent = '', at: [startUs, endUs] = [0, 100], failed = false, mirror = false, attempt }: Given = {},
): SpanRecord {
  return {
    ...{ traceId: 'a'.repeat(32), spanId: id, parentId: parent, service: `of ${id}`, operation: id, kind: 3 },
    ...{ startUs, durationUs: endUs - startUs, status: failed ? STATUS.error : STATUS.unset },
    ...{ statusMessage: '', traceState: '', scopeName: '', scopeVersion: '', processTags: [] },
    ...{ events: [], links: [] },
    tags: [
      ...(mirror ? [{ key: 'heddle.mirror', type: 'bool', value: true } as const] : []),
      ...(attempt === undefined ? [] : [{ key: 'heddle.attempt', type: 'int64', value: attempt } as const]),
    ],
  };
}

const late = { at: [50, 900], failed: true } as const;
const COPY = [
  span('mirror', { parent: 'root', mirror: true, ...late }),
  span('served', { parent: 'mirror', ...late }),
  span('retried', { parent: 'served', attempt: 2, ...late }),
];

test('a copy and what it caused count as spans, and neither as errors nor retries nor time', () => {
  const own = [span('root'), span('attempt', { parent: 'root', attempt: 2, failed: true })];
  const { startUs, durationUs, failed, spans, errors, retries, copies, services } = summarize([
    ...COPY,
    ...own,
  ]);
  assert.deepEqual([startUs, durationUs, failed], [0, 100, false]);
  assert.deepEqual([spans, errors, retries, copies], [5, 1, 1, 1]);
  assert.equal(services.length, 5);
  assert.deepEqual([summarize(own).errors, summarize(own).copies], [1, 0]);
});

test('a copy that came before its request is not taken for the root', () => {
  const summary = summarize([...COPY, span('attempt', { parent: 'root' })]);
  assert.deepEqual([summary.rootOperation, summary.failed, summary.durationUs], ['attempt', false, 100]);
});

test("copies alone are shown for what they are, and their errors are nobody's", () => {
  const { rootOperation, durationUs, failed, errors, copies } = summarize(COPY);
  assert.deepEqual([rootOperation, durationUs, failed, errors, copies], ['mirror', 850, false, 0, 1]);
});

test("spans that are each other's parents end the search for what a copy caused", () => {
  const round = [span('one', { parent: 'two', mirror: true }), span('two', { parent: 'one', mirror: false })];
  assert.equal(summarize([span('root'), ...round]).spans, 3);
});
