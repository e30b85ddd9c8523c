import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import {
  build,
  conditions,
  KEY,
  messages,
  object,
  PARENT,
  policy,
  route,
  service,
} from '../../test/support/model-objects.ts';
import { UNSOUND_TRAFFIC_POLICIES } from '../../test/support/policy-cases.ts';
import type { Mesh } from '../mesh.ts';
import { DEFAULT_CLUSTER_POLICY, DEFAULT_REQUEST_POLICY } from '../policy-types.ts';

const ROUTE = { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'r' };
const V2 = { ...PARENT, name: 'v2' };
const onCatalog = (spec: JsonObject, name = 'p') => policy({ targetRefs: [PARENT], ...spec }, name);
const ruleOf = (mesh: Mesh, index = 0) => mesh.destinationsFor('x').get(KEY)?.entries[index]?.rule.policy;
const clusterOf = (mesh: Mesh, name = 'catalog') =>
  mesh.clusters.get(`outbound|80||${name}.shop.svc.cluster.local`)?.policy;
const rules = (...more: JsonObject[]) => ({
  parentRefs: [PARENT],
  rules: more.map((fields) => ({ backendRefs: [{ name: 'v2', port: 80 }], ...fields })),
});

test('the defaults are those of the contract', () => {
  const mesh = build(onCatalog({ circuitBreaker: {}, loadBalancer: { hash: {} } }));
  assert.deepEqual(mesh.destinationsFor('x').get(KEY)?.policy, {
    timeouts: { requestMs: 0, backendRequestMs: 0, idleMs: 300_000, connectMs: 2_000 },
    retry: {
      attempts: 2,
      on: ['connect-failure', 'refused-stream', 'reset-before-request'],
      ...{ codes: [], grpcStatus: [], methods: ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'] },
      ...{ backoffBaseMs: 25, backoffMaxMs: 250, bodyBufferBytesMax: 65_536 },
      budget: { percent: 20, minPerSecond: 10, intervalMs: 10_000 },
    },
    faults: { abortPercent: 0, abortStatus: 503, delayPercent: 0, delayMs: 0 },
  });
  assert.deepEqual(clusterOf(mesh), {
    ...{ connectMs: 2_000, idleMs: 300_000 },
    circuitBreaker: {
      ...{ errorThresholdPercentage: 50, volumeThreshold: 20, rollingCountTimeoutMs: 10_000 },
      ...{ rollingCountBuckets: 10, resetTimeoutMs: 5_000, errorCodes: [[500, 599]] },
    },
    outlierEjection: {
      consecutiveErrors: 5,
      baseEjectionMs: 30_000,
      maxEjectionMs: 300_000,
      maxEjectionPercent: 50,
    },
    limits: { maxConnections: 1024, maxPendingRequests: 1024, maxRequests: 1024, maxRetries: 100 },
    loadBalancer: { policy: 'PeakEwma', hash: undefined },
  });
  assert.equal(clusterOf(build())?.circuitBreaker, undefined);
});

test('every field reaches the policy in force', () => {
  const mesh = build(
    onCatalog({
      timeouts: { request: '9s', backendRequest: '3s', idle: '1m', connect: '500ms' },
      retry: {
        ...{
          attempts: 4,
          on: ['reset'],
          codes: [502, 503],
          grpcStatus: ['ABORTED'],
          methods: ['GET', 'POST'],
        },
        ...{ backoff: { base: '10ms', max: '1s' }, budget: { percent: 5, minPerSecond: 1, interval: '30s' } },
        bodyBufferBytesMax: 0,
      },
      circuitBreaker: {
        ...{
          errorThresholdPercentage: 30,
          volumeThreshold: 5,
          rollingCountTimeout: '2s',
          rollingCountBuckets: 4,
        },
        ...{ resetTimeout: '1s', errorCodes: ['500-503', '429', 599] },
      },
      faults: { abort: { percent: 0.5, status: 500 }, delay: { percent: 1, time: '2s' } },
      outlierEjection: {
        consecutiveErrors: 1,
        baseEjectionTime: '1s',
        maxEjectionTime: '2s',
        maxEjectionPercent: 100,
      },
      limits: { maxConnections: 1, maxPendingRequests: 0, maxRequests: 2, maxRetries: 0 },
      loadBalancer: { policy: 'Maglev', hash: { header: 'X-User' } },
    }),
  );
  assert.deepEqual(mesh.problems, []);
  assert.deepEqual(mesh.destinationsFor('x').get(KEY)?.policy, {
    timeouts: { requestMs: 9_000, backendRequestMs: 3_000, idleMs: 60_000, connectMs: 500 },
    retry: {
      ...{ attempts: 4, on: ['reset'], codes: [502, 503], grpcStatus: ['ABORTED'], methods: ['GET', 'POST'] },
      ...{ backoffBaseMs: 10, backoffMaxMs: 1_000, bodyBufferBytesMax: 0 },
      budget: { percent: 5, minPerSecond: 1, intervalMs: 30_000 },
    },
    faults: { abortPercent: 0.5, abortStatus: 500, delayPercent: 1, delayMs: 2_000 },
  });
  assert.deepEqual(clusterOf(mesh), {
    ...{ connectMs: 500, idleMs: 60_000 },
    circuitBreaker: {
      ...{
        errorThresholdPercentage: 30,
        volumeThreshold: 5,
        rollingCountTimeoutMs: 2_000,
        rollingCountBuckets: 4,
      },
      ...{
        resetTimeoutMs: 1_000,
        errorCodes: [
          [500, 503],
          [429, 429],
          [599, 599],
        ],
      },
    },
    outlierEjection: {
      consecutiveErrors: 1,
      baseEjectionMs: 1_000,
      maxEjectionMs: 2_000,
      maxEjectionPercent: 100,
    },
    limits: { maxConnections: 1, maxPendingRequests: 0, maxRequests: 2, maxRetries: 0 },
    loadBalancer: { policy: 'Maglev', hash: { from: 'header', name: 'x-user' } },
  });
});

test('Service, route, rule by name and the rule itself: the most particular wins, field by field', () => {
  const mesh = build(
    route(rules({ name: 'one', timeouts: { request: '1s' } }, { name: 'two' })),
    onCatalog(
      {
        timeouts: { request: '9s', idle: '9m' },
        retry: { attempts: 9, codes: [502], budget: { percent: 9 } },
      },
      'a',
    ),
    policy(
      { targetRefs: [ROUTE], timeouts: { idle: '8m' }, retry: { attempts: 8, budget: { minPerSecond: 8 } } },
      'b',
    ),
    policy(
      {
        targetRefs: [{ ...ROUTE, sectionName: 'two' }],
        retry: { attempts: 7 },
        faults: { abort: { percent: 7 } },
      },
      'c',
    ),
  );
  assert.deepEqual(new Set(conditions(mesh).map((one) => one.split(' ')[1])), new Set(['True']));
  const [one, two] = [ruleOf(mesh, 0), ruleOf(mesh, 1)];
  assert.deepEqual([one?.timeouts.requestMs, one?.timeouts.idleMs, one?.retry.attempts], [1_000, 480_000, 8]);
  assert.deepEqual([two?.timeouts.requestMs, two?.timeouts.idleMs, two?.retry.attempts], [9_000, 480_000, 7]);
  assert.deepEqual(two?.retry.budget, { percent: 9, minPerSecond: 8, intervalMs: 10_000 });
  assert.deepEqual([one?.retry.codes, two?.retry.codes], [[502], [502]]);
  assert.deepEqual([one?.faults.abortPercent, two?.faults.abortPercent], [0, 7]);
});

test('several policies on one Service add up where they set different fields', () => {
  const mesh = build(
    onCatalog({ timeouts: { request: '1s' } }, 'a'),
    onCatalog({ timeouts: { idle: '1m' } }, 'b'),
  );
  const { requestMs, idleMs } = mesh.destinationsFor('x').get(KEY)?.policy.timeouts ?? {};
  assert.deepEqual([requestMs, idleMs], [1_000, 60_000]);
});

test('how long connecting may take is the chosen backend to say, unless the route says it', () => {
  const policies = [
    onCatalog({ timeouts: { connect: '9s' } }, 'a'),
    policy({ targetRefs: [V2], timeouts: { connect: '1s' } }, 'b'),
  ];
  const plain = build(route(rules({})), ...policies);
  assert.equal(ruleOf(plain)?.timeouts.connectMs, 0);
  assert.equal(clusterOf(plain, 'v2')?.connectMs, 1_000);
  const said = build(
    route(rules({})),
    ...policies,
    policy({ targetRefs: [ROUTE], timeouts: { connect: '3s' } }, 'c'),
  );
  assert.equal(ruleOf(said)?.timeouts.connectMs, 3_000);
});

test("a rule's retry adds broken connections to the conditions of the policies and takes none away", () => {
  const mesh = build(
    route(rules({ retry: { attempts: 1 } })),
    onCatalog({ retry: { on: ['gateway-error'], codes: [500] } }),
  );
  assert.deepEqual(ruleOf(mesh)?.retry.on, [
    ...['gateway-error', 'connect-failure', 'refused-stream', 'reset-before-request', 'reset'],
  ]);
  assert.deepEqual(ruleOf(mesh)?.retry.codes, [500]);
});

test('a base and a maximum from two places are kept in order, and what was written last stays', () => {
  const backoff = (mesh: Mesh) => {
    const { backoffBaseMs, backoffMaxMs } = ruleOf(mesh)?.retry ?? {};
    return [backoffBaseMs, backoffMaxMs];
  };
  const some = route(rules({}));
  assert.deepEqual(backoff(build(some, onCatalog({ retry: { backoff: { base: '2s' } } }))), [2_000, 20_000]);
  assert.deepEqual(backoff(build(some, onCatalog({ retry: { backoff: { max: '10ms' } } }))), [10, 10]);
  assert.deepEqual(backoff(build(route(rules({ retry: { backoff: '1s' } })))), [1_000, 10_000]);
  const capped = onCatalog({ retry: { backoff: { max: '100ms' } } });
  assert.deepEqual(backoff(build(route(rules({ retry: { backoff: '50ms' } })), capped)), [50, 100]);
  const ejection = clusterOf(
    build(onCatalog({ outlierEjection: { baseEjectionTime: '10m' } })),
  )?.outlierEjection;
  assert.deepEqual([ejection?.baseEjectionMs, ejection?.maxEjectionMs], [600_000, 6_000_000]);
});

test('of two policies that set one field of one target the older wins, and the other is told which field', () => {
  const at = (time: string) => ({ creationTimestamp: time });
  const mesh = build(
    policy({ targetRefs: [PARENT, V2], retry: { attempts: 1 } }, 'a', at('2026-01-02T00:00:00Z')),
    policy(
      { targetRefs: [PARENT], retry: { attempts: 3, backoff: { base: '1ms' } } },
      'b',
      at('2026-01-01T00:00:00Z'),
    ),
  );
  assert.equal(mesh.destinationsFor('x').get(KEY)?.policy.retry.attempts, 3);
  const [second] = mesh.statuses.filter(({ name }) => name === 'a');
  assert.deepEqual(
    second?.parents.map(({ ref, conditions: [one] }) => [ref, one?.reason]),
    [
      ['Service shop/catalog', 'Conflicted'],
      ['Service shop/v2', 'Accepted'],
    ],
  );
  assert.match(messages(mesh), /TrafficPolicy shop\/b is older and sets spec\.retry\.attempts/);
  assert.deepEqual(
    mesh.problems.map(({ field }) => field),
    ['spec.retry.attempts'],
  );
});

for (const [name, spec, field, word] of UNSOUND_TRAFFIC_POLICIES) {
  test(`a policy with ${name} is refused, spec.${field} is to blame, and nothing of it is in force`, () => {
    const mesh = build(onCatalog({ limits: { maxRequests: 7 }, ...spec } as JsonObject));
    for (const one of conditions(mesh)) assert.equal(one, 'Accepted False UnsupportedValue');
    assert.match(mesh.problems.find((one) => one.field === `spec.${field}`)?.message ?? messages(mesh), word);
    assert.equal(clusterOf(mesh), DEFAULT_CLUSTER_POLICY);
    assert.deepEqual(mesh.destinationsFor('x').get(KEY)?.policy, DEFAULT_REQUEST_POLICY);
  });
}

const NOT_FOUND: readonly (readonly [string, JsonValue, RegExp])[] = [
  ['a Service that is not there', { ...PARENT, name: 'x' }, /no Service shop\/x/],
  ['an ExternalName', { ...PARENT, name: 'e' }, /ExternalName/],
  ['a route that is not there', { ...ROUTE, name: 'x' }, /no HTTPRoute shop\/x/],
  ['a rule that is not there', { ...ROUTE, sectionName: 'x' }, /no rule named x/],
];
for (const [name, target, word] of NOT_FOUND) {
  test(`a policy for ${name} is told so`, () => {
    const external = object('v1', 'Service', 'e', { type: 'ExternalName', externalName: 'a.b' });
    const mesh = build(route(rules({ name: 'one' })), external, policy({ targetRefs: [target] }));
    assert.ok(conditions(mesh).includes('Accepted False TargetNotFound'));
    assert.match(messages(mesh), word);
    assert.equal(mesh.problems.at(-1)?.field, 'spec.targetRefs');
  });
}

test('what belongs to a backend is refused on a route', () => {
  for (const [block, fields] of [
    ['circuitBreaker', {}],
    ['outlierEjection', { consecutiveErrors: 1 }],
    ['limits', { maxRequests: 1 }],
    ['loadBalancer', { policy: 'Random' }],
  ] as const) {
    const mesh = build(route(rules({})), policy({ targetRefs: [ROUTE], [block]: fields }));
    assert.ok(conditions(mesh).includes('Accepted False UnsupportedValue'), block);
    assert.match(messages(mesh), new RegExp(`spec\\.${block}.* belongs to a backend`));
  }
});

test('fields that can have no effect on their target are named, and the rest is in force', () => {
  const db = service('db', '10.96.0.9', [{ name: 'tcp', port: 80 }]);
  const mesh = build(
    db,
    policy({
      targetRefs: [{ ...PARENT, name: 'db' }],
      faults: { abort: { percent: 1 } },
      limits: { maxRequests: 7 },
    }),
  );
  assert.deepEqual(conditions(mesh), ['Accepted True Accepted']);
  assert.match(messages(mesh), /no effect on Service shop\/db.*: spec\.faults\.abort\.percent$/);
  assert.equal(mesh.problems[0]?.severity, 'warning');
  assert.equal(clusterOf(mesh, 'db')?.limits.maxRequests, 7);
  const grpc = build(onCatalog({ retry: { grpcStatus: ['UNAVAILABLE'] } }));
  assert.match(messages(grpc), /spec\.retry\.grpcStatus needs POST/);
  assert.deepEqual(build(onCatalog({ retry: { grpcStatus: ['ABORTED'], methods: ['POST'] } })).problems, []);
});
