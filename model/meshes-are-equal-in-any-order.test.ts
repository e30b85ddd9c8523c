import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonObject, JsonValue } from '../common/json.ts';
import {
  endpoint,
  mtlsPolicy,
  object,
  PARENT,
  pod,
  policy,
  route,
  service,
  slice,
} from '../test/support/model-objects.ts';
import { buildMesh } from './build.ts';
import type { Mesh } from './mesh.ts';
import type { SourcedObject } from './objects.ts';
import { DEFAULT_MESH_SETTINGS } from './settings.ts';

/** Objects that meet each other: the same names, targets, ages, addresses and ports again and again. */
const name = fc.constantFrom('a', 'b');
const namespace = fc.constantFrom('shop', 'far', 'heddle-system');
const age = fc.constantFrom(undefined, '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z');
const more: fc.Arbitrary<JsonObject> = fc
  .record({ namespace, creationTimestamp: age })
  .map(({ namespace: of, creationTimestamp }) => ({
    namespace: of,
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
  }));
const target = name.map((of) => ({ ...PARENT, name: of }));
const ip = fc.constantFrom('10.244.0.1', '10.244.0.2');
const mode = fc.constantFrom('STRICT', 'PERMISSIVE', 'DISABLE');
const routeSpec = fc.record({
  parentRefs: fc.array(
    fc.tuple(target, namespace).map(([of, where]): JsonValue => ({ ...of, namespace: where })),
    {
      maxLength: 2,
    },
  ),
  rules: fc.array(
    fc.record({
      name: fc.constantFrom('x', 'y', '0'),
      matches: fc.constantFrom<JsonValue>([], [{ path: { value: '/a' } }], [{ method: 'GET' }]),
      filters: fc.array(
        name.map(
          (of): JsonValue => ({
            type: 'RequestMirror',
            requestMirror: { backendRef: { name: of, namespace: 'shop', port: 80 } },
          }),
        ),
        { maxLength: 2 },
      ),
      backendRefs: fc.array(
        name.map((of): JsonValue => ({ name: of, port: 80 })),
        { maxLength: 2 },
      ),
    }),
    { minLength: 1, maxLength: 2 },
  ),
});
const policySpec = fc.record({
  targetRefs: fc.array(
    fc.oneof(
      target,
      name.map((of) => ({ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: of })),
    ),
    { maxLength: 2 },
  ),
  timeouts: fc.constantFrom<JsonValue>({}, { request: '1s' }, { request: '2s', idle: '1m' }, { oops: 1 }),
});
const mtlsSpec = fc.record({
  selector: fc.constantFrom<JsonValue>(
    {},
    { matchLabels: { app: 'a' } },
    { matchLabels: { app: 'b', v: '1' } },
  ),
  mode,
});
const one: fc.Arbitrary<SourcedObject> = fc.oneof(
  fc.tuple(name, ip, more).map(([of, at, rest]) => service(of, at.replace('244', '96'), undefined, rest)),
  fc.tuple(name, ip, more).map(([of, at, rest]) => pod(of, at, { ...rest, labels: { app: of, v: '1' } })),
  fc
    .tuple(name, ip, more, name)
    .map(([of, at, rest, other]) =>
      slice(of, [endpoint(other, at)], undefined, { ...rest, labels: { 'kubernetes.io/service-name': of } }),
    ),
  fc.tuple(routeSpec, name, more).map(([spec, of, rest]) => route(spec, of, rest)),
  fc.tuple(policySpec, name, more).map(([spec, of, rest]) => policy(spec, of, rest)),
  fc.tuple(mtlsSpec, name, more).map(([spec, of, rest]) => mtlsPolicy(spec, of, rest)),
  more.map((rest) => object('heddle.dev/v1alpha1', 'AuthorizationPolicy', 'a', {}, rest)),
);
const world = fc.array(one, { maxLength: 24 });

/** Everything that a mesh says. */
function whole(mesh: Mesh): JsonObject {
  const plain = {
    clusters: [...mesh.clusters].sort(),
    workloads: [...mesh.workloads].sort(),
    statuses: mesh.statuses,
    problems: mesh.problems,
    views: ['shop', 'far', 'nowhere'].map((of) => [...mesh.destinationsFor(of)].sort()),
    inbound: [...mesh.workloads.keys()].sort().map((key) => mesh.inboundFor(key)),
  };
  return JSON.parse(JSON.stringify(plain));
}

test('the same objects in another order make the same mesh', () => {
  fc.assert(
    fc.property(
      world.chain((objects) =>
        fc.tuple(fc.constant(objects), fc.shuffledSubarray(objects, { minLength: objects.length })),
      ),
      ([objects, shuffled]) => {
        const [first, second] = [objects, shuffled].map((of) => whole(buildMesh(of, DEFAULT_MESH_SETTINGS)));
        assert.deepEqual(second, first);
      },
    ),
    { numRuns: 1_000, seed: 3 },
  );
});

test('a mesh made after another is the mesh that is made alone', () => {
  fc.assert(
    fc.property(world, world, (before, now) => {
      const first = buildMesh(before, DEFAULT_MESH_SETTINGS);
      whole(first);
      const second = buildMesh(now, DEFAULT_MESH_SETTINGS, first);
      assert.deepEqual(whole(second), whole(buildMesh(now, DEFAULT_MESH_SETTINGS)));
    }),
    { numRuns: 1_000, seed: 4 },
  );
});

/** Services with a route and a policy each, all meshed. */
function services(count: number, endpointsEach: number): readonly SourcedObject[] {
  return Array.from({ length: count }, (_, index): readonly SourcedObject[] => {
    const name = `s${index}`;
    const at = { namespace: `ns${index % 50}` };
    const pods = Array.from({ length: endpointsEach }, (_none, of) => ({
      name: `${name}-${of}`,
      ip: `10.${index >> 8}.${index & 255}.${of}`,
    }));
    return [
      service(name, `10.96.${index >> 8}.${index & 255}`, undefined, at),
      ...pods.map((of) => pod(of.name, of.ip, at)),
      slice(
        name,
        pods.map((of) => endpoint(of.name, of.ip)),
        undefined,
        {
          ...at,
          labels: { 'kubernetes.io/service-name': name },
        },
      ),
      route({ parentRefs: [{ ...PARENT, name }], rules: [{ backendRefs: [{ name, port: 80 }] }] }, name, at),
      policy({ targetRefs: [{ ...PARENT, name }], timeouts: { request: '5s' } }, name, at),
      mtlsPolicy({ selector: { matchLabels: { app: name } } }, name, at),
    ];
  }).flat();
}

test('what says the same in the next mesh is the same object, what changed is another one', () => {
  const objects = services(20, 3);
  const before = buildMesh(objects, DEFAULT_MESH_SETTINGS);
  const views = before.destinationsFor('x');
  const slower = policy({ targetRefs: [{ ...PARENT, name: 's7' }], timeouts: { request: '6s' } }, 's7', {
    namespace: 'ns7',
  });
  const changed = objects.map((one) =>
    one.object.kind === 'TrafficPolicy' && one.object.metadata.name === 's7' ? slower : structuredClone(one),
  );
  const now = buildMesh(changed, DEFAULT_MESH_SETTINGS, before);
  const others = [...now.destinationsFor('x')]
    .filter(([key, of]) => views.get(key) !== of)
    .map(([key]) => key);
  assert.deepEqual(others, ['s7.ns7.svc.cluster.local:80']);
  assert.ok([...now.clusters].every(([key, of]) => before.clusters.get(key) === of));
});

test('a namespace with routes of its own shares the destinations that they leave alone', () => {
  const consumer = route({ parentRefs: [{ ...PARENT, name: 's1', namespace: 'ns1' }] }, 'c', {
    namespace: 'far',
  });
  const mesh = buildMesh([...services(5, 1), consumer], DEFAULT_MESH_SETTINGS);
  const [common, own] = [mesh.destinationsFor('x'), mesh.destinationsFor('far')];
  assert.deepEqual(
    [...own].filter(([key, of]) => common.get(key) !== of).map(([key]) => key),
    ['s1.ns1.svc.cluster.local:80'],
  );
});

const BUILD_CPU_MS_MAX = 5_000;
/** Eight times as many objects take about eight times as long; where each looked at all others it would be 64 times. */
const TIMES_MAX = 40;

test('1,000 Services of 10 endpoints are built in time, which grows as they do', () => {
  // The processor's time, which other work on the machine doesn't lengthen.
  const bestOf5 = (objects: readonly SourcedObject[]) =>
    Math.min(
      ...[1, 2, 3, 4, 5].map(() => {
        const start = process.cpuUsage();
        const mesh = buildMesh(objects, DEFAULT_MESH_SETTINGS);
        assert.equal(mesh.snapshotFor('x').destination('10.96.0.1:80')?.service, 's1');
        const { user, system } = process.cpuUsage(start);
        return (user + system) / 1_000;
      }),
    );
  const [smallMs, largeMs] = [bestOf5(services(125, 10)), bestOf5(services(1_000, 10))];
  assert.ok(largeMs < BUILD_CPU_MS_MAX, `${largeMs} ms`);
  assert.ok(largeMs < smallMs * TIMES_MAX, `${smallMs} ms, then ${largeMs} ms`);
});
