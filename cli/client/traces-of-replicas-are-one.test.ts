import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeddleError } from '../../common/errors.ts';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { at } from '../kube/fields.ts';
import { rowsOf } from '../output/waterfall.ts';
import type { MeshApi } from './mesh.ts';
import { explainedTrace, latestTraces, mergeTraces, wholeTrace } from './traces.ts';

leakCheck();

/** A control plane that answers a path with this; any other is unknown to it. */
function keeper(answers: Readonly<Record<string, JsonValue>>): MeshApi {
  return {
    where: 'in a test',
    async ask(path) {
      const answer = answers[path.replace(/\?limit.*/, '')];
      if (answer !== undefined) return { status: 200, text: JSON.stringify(answer) };
      return { status: 404, text: JSON.stringify({ errors: [{ msg: 'trace not found' }] }) };
    },
  };
}

const silent: MeshApi = {
  where: 'nowhere',
  ask: async () => {
    throw new HeddleError('unreachable', 'it is gone');
  },
};

const listOf = (...items: readonly JsonObject[]) => ({ '/api/heddle/traces': { items: [...items] } });
const entry = (traceId: string, startUs: number, spans: number): JsonObject => ({ traceId, startUs, spans });

test('lists come together by time, each trace once with the most that is known of it', async () => {
  const [one, two] = [
    keeper(listOf(entry('a', 30, 1), entry('b', 10, 4))),
    keeper(listOf(entry('a', 31, 3), entry('c', 20, 1))),
  ];
  const query = new URLSearchParams({ limit: '2' });
  assert.deepEqual(await latestTraces([one, two], query, 2), [entry('a', 31, 3), entry('c', 20, 1)]);
  assert.deepEqual(await latestTraces([one], query, 2), [entry('a', 30, 1), entry('b', 10, 4)]);
  await assert.rejects(latestTraces([one, silent], query, 2), /it is gone/);
});

const span = (spanID: string, parent: string | undefined, startTime: number): JsonObject => ({
  ...{ spanID, startTime, duration: 1, operationName: spanID, processID: 'p1', tags: [] },
  references: parent === undefined ? [] : [{ refType: 'CHILD_OF', spanID: parent }],
});
const trace = (service: string, ...spans: readonly JsonObject[]): JsonObject => ({
  data: [{ traceID: 't', spans: [...spans], processes: { p1: { serviceName: service } } }],
});

test('parts of a trace are one waterfall, each span with its own service', async () => {
  const parts = [
    keeper({ '/api/traces/t': trace('web', span('s1', undefined, 1), span('s2', 's1', 2)) }),
    keeper({ '/api/traces/t': trace('catalog', span('s3', 's2', 3), span('s2', 's1', 2)) }),
    keeper({}),
  ];
  const rows = rowsOf(at(await wholeTrace(parts, 't'), 'data', 0) ?? null);
  assert.deepEqual(
    rows.map(({ depth, service, operation }) => [depth, service, operation]),
    [
      [0, 'web', 's1'],
      [1, 'web', 's2'],
      [2, 'catalog', 's3'],
    ],
  );
  assert.deepEqual(mergeTraces([]), {
    ...{
      data: [{ spans: [], processes: {}, traceID: undefined }],
      total: 0,
      limit: 0,
      offset: 0,
      errors: null,
    },
  });
});

test('a trace that nobody has is not found, unless one who may have it could not be asked', async () => {
  await assert.rejects(wholeTrace([keeper({}), keeper({})], 't'), /trace not found/);
  await assert.rejects(wholeTrace([keeper({}), silent], 't'), { code: 'unreachable' });
});

test('decisions come from whoever has them', async () => {
  const has = keeper({ '/api/heddle/explain?trace=t': { reasons: [] } });
  assert.deepEqual(await explainedTrace([keeper({}), has], 't'), { reasons: [] });
});
