import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../common/json.ts';
import type { ObjectStatus, StatusCondition } from '../../model/mesh.ts';
import type { KubeObject } from '../../model/objects.ts';
import { FakeClusterApi } from '../../test/support/fake-cluster-api.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { mergeStatus, messageCharactersMax, policyAncestorsMax, routeParentsMax } from './status-merge.ts';
import { awaitedHoldMs, StatusPlanner, unsettledHoldMs, wordsHoldMs } from './status-writer.ts';

leakCheck();

const NOW = '2026-01-01T00:00:00Z';
const LATER = '2026-01-01T00:01:00Z';
const PARENT = { group: '', kind: 'Service', name: 'catalog', port: 80 };
const OTHERS = {
  parentRef: { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'edge' },
  controllerName: 'example.com/gateway',
  conditions: [{ type: 'Accepted', status: 'True' }],
};

function route(
  status?: JsonObject,
  parentRefs: readonly JsonObject[] = [PARENT],
  generation = 1,
): KubeObject {
  return {
    ...{ apiVersion: 'gateway.networking.k8s.io/v1', kind: 'HTTPRoute' },
    metadata: { namespace: 'shop', name: 'r', generation },
    spec: { parentRefs },
    ...(status === undefined ? {} : { status }),
  };
}

const condition = (
  type: StatusCondition['type'],
  status: StatusCondition['status'],
  message = 'm',
): StatusCondition => ({ type, status, reason: status === 'Unknown' ? 'Pending' : type, message });

function said(conditions: readonly StatusCondition[], generation = 1, ...refs: string[]): ObjectStatus {
  return {
    ...{
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      namespace: 'shop',
      name: 'r',
      generation,
    },
    origin: { source: 'kubernetes', line: 0 },
    parents: (refs.length === 0 ? ['Service shop/catalog:80'] : refs).map((ref) => ({ ref, conditions })),
  };
}
const GOOD = [condition('Accepted', 'True'), condition('Programmed', 'True')];

/** The route as the API server would have it after the write. */
const after = (object: KubeObject, wanted: ObjectStatus | undefined, now = NOW): KubeObject => ({
  ...object,
  status: mergeStatus(object, wanted, now).status,
});

const conditionsOf = (object: KubeObject) =>
  JSON.parse(JSON.stringify(object.status)).parents.flatMap(
    (one: { conditions: JsonObject[] }) => one.conditions,
  );

test('a parent is named as the object names it', () => {
  const written = after(route(), said(GOOD));
  assert.deepEqual((written.status as JsonObject).parents, [
    {
      parentRef: PARENT,
      controllerName: 'heddle.dev/mesh-controller',
      conditions: GOOD.map((one) => ({ ...one, observedGeneration: 1, lastTransitionTime: NOW })),
    },
  ]);
  assert.equal(mergeStatus(written, said(GOOD), LATER).difference, 'none');
});

test("other controllers' entries stay as they are, in their places", () => {
  const written = after(route({ parents: [OTHERS] }), said(GOOD));
  const { parents } = written.status as { parents: JsonObject[] };
  assert.deepEqual(parents[0], OTHERS);
  assert.equal(parents.length, 2);
});

test('the order in which the API server gives members is no difference', () => {
  const written = after(route(), said(GOOD));
  const { parents } = written.status as { parents: JsonObject[] };
  const shuffled = parents.map(
    (entry) => Object.fromEntries(Object.entries(entry).toReversed()) as JsonObject,
  );
  assert.equal(
    mergeStatus({ ...written, status: { parents: shuffled } }, said(GOOD), LATER).difference,
    'none',
  );
});

test('a time moves with the status alone', () => {
  const first = after(route(), said(GOOD));
  const second = after(
    { ...first, metadata: { ...first.metadata, generation: 2 } },
    said([condition('Accepted', 'True', 'other words'), condition('Programmed', 'Unknown')], 2),
    LATER,
  );
  assert.deepEqual(
    conditionsOf(second).map((one: JsonObject) => [
      one.status,
      one.observedGeneration,
      one.lastTransitionTime,
    ]),
    [
      ['True', 2, NOW],
      ['Unknown', 2, LATER],
    ],
  );
});

test('a parent that goes takes our entry with it, and only ours', () => {
  const written = after(route({ parents: [OTHERS] }), said(GOOD));
  const without = after({ ...written, spec: { parentRefs: [] } }, said(GOOD, 1));
  assert.deepEqual(without.status, { parents: [OTHERS] });
  assert.deepEqual(after(written, undefined).status, { parents: [OTHERS] });
});

test('only Services are ours to speak of', () => {
  const gateway = { kind: 'Gateway', group: 'gateway.networking.k8s.io', name: 'edge' };
  const pool = { kind: 'InferencePool', group: 'inference.networking.k8s.io', name: 'p' };
  const written = after(route(undefined, [gateway, pool]), said(GOOD, 1, 'InferencePool shop/p'));
  assert.deepEqual(written.status, { parents: [] });
  assert.equal(mergeStatus(route(undefined, [gateway]), undefined, NOW).difference, 'none');
});

test('each of several parents has its own verdict; what is said of the whole is said of each', () => {
  const refs = [PARENT, { ...PARENT, port: 81 }, { group: '', kind: 'Service', namespace: 'db', name: 'pg' }];
  const each = after(route(undefined, refs), said(GOOD, 1, 'Service shop/catalog:80', 'Service db/pg'));
  assert.deepEqual(
    (each.status as { parents: JsonObject[] }).parents.map(({ parentRef }) => parentRef),
    [refs[0], refs[2]],
  );
  const whole = after(route(undefined, refs), said([condition('Accepted', 'False')], 1, 'HTTPRoute shop/r'));
  assert.equal((whole.status as { parents: JsonObject[] }).parents.length, 3);
});

test('what the API would refuse is cut: long messages, too many entries', () => {
  const long = said([condition('Accepted', 'True', 'x'.repeat(messageCharactersMax + 1))]);
  assert.equal(conditionsOf(after(route(), long))[0].message.length, messageCharactersMax);
  const full = Array.from({ length: routeParentsMax }, (_, index) => ({
    ...OTHERS,
    controllerName: `example.com/${index}`,
  }));
  assert.deepEqual(after(route({ parents: full }), said(GOOD)).status, { parents: full });
  const policy = { ...route(), kind: 'MTLSPolicy', metadata: { namespace: 'shop', name: 'p' } };
  const many = Array.from({ length: policyAncestorsMax + 1 }, (_, index) => `Service shop/s${index}`);
  const { ancestors } = after(policy, said(GOOD, 0, ...many)).status as { ancestors: JsonObject[] };
  assert.equal(ancestors.length, policyAncestorsMax);
});

const facts = (object: KubeObject, wanted: ObjectStatus) => ({
  objects: [{ object, origin: { source: 'kubernetes', line: 0 } }],
  statusOf: () => wanted,
});
const planOf = (api: FakeClusterApi, object: KubeObject, wanted: ObjectStatus) =>
  new StatusPlanner(api, new VirtualClock()).plan(facts(object, wanted));

/** How long a change is held back. */
function holdMs(before: readonly StatusCondition[], now: readonly StatusCondition[], generation = 1) {
  const stored = after(route(), said(before));
  const object = { ...stored, metadata: { ...stored.metadata, generation } };
  const works = planOf(new FakeClusterApi(), object, said(now, generation));
  return works.map((work) => work.holdMs);
}

const awaited = [condition('Accepted', 'True'), condition('Programmed', 'Unknown')];
test('a verdict is written at once, what will soon be another one is held back', () => {
  assert.deepEqual(holdMs(GOOD, GOOD), []);
  assert.deepEqual(holdMs(GOOD, [condition('Accepted', 'False')]), [0]);
  assert.deepEqual(holdMs(awaited, GOOD), [0]);
  assert.deepEqual(holdMs(GOOD, [condition('Accepted', 'True'), condition('Programmed', 'True', 'by 4')]), [
    wordsHoldMs,
  ]);
  assert.deepEqual(holdMs(GOOD, awaited), [awaitedHoldMs]);
  assert.deepEqual(holdMs(GOOD, awaited, 2), [unsettledHoldMs]);
  assert.deepEqual(holdMs([condition('Accepted', 'False')], awaited), [unsettledHoldMs]);
});

test('a generation that the mesh has not taken in is not spoken of', async () => {
  const api = new FakeClusterApi();
  const stored = api.put({ ...route(), metadata: { namespace: 'shop', name: 'r', generation: 2 } });
  const plan = (generation: number) => planOf(api, stored, said(GOOD, generation));
  assert.deepEqual(plan(1), []);
  const [work] = plan(2);
  // Edited between the plan and the write.
  api.put({ ...route(), metadata: { namespace: 'shop', name: 'r', generation: 3 } });
  await work?.run();
  assert.deepEqual(api.writes(), []);
});

test('what another controller wrote in between is kept', async () => {
  const api = new FakeClusterApi();
  const stored = api.put(route());
  const [work] = planOf(api, stored, said(GOOD));
  api.put(route({ parents: [OTHERS] }));
  await work?.run();
  const written = api.find('HTTPRoute', 'shop', 'r');
  assert.ok(written !== undefined);
  const { parents } = written.status as { parents: JsonObject[] };
  assert.deepEqual(
    parents.map(({ controllerName }) => controllerName),
    ['example.com/gateway', 'heddle.dev/mesh-controller'],
  );
});

test('what was as it should be is looked at again once the verdict or the object is another one', () => {
  const planner = new StatusPlanner(new FakeClusterApi(), new VirtualClock());
  const stored = after(route(), said(GOOD));
  const wanted = (object: KubeObject, verdict = GOOD) => planner.plan(facts(object, said(verdict))).length;
  assert.deepEqual([wanted(stored), wanted(stored)], [0, 0]);
  assert.equal(wanted(stored, awaited), 1);
  assert.equal(wanted(stored), 0);
  assert.equal(wanted({ ...stored, status: { parents: [OTHERS] } }), 1);
});
