import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../common/json.ts';
import {
  build,
  conditions,
  KEY,
  messages,
  mtlsPolicy,
  object,
  PARENT,
  pod,
  policy,
  route,
  service,
} from '../test/support/model-objects.ts';
import type { SourcedObject } from './objects.ts';
import { isSound } from './soundness.ts';

/** `now`, with what it was before, as a source that remembers gives it. */
const after = (before: SourcedObject, now: SourcedObject): SourcedObject => ({
  ...now,
  lastGood: before.object,
});
const TO_V2 = [{ name: 'v2', port: 80 }];
const spec = (rule: JsonObject = {}) => ({
  parentRefs: [PARENT],
  rules: [{ name: 'one', backendRefs: TO_V2, ...rule }],
});

test('a route with a slip is refused, and what it was before stays in force', () => {
  for (const slip of [
    { backendRefs: [{ name: 'v2', port: 80, weight: 'fifty' }] },
    { matchs: [] },
    { filters: [{ type: 'CORS' }] },
  ]) {
    const mesh = build(after(route(spec()), route(spec(slip))));
    assert.equal(conditions(mesh)[0], 'Accepted False UnsupportedValue');
    assert.match(messages(mesh), /its last good version stays in force/);
    assert.deepEqual(
      mesh
        .destinationsFor('x')
        .get(KEY)
        ?.entries.map(({ rule: { id, backends } }) => [id, backends[0]?.cluster]),
      [['HTTPRoute/shop/r#one', 'outbound|80||v2.shop.svc.cluster.local']],
    );
    assert.equal(mesh.statuses.length, 1);
  }
});

test('a route whose parent lost its group stays attached, and so does one of another parent beside it', () => {
  const { group: _, ...typo } = PARENT;
  const parentRefs = [{ group: '', kind: 'Service', name: 'v2' }, typo];
  const mesh = build(after(route(spec()), route({ ...spec(), parentRefs })));
  assert.match(messages(mesh), /parentRefs\[1\]\.group must be written: a Service has group: ""/);
  const entries = (key: string) => mesh.destinationsFor('x').get(key)?.entries.length;
  assert.deepEqual([entries(KEY), entries('v2.shop.svc.cluster.local:80')], [1, 0]);
  const foreign = { parentRefs: [PARENT, { ...PARENT, group: 'serving.knative.dev' }] };
  const both = build(route(foreign));
  assert.equal(
    both.destinationsFor('x').get(KEY)?.entries.length,
    1,
    "another controller's Service is no slip",
  );
});

test("a policy of a route keeps what it said before a block of Services' got into it", () => {
  const target = { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'r' };
  const was = { targetRefs: [target], timeouts: { request: '3s' } };
  const misplaced = { targetRefs: [PARENT, target], timeouts: { request: '4s' }, limits: { maxRequests: 1 } };
  const mesh = build(route(spec()), after(policy(was), policy(misplaced)));
  assert.match(messages(mesh), /spec\.limits belongs to a backend.*its last good version stays in force/);
  assert.equal(mesh.destinationsFor('x').get(KEY)?.entries[0]?.rule.policy.timeouts.requestMs, 3_000);
  assert.deepEqual(
    mesh.problems.map(({ field }) => field),
    ['spec.limits'],
  );
});

test('an object of a version that is not read is refused, and what it was before stays in force', () => {
  const of = (apiVersion: string, sourced: SourcedObject): SourcedObject => ({
    ...sourced,
    object: { ...sourced.object, apiVersion },
  });
  const old = of('gateway.networking.k8s.io/v1alpha2', route(spec({ name: 'two' })));
  const strict = mtlsPolicy({ mode: 'STRICT' });
  const mesh = build(
    pod('db-1', '10.244.0.9'),
    after(route(spec()), old),
    after(strict, of('heddle.dev/v1', mtlsPolicy({ mode: 'DISABLE' }))),
  );
  assert.equal(mesh.destinationsFor('x').get(KEY)?.entries[0]?.rule.id, 'HTTPRoute/shop/r#one');
  assert.equal(mesh.inboundFor('shop/db-1')?.defaultMode, 'STRICT');
  assert.deepEqual(conditions(mesh), Array(2).fill('Accepted False Unsupported'));
  assert.match(messages(mesh), /v1alpha2 is not supported.*; its last good version stays in force/);
  assert.deepEqual([isSound(old), build(old).destinationsFor('x').get(KEY)?.entries.length], [false, 0]);
});

test('a policy finds the rules that are in force', () => {
  const target = { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'r', sectionName: 'one' };
  const mesh = build(
    after(route(spec()), route(spec({ name: 'One' }))),
    policy({ targetRefs: [target], retry: { attempts: 7 } }),
  );
  assert.equal(mesh.destinationsFor('x').get(KEY)?.entries[0]?.rule.policy.retry.attempts, 7);
});

test('a route that was given to a Gateway is gone from its Service, whatever it holds', () => {
  const moved = {
    parentRefs: [{ name: 'front' }],
    rules: [{ filters: [{ type: 'URLRewrite', urlRewrite: {} }] }],
  };
  assert.equal(
    build(after(route(spec()), route(moved)))
      .destinationsFor('x')
      .get(KEY)?.entries.length,
    0,
  );
});

test('a policy with a slip is refused, and what it was before stays in force', () => {
  const before = policy({ targetRefs: [PARENT], circuitBreaker: {}, timeouts: { request: '3s' } });
  const now = policy({ targetRefs: [{ ...PARENT, name: 'v2' }], circuitBreaker: { volume: 1 } });
  const mesh = build(after(before, now));
  assert.deepEqual(conditions(mesh), ['Accepted False UnsupportedValue']);
  assert.equal(mesh.destinationsFor('x').get(KEY)?.policy.timeouts.requestMs, 3_000);
  assert.ok(mesh.clusters.get('outbound|80||catalog.shop.svc.cluster.local')?.policy.circuitBreaker);
  assert.equal(mesh.clusters.get('outbound|80||v2.shop.svc.cluster.local')?.policy.circuitBreaker, undefined);
});

test('a grant with a slip still lets in whom it let in before, and nobody else', () => {
  const grant = (to: JsonObject) =>
    object(
      'gateway.networking.k8s.io/v1',
      'ReferenceGrant',
      'g',
      {
        from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'shop' }],
        to: [{ group: '', kind: 'Service', ...to }],
      },
      { namespace: 'bank' },
    );
  const world = [
    service('pay', '10.96.1.1', undefined, { namespace: 'bank' }),
    service('keys', '10.96.1.2', undefined, { namespace: 'bank' }),
    route(spec({ backendRefs: ['pay', 'keys'].map((name) => ({ name, namespace: 'bank', port: 80 })) })),
  ];
  const refused = (sourced: SourcedObject) => {
    const mesh = build(...world, sourced);
    const { rule } = mesh.destinationsFor('x').get(KEY)?.entries[0] ?? {};
    return [rule?.backends.map(({ invalid }) => invalid !== undefined), mesh.problems[0]?.field];
  };
  const slip = grant({ nmae: 'keys' });
  assert.deepEqual(refused(after(grant({ name: 'pay' }), slip)), [[false, true], 'spec.to[0].nmae']);
  assert.deepEqual(refused(slip), [[true, true], 'spec.to[0].nmae']);
});

test('a STRICT namespace stays STRICT through a slip', () => {
  const mode = (...policies: readonly SourcedObject[]) => {
    const mesh = build(pod('db-1', '10.244.0.9'), ...policies);
    return [mesh.inboundFor('shop/db-1')?.defaultMode, ...conditions(mesh)];
  };
  const before = mtlsPolicy({ mode: 'STRICT' });
  const slip = mtlsPolicy({ mode: 'STRIKT' });
  assert.deepEqual(mode(after(before, slip)), ['STRICT', 'Accepted False UnsupportedValue']);
  assert.deepEqual(mode(slip), ['PERMISSIVE', 'Accepted False UnsupportedValue']);
  const younger = mtlsPolicy({ mode: 'DISABLE' }, 'z');
  assert.deepEqual(mode(after(before, slip), younger), [
    ...['STRICT', 'Accepted False UnsupportedValue', 'Accepted False Conflicted'],
  ]);
});

test('what is sound needs no memory', () => {
  const mesh = build(after(route(spec({ name: 'old' })), route(spec({ name: 'new' }))));
  assert.equal(mesh.destinationsFor('x').get(KEY)?.entries[0]?.rule.id, 'HTTPRoute/shop/r#new');
  assert.equal(conditions(mesh)[0], 'Accepted True Accepted');
});

test('soundness is what the mesh accepts', () => {
  const table: readonly (readonly [SourcedObject, boolean])[] = [
    [route(spec()), true],
    [route(spec({ matchs: [] })), false],
    [policy({ targetRefs: [PARENT] }), true],
    [policy({ targetRefs: [PARENT], retries: {} }), false],
    [mtlsPolicy({}), true],
    [mtlsPolicy({ mode: 1 }), false],
    [object('gateway.networking.k8s.io/v1', 'ReferenceGrant', 'g', {}), false],
    [pod('a', '10.0.0.1'), true],
  ];
  for (const [sourced, sound] of table) assert.equal(isSound(sourced), sound);
});
