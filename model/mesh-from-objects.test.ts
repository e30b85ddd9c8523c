import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonValue } from '../common/json.ts';
import { seededRandom } from '../common/random.ts';
import {
  build,
  KEY,
  mtlsPolicy,
  object,
  PARENT,
  policy,
  request,
  route,
} from '../test/support/model-objects.ts';
import { explain } from './explain.ts';
import { DEFAULT_MESH_SETTINGS, parseMeshSettings } from './settings.ts';
import { idleState } from './state.ts';

const ORIGIN = { source: 'test.yaml', line: 1 };
const TO_V2 = [{ name: 'v2', port: 80 }];

test('an endpoint has the identity of its pod and speaks mTLS unless it is switched off', () => {
  const [endpoint] = build().clusters.get('outbound|80||catalog.shop.svc.cluster.local')?.endpoints ?? [];
  assert.equal(endpoint?.mtls, true);
  assert.deepEqual(endpoint?.identities, ['spiffe://cluster.local/ns/shop/sa/catalog']);
  const off = build(mtlsPolicy({ portModes: [{ port: 8080, mode: 'DISABLE' }] }));
  assert.equal(off.clusters.get('pod|8080||10.244.0.2')?.endpoints[0]?.mtls, false);
  assert.equal(off.inboundFor('shop/catalog-1')?.ports[0]?.mode, 'DISABLE');
  assert.equal(off.inboundFor('shop/catalog-1')?.defaultMode, 'STRICT');
  assert.equal(off.inboundFor('shop/nobody'), undefined);
});

test("a consumer's route stands in the producer's place for its namespace and its port only", () => {
  const mesh = build(
    route({ parentRefs: [PARENT], rules: [{ backendRefs: TO_V2 }] }, 'p'),
    route({ parentRefs: [{ ...PARENT, namespace: 'shop', port: 80 }] }, 'c', { namespace: 'other' }),
  );
  assert.equal(mesh.destinationsFor('other').get(KEY)?.entries[0]?.rule.object, 'other/c');
  assert.equal(mesh.destinationsFor('shop').get(KEY)?.entries[0]?.rule.object, 'shop/p');
  assert.equal(mesh.destinationsFor('elsewhere').get(KEY)?.entries[0]?.rule.object, 'shop/p');
});

test('objects without a namespace are those of namespace default, to each other, too', () => {
  const bare = (kind: ReturnType<typeof route>) => {
    const { namespace: _none, ...metadata } = kind.object.metadata;
    return { ...kind, object: { ...kind.object, metadata } };
  };
  const mesh = build(
    bare(object('v1', 'Service', 'db', { clusterIP: '10.96.0.9', ports: [{ port: 80 }] })),
    bare(
      route({
        parentRefs: [{ ...PARENT, name: 'db' }],
        rules: [{ backendRefs: [{ name: 'db', port: 80 }] }],
      }),
    ),
    bare(policy({ targetRefs: [{ ...PARENT, name: 'db' }], timeouts: { request: '1s' } })),
  );
  const rule = mesh.destinationsFor('x').get('db.default.svc.cluster.local:80')?.entries[0]?.rule;
  assert.deepEqual([rule?.id, rule?.policy.timeouts.requestMs], ['HTTPRoute/default/r#0', 1_000]);
});

test('explain tells of each rule why it won or lost', () => {
  const rules = ['v1', 'beta'].map((value) => ({
    matches: [{ headers: [{ name: 'X-User', value }] }],
    backendRefs: [{ name: 'catalog', port: 80 }],
  }));
  const ask = (mesh: ReturnType<typeof build>) =>
    explain(
      mesh.snapshotFor('shop'),
      KEY,
      request('GET /items', { 'x-user': 'beta' }),
      idleState(),
      0,
      seededRandom(1),
    );
  const told = ask(build(route({ parentRefs: [PARENT], rules })));
  assert.equal(told.rule, 'HTTPRoute/shop/r#1');
  assert.equal(told.endpoint?.pod, 'shop/catalog-1');
  assert.equal(told.timeouts?.connectMs, 2_000, "the backend's, where the rule says nothing");
  assert.deepEqual(
    told.rules.map(({ outcome, why }) => [outcome, why]),
    [
      ['rejected', 'header x-user is "beta"'],
      ['chosen', 'matched'],
    ],
  );
  assert.equal(ask(build(route({ parentRefs: [PARENT] }))).answer?.status, 500);
});

/** JSON of the words that objects are made of, in no order at all. */
const KEYS = [
  ...[
    'parentRefs',
    'rules',
    'matches',
    'path',
    'headers',
    'queryParams',
    'backendRefs',
    'filters',
    'from',
    'to',
  ],
  ...[
    'targetRefs',
    'retry',
    'timeouts',
    'request',
    'budget',
    'selector',
    'matchLabels',
    'ports',
    'port',
    'endpoints',
  ],
  ...[
    'addresses',
    'conditions',
    'targetRef',
    'podIPs',
    'podIP',
    'containers',
    'name',
    'kind',
    'group',
    'type',
    'value',
  ],
  ...[
    'kubernetes.io/service-name',
    'heddle.dev/opaque-ports',
    '__proto__',
    'constructor',
    'toString',
    'length',
  ],
];
const WORDS: readonly JsonValue[] = [
  ...[
    null,
    true,
    1,
    -1,
    80,
    1e308,
    '',
    'Service',
    'HTTPRoute',
    'catalog',
    '5s',
    'Exact',
    'RequestHeaderModifier',
  ],
  ...['80', '__proto__', 'a,b', '2026-01-01T00:00:00Z'],
];
const { value: json } = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium' },
    fc.constantFrom(...WORDS),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...KEYS), tie('value'), { maxKeys: 5 }),
  ),
}));
const JUNK_KINDS = [
  ...['v1/Service', 'v1/Pod', 'v1/Node', 'discovery.k8s.io/v1/EndpointSlice', 'x/y/z/HTTPRoute'],
  ...['gateway.networking.k8s.io/v1/HTTPRoute', 'gateway.networking.k8s.io/v1/GRPCRoute'],
  ...['gateway.networking.k8s.io/v1beta1/ReferenceGrant', 'heddle.dev/v1alpha1/TrafficPolicy'],
  ...['heddle.dev/v1alpha1/MTLSPolicy', 'heddle.dev/v1alpha1/Nonsense'],
];

test('no JSON makes it throw, and the prototype stays clean', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...JUNK_KINDS),
      fc.record({ spec: json, status: json, labels: json, annotations: json, odd: json }),
      (kindName, { spec, status, labels, annotations, odd }) => {
        const slash = kindName.lastIndexOf('/');
        const sourced = object(kindName.slice(0, slash), kindName.slice(slash + 1), 'catalog', spec, {
          ...{ status, ports: spec, endpoints: status, addressType: 'IPv4' },
        });
        const metadata = { name: 'catalog', namespace: 'shop', labels, annotations, creationTimestamp: odd };
        const whole = {
          ...sourced.object,
          metadata: { ...metadata, deletionTimestamp: odd, generation: odd },
        };
        const served = { 'kubernetes.io/service-name': 'catalog' };
        const mesh = build(
          { object: whole as unknown as typeof sourced.object, origin: ORIGIN },
          {
            ...sourced,
            object: { ...sourced.object, metadata: { name: 'other', namespace: 'shop', labels: served } },
          },
        );
        JSON.stringify([...mesh.clusters, ...mesh.destinationsFor('shop'), mesh.statuses, mesh.problems]);
        for (const workload of mesh.workloads.keys()) mesh.inboundFor(workload);
        parseMeshSettings(spec, ORIGIN);
        assert.equal(Object.hasOwn(Object.prototype, 'rules'), false);
      },
    ),
    { numRuns: 3_000, seed: 5 },
  );
});

test('settings: defaults are those of the contract; a bad field keeps the last good value and is named', () => {
  assert.deepEqual(parseMeshSettings(undefined, ORIGIN), { settings: DEFAULT_MESH_SETTINGS, problems: [] });
  assert.equal(DEFAULT_MESH_SETTINGS.leafTtlMs, 86_400_000);
  assert.equal(DEFAULT_MESH_SETTINGS.rootTtlMs, 315_360_000_000);
  const last = { ...DEFAULT_MESH_SETTINGS, drainGraceMs: 7_000 };
  const { settings, problems } = parseMeshSettings(
    { drain: { grace: '30' }, x: 1, mtls: { mode: 'STRICT' } },
    ORIGIN,
    last,
  );
  assert.equal(settings.drainGraceMs, 7_000);
  assert.equal(settings.mtlsMode, 'STRICT');
  assert.deepEqual(
    problems.map(({ field }) => field),
    ['drain.grace', 'x'],
  );
});
