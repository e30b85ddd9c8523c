import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HeddleError } from '../../common/errors.ts';
import { silentLogger } from '../../common/log.ts';
import { podObject } from '../../test/integration/mesh/manifests.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { meshOf, pod } from '../../test/support/small-mesh.ts';
import { spanRecord } from '../../test/support/span-records.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { orphansMax, type ServiceGraph } from './graph.ts';
import { type MeshTraces, meshTraces, type Sibling, siblingsLookMs } from './mesh-traces.ts';
import type { TraceQuery } from './queries.ts';
import { answerQuestion, storedTraces } from './questions.ts';
import { readerOf } from './reader.ts';
import { siblingPods } from './siblings.ts';
import type { SpanRecord } from './span.ts';
import { openTraceStore, type TraceStore } from './store.ts';

leakCheck();

const clock = new VirtualClock();
const NOW_US = clock.wallMs() * 1000;
const WINDOW = { startUs: NOW_US, endUs: NOW_US + 1_000_000 };
const MIRROR = [{ key: 'heddle.mirror', type: 'bool', value: true } as const];

const span = (number: number, from?: Partial<SpanRecord>) => spanRecord(NOW_US, number, from);

const under = (number: number, parent: SpanRecord, from: Partial<SpanRecord> = {}) =>
  span(number, { traceId: parent.traceId, parentId: parent.spanId, ...from });

function storeOf(...spans: readonly SpanRecord[]): TraceStore {
  const store = openTraceStore({ path: ':memory:', clock, log: silentLogger });
  store.add(spans);
  return store;
}

/** Answers as over the wire. */
function sibling(name: string, store: TraceStore): Sibling {
  const ask = async (question: Parameters<typeof answerQuestion>[1]) =>
    JSON.parse(JSON.stringify(answerQuestion(store, question))) as unknown;
  return { name, traces: storedTraces(ask) };
}

/** Runs `use` with replicas that hold these spans; the first is asked. */
async function withReplicas(
  parts: readonly (readonly SpanRecord[])[],
  use: (traces: MeshTraces, siblings: Sibling[]) => Promise<void>,
): Promise<void> {
  const [own, ...others] = parts.map((spans) => storeOf(...spans));
  assert.ok(own !== undefined);
  const siblings = others.map((store, index) => sibling(`cp-${index + 1}`, store));
  try {
    await use(meshTraces({ own: readerOf(own), siblings: () => siblings, clock }), siblings);
  } finally {
    for (const store of [own, ...others]) store.close();
  }
}

const silent: Sibling = {
  name: 'cp-gone',
  traces: storedTraces(() => Promise.reject(new HeddleError('unreachable', "it can't be reached"))),
};

test('a trace whose spans went to two replicas is found by either part, and whole', async () => {
  const root = span(1, { kind: 3 });
  const served = under(2, root, { service: 'cart', operation: 'POST /' });
  await withReplicas([[root, span(9)], [served]], async (traces) => {
    const { value, missing } = await traces.find({ service: 'cart', limit: 5 });
    assert.deepEqual(value, [[root, served]]);
    assert.deepEqual(missing, []);
    assert.deepEqual((await traces.find({ limit: 1 })).value, [[span(9)]], 'the newest, of all replicas');
    assert.deepEqual((await traces.traces([root.traceId, span(5).traceId])).value, [[root, served], []]);
    assert.deepEqual((await traces.services()).value, ['cart', 'web']);
    assert.deepEqual((await traces.operations('cart')).value, [{ name: 'POST /', spanKind: 'server' }]);
  });
});

test('a span that was sent to both is one', async () => {
  await withReplicas([[span(1)], [span(1)]], async (traces) => {
    assert.deepEqual((await traces.find({ limit: 5 })).value, [[span(1)]]);
  });
});

test("a copy's error is nobody's, though another replica knows that it is a copy", async () => {
  const root = span(1);
  const copy = under(2, root, { kind: 3, tags: MIRROR });
  const tags = [{ key: 'kind', type: 'string', value: 'shadow' } as const];
  const shadow = under(3, copy, { service: 'shadow', status: 2, tags });
  const failed = span(16, { status: 2 });
  const both = [span(17, { status: 2 }), under(18, span(17), { tags: MIRROR })] as const;
  const ofBoth = under(19, both[1], { status: 2, tags });
  await withReplicas(
    [
      [root, copy, failed, ...both],
      [shadow, ofBoth],
    ],
    async (traces) => {
      assert.deepEqual((await traces.find({ errorsOnly: true, limit: 2 })).value, [
        [...both, ofBoth],
        [failed],
      ]);
      const tagged = { errorsOnly: true, tags: [['kind', 'shadow']], limit: 5 } as const;
      assert.deepEqual((await traces.find(tagged)).value, [], 'the error and the tag are of one span');
      assert.deepEqual((await traces.find({ errorsOnly: true, service: 'shadow', limit: 5 })).value, []);
      assert.equal((await traces.find({ service: 'shadow', limit: 5 })).value[0]?.length, 3);
    },
  );
});

test('who calls whom is known though caller and callee told two replicas', async () => {
  const [attempt, copy] = [span(1, { kind: 3 }), under(2, span(1), { kind: 3, tags: MIRROR })];
  const served = under(3, attempt, { service: 'cart', durationUs: 7 });
  const copied = under(4, copy, { service: 'shadow', durationUs: 9 });
  const own = under(5, served, { service: 'cart', kind: 3 });
  const third = under(6, own, { service: 'stock', status: 2, durationUs: 5 });
  const parts = [[attempt, copy, third], [served, copied], [own]];
  await withReplicas(parts, async (traces) => {
    const { edges, nodes } = (await traces.graph(WINDOW)).value;
    const told = edges.map(({ caller, callee, requests, copies, errors }) => [
      caller,
      callee,
      requests,
      copies,
      errors,
    ]);
    assert.deepEqual(told.sort(), [
      ['cart', 'stock', 1, 0, 1],
      ['web', 'cart', 1, 0, 0],
      ['web', 'shadow', 0, 1, 0],
    ]);
    assert.deepEqual(nodes.map(({ service }) => service).sort(), ['cart', 'shadow', 'stock', 'web']);
  });
});

interface Drawn {
  readonly parent: number;
  readonly replica: number;
  readonly failed: boolean;
  readonly mirror: boolean;
  readonly server: boolean;
  readonly service: string;
}

const drawn: fc.Arbitrary<Drawn> = fc.record({
  parent: fc.nat(40),
  replica: fc.nat(2),
  failed: fc.boolean(),
  mirror: fc.integer({ min: 0, max: 4 }).map((number) => number === 0),
  server: fc.boolean(),
  service: fc.constantFrom('web', 'cart', 'stock'),
});

/** Some hang under an earlier span, the others begin traces. */
function spansOf(all: readonly Drawn[]): readonly SpanRecord[] {
  const spans: SpanRecord[] = [];
  for (const [index, { parent, failed, mirror, server, service }] of all.entries()) {
    const from = {
      ...{ service, status: failed ? 2 : 0, kind: server ? 2 : 3, durationUs: 100 + index },
      ...{ tags: mirror ? MIRROR : [] },
    };
    const above = spans[parent];
    spans.push(above === undefined ? span(index + 1, from) : under(index + 1, above, from));
  }
  return spans;
}

const QUERIES: readonly TraceQuery[] = [
  { limit: 100 },
  { limit: 100, errorsOnly: true },
  { limit: 100, errorsOnly: true, service: 'cart', minDurationUs: 103, maxDurationUs: 110 },
  { limit: 100, errorsOnly: true, startUs: NOW_US + 3, endUs: NOW_US + 9 },
  { limit: 100, errorsOnly: true, tags: [['span.kind', 'client']] },
  { limit: 100, service: 'web', tags: [['error', 'true']] },
];
const bySpans = (traces: readonly SpanRecord[][]) => traces.map((spans) => JSON.stringify(spans)).sort();
const ordered = ({ nodes, edges }: ServiceGraph) => [
  nodes.map((node) => JSON.stringify(node)).sort(),
  edges.map((edge) => JSON.stringify(edge)).sort(),
];

test('however spans are spread over replicas, the answers are those of one that has them all', async () => {
  const runs = fc.asyncProperty(fc.array(drawn, { maxLength: 24 }), async (all) => {
    const spans = spansOf(all);
    const one = storeOf(...spans);
    const parts = [0, 1, 2].map((replica) => spans.filter((_, index) => all[index]?.replica === replica));
    await withReplicas(parts, async (traces) => {
      for (const query of QUERIES)
        assert.deepEqual(bySpans((await traces.find(query)).value), bySpans(one.find(query)));
      assert.deepEqual((await traces.services()).value, one.services());
      assert.deepEqual(ordered((await traces.graph(WINDOW)).value), ordered(one.graph(WINDOW)));
    });
    one.close();
  });
  await fc.assert(runs, { numRuns: 150 });
});

test('a replica that gives no answer is named, and the others answer', async () => {
  await withReplicas([[span(1)], [span(2, { service: 'cart' })]], async (traces, siblings) => {
    siblings.push(silent);
    const missing = [{ replica: 'cp-gone', message: "it can't be reached" }];
    const found = await traces.find({ limit: 5 });
    assert.equal(found.value.length, 2);
    for (const answer of [
      found,
      await traces.services(),
      await traces.graph(WINDOW),
      await traces.traces([]),
    ])
      assert.deepEqual(answer.missing, missing);
    siblings.pop();
    assert.deepEqual((await traces.find({ limit: 5 })).missing, []);
  });
});

test('a failure of its own store is no missing replica', async () => {
  const own = storeOf();
  const broken = { ...readerOf(own), services: () => Promise.reject(new Error('disk')) };
  const traces = meshTraces({ own: broken, siblings: () => [silent], clock });
  await assert.rejects(traces.services(), /disk/);
  own.close();
});

test('orphans whose cause another replica is asked for are bounded, and a question for them fits a request', () => {
  const served = Array.from({ length: orphansMax + 5 }, (_, index) =>
    span(index + 1, { parentId: 'f'.repeat(16), durationUs: index }),
  );
  const store = storeOf(...served);
  const { orphans, served: rest } = store.calls(WINDOW);
  assert.equal(orphans.length, orphansMax);
  assert.equal(rest[0]?.durationsUs.length, 5);
  const causes = orphans.map(({ cause }) => cause);
  assert.ok(JSON.stringify({ kind: 'causes', spans: causes }).length < 1024 * 1024);
  assert.equal(store.graph(WINDOW).nodes[0]?.requests, orphansMax + 5);
  store.close();
});

test('siblings are asked for news only while somebody listens, and a change of any is told', async () => {
  const time = new VirtualClock();
  const [own, other] = [storeOf(), storeOf()];
  let looks = 0;
  let there = true;
  const watched: Sibling = {
    name: 'cp-1',
    traces: {
      ...sibling('cp-1', other).traces,
      stored: async () => {
        looks++;
        return other.counters().stored;
      },
    },
  };
  const traces = meshTraces({ own: readerOf(own), siblings: () => (there ? [watched] : []), clock: time });
  await time.advance(5 * siblingsLookMs);
  assert.equal(looks, 0);
  let told = 0;
  const stop = traces.onChange(() => told++);
  await time.advance(3 * siblingsLookMs);
  assert.deepEqual([looks, told], [3, 1], 'once: what there is at the beginning');
  other.add([span(1)]);
  other.flush();
  await time.advance(2 * siblingsLookMs);
  assert.equal(told, 2);
  own.add([span(2)]);
  own.flush();
  assert.equal(told, 2, 'with the next look: with many replicas there is always something new');
  await time.advance(siblingsLookMs);
  assert.equal(told, 3);
  there = false;
  await time.advance(siblingsLookMs);
  assert.equal(told, 4, 'a replica that is gone is a change');
  own.add([span(3)]);
  own.flush();
  assert.equal(told, 5, 'the only replica tells at once');
  stop();
  looks = 0;
  there = true;
  await time.advance(5 * siblingsLookMs);
  assert.deepEqual([looks, told], [0, 5]);
  for (const store of [own, other]) store.close();
});

test("siblings are the other pods of the control plane's account in its namespace, with an address", () => {
  const of = (name: string, ip: string, more: object = {}) => ({
    ...pod('heddle-system', name, ip),
    ...{ meshed: false, serviceAccount: 'heddle-control-plane', ...more },
  });
  const pending = { ...podObject(of('cp-pending', '10.0.0.9')), status: { phase: 'Pending' } };
  const ended = { ...podObject(of('cp-ended', '10.0.0.8')), status: { phase: 'Failed', podIP: '10.0.0.8' } };
  const pods = [
    ...[of('cp-b', '10.0.0.2'), of('cp-a', '10.0.0.1'), of('next-c', 'fd00::3')].map((one) => podObject(one)),
    podObject(of('heddle-injector', '10.0.0.4', { serviceAccount: 'heddle-injector' })),
    podObject({ ...of('cp-x', '10.0.0.5'), namespace: 'shop' }),
    ...[pending, ended],
  ];
  assert.deepEqual(siblingPods(meshOf(pods), { namespace: 'heddle-system', replica: 'cp-a' }), [
    { name: 'cp-b', host: '10.0.0.2' },
    { name: 'next-c', host: 'fd00::3' },
  ]);
});
