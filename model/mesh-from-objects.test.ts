import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonValue } from '../common/json.ts';
import { seededRandom } from '../common/random.ts';
import { buildMesh } from './build.ts';
import type { RequestView } from './decision-types.ts';
import { explain } from './explain.ts';
import type { SourcedObject } from './objects.ts';
import { DEFAULT_MESH_SETTINGS, parseMeshSettings } from './settings.ts';
import { idleState } from './state.ts';

const origin = { source: 'test.yaml', line: 1 };
function object(
  apiVersion: string,
  kind: string,
  name: string,
  spec: JsonValue,
  more: Record<string, JsonValue> = {},
): SourcedObject {
  const { namespace = 'shop', annotations = {}, labels = {}, ...rest } = more as Record<string, never>;
  return {
    object: { apiVersion, kind, metadata: { name, namespace, annotations, labels }, spec, ...rest },
    origin,
  };
}
const service = (name: string, ip = '10.96.0.1') =>
  object('v1', 'Service', name, { clusterIP: ip, ports: [{ name: 'http', port: 80, targetPort: 8080 }] });
const route = (spec: JsonValue, name = 'r', namespace = 'shop') =>
  object('gateway.networking.k8s.io/v1', 'HTTPRoute', name, spec, { namespace });
const policy = (spec: JsonValue, name = 'p') => object('heddle.dev/v1alpha1', 'TrafficPolicy', name, spec);
const PARENT = { group: '', kind: 'Service', name: 'catalog' };
const WORLD: readonly SourcedObject[] = [
  service('catalog'),
  service('v2', '10.96.0.2'),
  object(
    'v1',
    'Pod',
    'catalog-1',
    { nodeName: 'n1', serviceAccountName: 'catalog', containers: [{ ports: [{ containerPort: 8080 }] }] },
    {
      annotations: { 'heddle.dev/injected': 'default' },
      status: { podIP: '10.244.0.2' },
    },
  ),
  object('discovery.k8s.io/v1', 'EndpointSlice', 'catalog-x', null, {
    labels: { 'kubernetes.io/service-name': 'catalog' },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080 }],
    endpoints: [
      {
        addresses: ['10.244.0.2'],
        conditions: { ready: true },
        targetRef: { kind: 'Pod', name: 'catalog-1' },
      },
    ],
  }),
];
const build = (...more: SourcedObject[]) => buildMesh([...WORLD, ...more], DEFAULT_MESH_SETTINGS);
const conditions = (...more: SourcedObject[]) =>
  build(...more).statuses.flatMap((status) =>
    status.parents.flatMap((parent) =>
      parent.conditions.map((one) => `${one.type} ${one.status} ${one.reason}`),
    ),
  );
const KEY = 'catalog.shop.svc.cluster.local:80';
const GET: RequestView = {
  method: 'GET',
  path: '/items',
  query: '',
  header: (name) => (name === 'x-user' ? 'beta' : undefined),
  sourceAddress: undefined,
};

test('an endpoint has the identity of its pod and speaks mTLS unless it is switched off', () => {
  const [endpoint] = build().clusters.get('outbound|80||catalog.shop.svc.cluster.local')?.endpoints ?? [];
  assert.equal(endpoint?.mtls, true);
  assert.deepEqual(endpoint?.identities, ['spiffe://cluster.local/ns/shop/sa/catalog']);
  const off = build(
    object('heddle.dev/v1alpha1', 'MTLSPolicy', 'm', { portModes: [{ port: 8080, mode: 'DISABLE' }] }),
  );
  assert.equal(off.clusters.get('pod|8080||10.244.0.2')?.endpoints[0]?.mtls, false);
  assert.equal(off.inboundFor('shop/catalog-1')?.ports[0]?.mode, 'DISABLE');
  assert.equal(off.inboundFor('shop/catalog-1')?.defaultMode, 'STRICT');
  assert.equal(build().snapshotFor('x').destination('10.96.0.1:80')?.key, KEY);
});

const STATUSES: readonly (readonly [string, JsonValue, string, string])[] = [
  [
    'a sound route',
    { parentRefs: [PARENT], rules: [{ backendRefs: [{ name: 'v2', port: 80 }] }] },
    'Accepted True Accepted',
    'ResolvedRefs True ResolvedRefs',
  ],
  [
    'a missing parent',
    { parentRefs: [{ ...PARENT, name: 'x' }] },
    'Accepted False NoMatchingParent',
    'ResolvedRefs True ResolvedRefs',
  ],
  [
    'a missing parent port',
    { parentRefs: [{ ...PARENT, port: 81 }] },
    'Accepted False NoMatchingParent',
    'ResolvedRefs True ResolvedRefs',
  ],
  [
    'a missing backend',
    { parentRefs: [PARENT], rules: [{ backendRefs: [{ name: 'x', port: 80 }] }] },
    'Accepted True Accepted',
    'ResolvedRefs False BackendNotFound',
  ],
  [
    'a missing backend port',
    { parentRefs: [PARENT], rules: [{ backendRefs: [{ name: 'v2' }] }] },
    'Accepted True Accepted',
    'ResolvedRefs False BackendNotFound',
  ],
  [
    'another kind of backend',
    { parentRefs: [PARENT], rules: [{ backendRefs: [{ kind: 'X', name: 'x', port: 80 }] }] },
    'Accepted True Accepted',
    'ResolvedRefs False InvalidKind',
  ],
  [
    'a foreign backend',
    { parentRefs: [PARENT], rules: [{ backendRefs: [{ namespace: 'o', name: 'x', port: 80 }] }] },
    'Accepted True Accepted',
    'ResolvedRefs False RefNotPermitted',
  ],
  [
    'an unsupported filter',
    { parentRefs: [PARENT], rules: [{ filters: [{ type: 'URLRewrite', urlRewrite: {} }] }] },
    'Accepted False UnsupportedValue',
    'ResolvedRefs True ResolvedRefs',
  ],
  [
    'an unknown field',
    { parentRefs: [PARENT], rules: [{ matchs: [] }] },
    'Accepted False UnsupportedValue',
    'ResolvedRefs True ResolvedRefs',
  ],
  [
    'a bad expression',
    { parentRefs: [PARENT], rules: [{ matches: [{ path: { type: 'RegularExpression', value: '(' } }] }] },
    'Accepted False UnsupportedValue',
    'ResolvedRefs True ResolvedRefs',
  ],
  [
    'timeouts in contradiction',
    { parentRefs: [PARENT], rules: [{ timeouts: { request: '1s', backendRequest: '2s' } }] },
    'Accepted False UnsupportedValue',
    'ResolvedRefs True ResolvedRefs',
  ],
];
for (const [name, spec, accepted, resolved] of STATUSES) {
  test(`${name} has the status ${accepted}, ${resolved}`, () => {
    assert.deepEqual(conditions(route(spec)), [accepted, resolved]);
  });
}

test('policies: the older of two contradicting ones wins, unknown fields and absent targets are refused', () => {
  const targetRefs = [PARENT];
  assert.deepEqual(
    conditions(
      policy({ targetRefs, retry: { attempts: 1 } }, 'a'),
      policy({ targetRefs, retry: { attempts: 3 } }, 'b'),
    ),
    ['Accepted True Accepted', 'Accepted False Conflicted'],
  );
  assert.deepEqual(conditions(policy({ targetRefs, retry: { atempts: 1 } })), [
    'Accepted False UnsupportedValue',
  ]);
  assert.deepEqual(conditions(policy({ targetRefs: [{ ...PARENT, name: 'x' }] })), [
    'Accepted False TargetNotFound',
  ]);
  assert.deepEqual(conditions(object('heddle.dev/v1alpha1', 'AuthorizationPolicy', 'x', {})), [
    'Accepted False Unsupported',
  ]);
  assert.deepEqual(
    conditions(policy({ targetRefs, loadBalancer: { policy: 'PeakEwma', hash: {} }, circuitBreaker: {} })),
    ['Accepted True Accepted'],
  );
});

test("a rule's own words win over its route's policy, which wins over the Service's", () => {
  const mesh = build(
    route({ parentRefs: [PARENT], rules: [{ name: 'one', timeouts: { request: '1s' } }] }),
    policy({ targetRefs: [PARENT], timeouts: { request: '9s' }, retry: { attempts: 5, codes: [502] } }, 'a'),
    policy(
      {
        targetRefs: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'r' }],
        retry: { attempts: 1 },
      },
      'b',
    ),
  );
  const rule = mesh.destinationsFor('x').get(KEY)?.entries[0]?.rule;
  assert.equal(rule?.policy.timeouts.requestMs, 1_000);
  assert.equal(rule?.policy.retry.attempts, 1);
  assert.deepEqual(rule?.policy.retry.codes, [502]);
});

test("a consumer's route stands in the producer's place for its namespace only", () => {
  const mesh = build(
    route({ parentRefs: [PARENT] }, 'p'),
    route({ parentRefs: [{ ...PARENT, namespace: 'shop' }] }, 'c', 'other'),
  );
  assert.equal(mesh.destinationsFor('other').get(KEY)?.entries[0]?.rule.object, 'other/c');
  assert.equal(mesh.destinationsFor('shop').get(KEY)?.entries[0]?.rule.object, 'shop/p');
});

test('explain tells of each rule why it won or lost', () => {
  const rules = ['v1', 'beta'].map((value) => ({
    matches: [{ headers: [{ name: 'X-User', value }] }],
    backendRefs: [{ name: 'catalog', port: 80 }],
  }));
  const told = explain(
    build(route({ parentRefs: [PARENT], rules })).snapshotFor('shop'),
    KEY,
    GET,
    idleState(),
    0,
    seededRandom(1),
  );
  assert.equal(told.rule, 'HTTPRoute/shop/r#1');
  assert.equal(told.endpoint?.pod, 'shop/catalog-1');
  assert.deepEqual(
    told.rules.map(({ outcome, why }) => [outcome, why]),
    [
      ['rejected', 'header x-user is "beta"'],
      ['chosen', 'matched'],
    ],
  );
  const none = explain(
    build(route({ parentRefs: [PARENT] })).snapshotFor('shop'),
    KEY,
    GET,
    idleState(),
    0,
    seededRandom(1),
  );
  assert.equal(none.answer?.status, 500);
});

test('the order of objects makes no difference', () => {
  const all = [
    ...WORLD,
    route({ parentRefs: [PARENT] }, 'a'),
    route({ parentRefs: [PARENT] }, 'b'),
    policy({ targetRefs: [PARENT], timeouts: { request: '1s' } }, 'x'),
    policy({ targetRefs: [PARENT], timeouts: { request: '2s' } }, 'y'),
  ];
  const shown = (objects: readonly SourcedObject[]) => {
    const mesh = buildMesh(objects, DEFAULT_MESH_SETTINGS);
    return {
      clusters: [...mesh.clusters],
      statuses: mesh.statuses,
      problems: mesh.problems,
      destinations: [...mesh.destinationsFor('shop')],
    };
  };
  const wanted = shown(all);
  fc.assert(
    fc.property(fc.shuffledSubarray(all, { minLength: all.length }), (order) =>
      assert.deepEqual(shown(order), wanted),
    ),
    { numRuns: 50 },
  );
});

test('no JSON makes it throw, and the prototype stays clean', () => {
  const kinds = [
    ['v1', 'Service'],
    ['v1', 'Pod'],
    ['discovery.k8s.io/v1', 'EndpointSlice'],
    ['gateway.networking.k8s.io/v1', 'HTTPRoute'],
    ['heddle.dev/v1alpha1', 'TrafficPolicy'],
    ['heddle.dev/v1alpha1', 'MTLSPolicy'],
    ['gateway.networking.k8s.io/v1beta1', 'ReferenceGrant'],
  ] as const;
  const keys = fc.constantFrom(
    'parentRefs',
    'rules',
    'matches',
    'path',
    'headers',
    'backendRefs',
    'targetRefs',
    'retry',
    'timeouts',
    'ports',
    'endpoints',
    'selector',
    'matchLabels',
    '__proto__',
    'constructor',
    'name',
    'kind',
    'budget',
  );
  const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom<JsonValue>(null, true, 1, -1, '', 'Service', '5s'),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(keys, tie('value'), { maxKeys: 4 }),
    ),
  }));
  fc.assert(
    fc.property(fc.constantFrom(...kinds), value, value, ([apiVersion, kind], spec, status) => {
      const mesh = build(object(apiVersion, kind, 'z', spec, { status, ports: spec, endpoints: status }));
      mesh.snapshotFor('shop').destination(KEY);
      parseMeshSettings(spec, origin);
      assert.equal(Object.hasOwn(Object.prototype, 'retry'), false);
    }),
    { numRuns: 500 },
  );
});

test('settings: defaults are those of the contract; a bad field keeps the last good value and is named', () => {
  assert.deepEqual(parseMeshSettings(undefined, origin), { settings: DEFAULT_MESH_SETTINGS, problems: [] });
  assert.equal(DEFAULT_MESH_SETTINGS.leafTtlMs, 86_400_000);
  assert.equal(DEFAULT_MESH_SETTINGS.rootTtlMs, 315_360_000_000);
  const last = { ...DEFAULT_MESH_SETTINGS, drainGraceMs: 7_000 };
  const { settings, problems } = parseMeshSettings(
    { drain: { grace: '30' }, x: 1, mtls: { mode: 'STRICT' } },
    origin,
    last,
  );
  assert.equal(settings.drainGraceMs, 7_000);
  assert.equal(settings.mtlsMode, 'STRICT');
  assert.deepEqual(
    problems.map(({ field }) => field),
    ['drain.grace', 'x'],
  );
});
