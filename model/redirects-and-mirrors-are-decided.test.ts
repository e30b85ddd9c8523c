import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../common/random.ts';
import {
  build,
  conditions,
  KEY,
  messages,
  object,
  PARENT,
  pod,
  policy,
  request,
  route,
  service,
  yaml,
} from '../test/support/model-objects.ts';
import { decide, decideTcp } from './decide.ts';
import type { DecisionState, Reason } from './decision-types.ts';
import { explain } from './explain.ts';
import type { Mesh } from './mesh.ts';
import type { SourcedObject } from './objects.ts';
import type { Snapshot } from './snapshot.ts';
import { idleState } from './state.ts';

const random = seededRandom(21);
const TO_CATALOG = [{ name: 'catalog', port: 80 }];
const COPY = { name: 'v2', port: 80 };

function mirror(more: object = {}, backendRef: object = COPY) {
  return { type: 'RequestMirror', requestMirror: { backendRef, ...more } };
}

function mirrored(...filters: readonly object[]): SourcedObject {
  const rules = [{ name: 'r0', filters, backendRefs: TO_CATALOG }];
  return route(JSON.parse(JSON.stringify({ parentRefs: [PARENT], rules })));
}

function redirecting(requestRedirect: object): SourcedObject {
  const rules = [{ name: 'r0', filters: [{ type: 'RequestRedirect', requestRedirect }] }];
  return route(JSON.parse(JSON.stringify({ parentRefs: [PARENT], rules })));
}

function run(mesh: Mesh, state: Partial<DecisionState> = {}, snapshot: Snapshot = mesh.snapshotFor('x')) {
  const told: Reason[] = [];
  const view = request('GET /a?b=c', { host: 'catalog' });
  const sink = { add: (reason: Reason) => void told.push(reason) };
  const decision = decide(snapshot, KEY, view, { ...idleState(), ...state }, 0, random, sink);
  return { decision, told };
}

/** Where copies go, and what is said of each mirror. */
function copies(mesh: Mesh, state: Partial<DecisionState> = {}, snapshot?: Snapshot) {
  const { decision, told } = run(mesh, state, snapshot);
  assert.ok(decision.kind === 'forward', JSON.stringify(decision));
  assert.equal(decision.cluster.service, 'catalog', 'the request itself goes on');
  return {
    to: decision.mirrors.map(({ cluster, endpoint }) => `${cluster.service} ${endpoint.key}`),
    told: told.filter(({ stage }) => stage === 'mirror').map(({ outcome, text }) => `${outcome} ${text}`),
  };
}

test('a redirect is a decision of its own, with its Location', () => {
  const { decision, told } = run(build(redirecting({ scheme: 'https', statusCode: 301 })));
  assert.ok(decision.kind === 'redirect');
  assert.deepEqual(
    [decision.status, decision.location, decision.delayMs, decision.rule.id, decision.destination.key],
    [301, 'https://catalog/a?b=c', 0, 'HTTPRoute/shop/r#r0', KEY],
  );
  assert.deepEqual(told.at(-1), {
    ...{ stage: 'redirect', subject: 'HTTPRoute/shop/r#r0', outcome: 'chosen' },
    text: '301 to https://catalog/a?b=c',
  });
});

test('faults strike redirects, too', () => {
  const faulty = (faults: object) =>
    run(build(redirecting({}), policy(JSON.parse(JSON.stringify({ targetRefs: [PARENT], faults })))));
  assert.equal(faulty({ delay: { percent: 100, time: '300ms' } }).decision.delayMs, 300);
  const { decision, told } = faulty({ abort: { percent: 100, status: 418 } });
  assert.ok(decision.kind === 'answer');
  assert.deepEqual(
    [decision.status, decision.failure.code, decision.rule?.id],
    [418, 'fault', 'HTTPRoute/shop/r#r0'],
  );
  assert.equal(told.at(-1)?.text, 'aborted with 418 by policy');
});

test('every mirror gets a copy, at an endpoint of its own Service', () => {
  const { to, told } = copies(build(mirrored(mirror(), mirror({}, { name: 'catalog', port: 80 }))));
  assert.deepEqual(to, ['v2 10.244.0.3:8080', 'catalog 10.244.0.2:8080']);
  assert.equal(told[0], 'chosen 100 of 100 requests are copied: this one to 10.244.0.3:8080');
});

for (const [share, wanted] of [
  [{ percent: 0 }, 0],
  [{ percent: 25 }, 0.25],
  [{ fraction: { numerator: 1, denominator: 3 } }, 1 / 3],
  [{ fraction: { numerator: 7, denominator: 7 } }, 1],
] as const) {
  test(`a mirror of ${JSON.stringify(share)} gets that share of the requests`, () => {
    const mesh = build(mirrored(mirror(share)));
    const draws = 4_000;
    let copied = 0;
    for (let draw = 0; draw < draws; draw++) copied += copies(mesh).to.length;
    assert.ok(Math.abs(copied / draws - wanted) < 0.03, `${copied} of ${draws}`);
    if (wanted === 0) assert.match(copies(mesh).told[0] ?? '', /^skipped 0 of 100 .*: not this one$/);
  });
}

test('a mirror that nothing can be sent to is left out, and the request goes on', () => {
  const breaker = build(
    mirrored(mirror()),
    policy({ targetRefs: [{ ...PARENT, name: 'v2' }], circuitBreaker: {} }),
  );
  const isV2 = (cluster: string) => cluster.includes('v2');
  const open = copies(breaker, { breaker: (cluster) => (isV2(cluster) ? 'open' : 'closed') });
  assert.deepEqual(open.to, []);
  assert.match(open.told[0] ?? '', /^rejected .*its breaker is open$/);
  const limited = build(
    mirrored(mirror()),
    policy({ targetRefs: [{ ...PARENT, name: 'v2' }], limits: { maxRequests: 5 } }),
  );
  const full = copies(limited, { requestsInFlight: (cluster) => (isV2(cluster) ? 5 : 0) });
  assert.deepEqual(full.to, []);
  assert.match(full.told[0] ?? '', /^rejected .*it has 5 requests in flight$/);
  const empty = copies(build(service('none', '10.96.0.7'), mirrored(mirror({}, { name: 'none', port: 80 }))));
  assert.deepEqual(empty.to, []);
  assert.match(empty.told[0] ?? '', /^rejected .*no-endpoints$/);
  const mesh = build(mirrored(mirror()));
  const whole = mesh.snapshotFor('x');
  const partial = { ...whole, cluster: (name: string) => (isV2(name) ? undefined : whole.cluster(name)) };
  assert.match(copies(mesh, {}, partial).told[0] ?? '', /^rejected .*not configured yet$/);
});

const FAR = service('far', '10.96.0.8', undefined, { namespace: 'far' });
const GRANT = yaml(`apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: far}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}]
  to: [{group: "", kind: Service}]
`);
const REFERENCES: readonly (readonly [string, object, readonly SourcedObject[], string])[] = [
  ['to nothing', { name: 'x', port: 80 }, [], 'False BackendNotFound'],
  ['without a port', { name: 'v2' }, [], 'False BackendNotFound'],
  ['of another kind', { group: 'x', kind: 'Y', name: 'z', port: 80 }, [], 'False InvalidKind'],
  ['elsewhere', { name: 'far', namespace: 'far', port: 80 }, [FAR], 'False RefNotPermitted'],
  [
    'elsewhere with a grant',
    { name: 'far', namespace: 'far', port: 80 },
    [FAR, ...GRANT],
    'True ResolvedRefs',
  ],
  [
    'of gRPC',
    { name: 'g', port: 80 },
    [service('g', '10.96.0.8', [{ name: 'grpc', port: 80 }])],
    'False UnsupportedProtocol',
  ],
];
for (const [name, ref, more, condition] of REFERENCES) {
  test(`a mirror ${name} is told as ${condition}, and requests go on without it`, () => {
    const mesh = build(...more, pod('far-1', '10.244.7.7', { namespace: 'far' }), mirrored(mirror({}, ref)));
    assert.deepEqual(conditions(mesh), ['Accepted True Accepted', `ResolvedRefs ${condition}`]);
    const [only] = mesh.destinationsFor('x').get(KEY)?.entries[0]?.rule.mirrors ?? [];
    assert.equal(only?.invalid === undefined, condition.startsWith('True'));
    assert.deepEqual(copies(mesh).to, []);
    if (only?.invalid === undefined) return;
    assert.ok(messages(mesh).includes(only.invalid));
    const field = 'spec.rules[0].filters[0].requestMirror.backendRef';
    assert.deepEqual(
      mesh.problems.map((problem) => problem.field),
      [field],
    );
  });
}

test('a connection of bytes is not copied', () => {
  const mesh = build(mirrored(mirror()));
  const decision = decideTcp(mesh.snapshotFor('x'), KEY, idleState(), 0, random, undefined);
  assert.deepEqual(decision.kind === 'forward' && decision.mirrors, []);
});

const WHOLE = object('gateway.networking.k8s.io/v1', 'HTTPRoute', 'r', {
  parentRefs: [PARENT],
  rules: [
    {
      matches: [{ path: { value: '/old' } }],
      filters: [
        {
          type: 'URLRewrite',
          urlRewrite: {
            hostname: 'new.example',
            path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/new' },
          },
        },
        { type: 'RequestMirror', requestMirror: { backendRef: { name: 'v2', port: 80 } } },
      ],
      backendRefs: TO_CATALOG,
    },
    {
      matches: [{ path: { value: '/moved' } }],
      filters: [{ type: 'RequestRedirect', requestRedirect: { port: 8443 } }],
    },
  ],
});

test('an explanation shows what goes on, what is copied, and where a redirect leads', () => {
  const snapshot = build(WHOLE).snapshotFor('x');
  const asked = (target: string) =>
    explain(snapshot, KEY, request(target, { host: 'catalog' }), idleState(), 0, random);
  const sent = asked('GET /old/a');
  assert.deepEqual(sent.rewrite, { host: 'new.example', path: '/new/a' });
  assert.deepEqual(sent.mirrors, [
    { cluster: 'outbound|80||v2.shop.svc.cluster.local', endpoint: '10.244.0.3:8080' },
  ]);
  assert.equal(sent.redirect, null);
  assert.equal(
    sent.reasons.find(({ stage }) => stage === 'rewrite')?.text,
    'host catalog becomes new.example, path /old/a becomes /new/a',
  );
  const moved = asked('GET /moved');
  assert.equal(moved.decision, 'redirect');
  assert.deepEqual(moved.redirect, { status: 302, location: 'http://catalog:8443/moved' });
  assert.deepEqual([moved.answer, moved.endpoint, moved.timeouts, moved.retry], [null, null, null, null]);
  assert.deepEqual(
    moved.rules.map(({ outcome }) => outcome),
    ['chosen', 'rejected'],
  );
});

test('an explanation names the Host that the app hears, whichever filter of the rule or its backend sets it', () => {
  const setHost = (value: string) => ({
    type: 'RequestHeaderModifier',
    requestHeaderModifier: { set: [{ name: 'HOST', value }] },
  });
  const rewrite = { type: 'URLRewrite', urlRewrite: { hostname: 'rewrite.example' } };
  const heard = (filters: readonly object[], ofBackend: readonly object[]) => {
    const rules = [{ filters, backendRefs: [{ ...TO_CATALOG[0], filters: ofBackend }] }];
    const mesh = build(route(JSON.parse(JSON.stringify({ parentRefs: [PARENT], rules }))));
    const view = request('GET /', { host: 'catalog' });
    const told = explain(mesh.snapshotFor('x'), KEY, view, idleState(), 0, random);
    return [told.rewrite, told.reasons.find(({ stage }) => stage === 'rewrite')?.text];
  };
  const becomes = (host: string) => [{ host, path: null }, `host catalog becomes ${host}`];
  assert.deepEqual(heard([rewrite], [setHost('backend.example')]), becomes('backend.example'));
  assert.deepEqual(
    heard([setHost('rule.example')], [setHost('backend.example')]),
    becomes('backend.example'),
  );
  assert.deepEqual(heard([setHost('rule.example')], []), becomes('rule.example'));
  assert.deepEqual(heard([rewrite], []), becomes('rewrite.example'));
  assert.deepEqual(heard([], []), [null, undefined]);
});
