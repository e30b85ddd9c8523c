import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonLogger } from '../../common/log.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import {
  createSpanExport,
  followCollector,
  type LoadSink,
  type SpanExportOptions,
  waitingSpansMax,
} from './span-export.ts';
import type { SpanRecord, SpanSink } from './span-record.ts';

const span = (name: string): SpanRecord => ({
  ...{ traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', parentId: undefined },
  ...{ parentRemote: false, traceState: undefined, kind: 'client', name, startMs: 1, endMs: 2 },
  ...{ attributes: {}, error: undefined },
});

function setup() {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const log = jsonLogger(clock, (line) => lines.push(line));
  const dropped: [string, number][] = [];
  const options: SpanExportOptions = {
    ...{ endpoint: 'collector:4317', serviceName: 'web', resource: {}, log, clock },
    onDropped: (why, count) => dropped.push([why, count]),
  };
  return { options, lines, dropped };
}

function heldSink() {
  const names: string[] = [];
  let closed = 0;
  const sink: SpanSink = {
    export: (spans) => names.push(...spans.map(({ name }) => name)),
    close: async () => void closed++,
  };
  return { sink, names, closed: () => closed };
}

test('the SDK is loaded with the first span, and gets what waited, in order', async () => {
  const { options } = setup();
  const held = heldSink();
  let loads = 0;
  let release = () => {};
  const load: LoadSink = () => {
    loads++;
    return new Promise((resolve) => {
      release = () => resolve(held.sink);
    });
  };
  const spans = createSpanExport(options, load);
  assert.equal(loads, 0);
  spans.export([span('a'), span('b')]);
  spans.export([span('c')]);
  release();
  await settle();
  spans.export([span('d')]);
  assert.equal(loads, 1);
  assert.deepEqual(held.names, ['a', 'b', 'c', 'd']);
  await spans.close();
  assert.equal(held.closed(), 1);
});

test('nothing is loaded to close what was never used', async () => {
  const { options } = setup();
  await createSpanExport(options, () => assert.fail('loaded')).close();
});

test('a bounded number of spans waits; what is dropped is told', async () => {
  const { options, dropped } = setup();
  const held = heldSink();
  const spans = createSpanExport(options, async () => held.sink);
  for (let index = 0; index < waitingSpansMax + 2; index++) spans.export([span('x')]);
  await settle();
  assert.equal(held.names.length, waitingSpansMax);
  assert.deepEqual(dropped, [
    ['not-loaded', 1],
    ['not-loaded', 1],
  ]);
});

test('an SDK that can not be loaded is told once, and spans are not hoarded', async () => {
  const { options, lines, dropped } = setup();
  const spans = createSpanExport(options, async () => {
    throw new Error('no such module');
  });
  spans.export([span('a')]);
  await settle();
  spans.export([span('b')]);
  await spans.close();
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /no such module/);
  assert.deepEqual(dropped, [
    ['not-loaded', 1],
    ['not-loaded', 1],
  ]);
});

test('spans go to the collector that the settings name at the moment, and old ones are sent first', async () => {
  const { options } = setup();
  const made: (ReturnType<typeof heldSink> & { endpoint: string })[] = [];
  let endpoint = 'store:4317';
  const spans = followCollector(
    options,
    () => endpoint,
    (chosen) => {
      const held = { ...heldSink(), endpoint: chosen.endpoint };
      made.push(held);
      return held.sink;
    },
  );
  spans.export([span('a')]);
  endpoint = 'collector:4317';
  spans.export([span('b')]);
  spans.export([span('c')]);
  assert.deepEqual(
    made.map((one) => [one.endpoint, one.names, one.closed()]),
    [
      ['store:4317', ['a'], 1],
      ['collector:4317', ['b', 'c'], 0],
    ],
  );
  await spans.close();
  assert.equal(made[1]?.closed(), 1);
});
