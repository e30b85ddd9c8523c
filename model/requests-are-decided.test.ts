import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { seededRandom } from '../common/random.ts';
import {
  build,
  endpoint,
  KEY,
  PARENT,
  pod,
  policy,
  request,
  route,
  service,
  slice,
} from '../test/support/model-objects.ts';
import { decide, decideTcp } from './decide.ts';
import type { Answer, DecisionState, Reason, RedirectAnswer, RequestView } from './decision-types.ts';
import type { Mesh } from './mesh.ts';
import type { SourcedObject } from './objects.ts';
import { idleState } from './state.ts';

const rules = (...texts: readonly string[]) => ({
  parentRefs: [PARENT],
  rules: texts.map((text, index) => ({
    name: `r${index}`,
    backendRefs: [{ name: 'v2', port: 80 }],
    ...parse(text),
  })),
});
const random = seededRandom(11);
const run = (mesh: Mesh, view: RequestView, state: Partial<DecisionState> = {}, namespace = 'x') =>
  decide(mesh.snapshotFor(namespace), KEY, view, { ...idleState(), ...state }, 0, random);
/** The rule that wins, or the reason of the answer. */
const winner = (mesh: Mesh, target: string, headers = {}) => {
  const decision = run(mesh, request(target, headers));
  return decision.rule?.id.split('#')[1] ?? (decision.kind === 'answer' ? decision.failure.code : 'default');
};

/** A mesh's rules r0, r1, … and which of them each request gets. */
const MATCHING: readonly (readonly [string, readonly string[], Readonly<Record<string, string>>])[] = [
  [
    'exact, then regular expressions, then prefixes, longest first',
    [
      'matches: [{path: {value: /}}]',
      'matches: [{path: {value: /a/b}}]',
      'matches: [{path: {type: Exact, value: /a}}]',
      'matches: [{path: {type: RegularExpression, value: "/a.*"}}]',
      'matches: [{path: {type: RegularExpression, value: "/a/b/c.*"}}]',
    ],
    { 'GET /a': 'r2', 'GET /a/b': 'r3', 'GET /a/b/cd': 'r4', 'GET /b': 'r0', 'GET /a/': 'r3' },
  ],
  [
    'a prefix by path elements, and the slash at its end makes no difference',
    ['matches: [{path: {value: /a/}}]', 'matches: [{path: {value: /b}}]'],
    {
      ...{ 'GET /a': 'r0', 'GET /a/': 'r0', 'GET /a/b': 'r0', 'GET /ab': 'no-route', 'GET /A': 'no-route' },
      ...{ 'GET /b': 'r1', 'GET /b/c': 'r1', 'GET /b.': 'no-route', 'GET /a?x': 'r0', 'GET //a': 'no-route' },
    },
  ],
  [
    'an exact path to the letter',
    ['matches: [{path: {type: Exact, value: /a}}]'],
    {
      'GET /a': 'r0',
      'GET /a/': 'no-route',
      'GET /a?b=c': 'r0',
      'GET /%61': 'no-route',
      'GET /b/../a': 'r0',
    },
  ],
  [
    'dots as what they mean, however deep they go, and encoded ones as letters',
    ['matches: [{path: {value: /admin}}]', 'matches: [{path: {value: /}}]'],
    {
      ...{ 'GET /public/../admin': 'r0', 'GET /./admin/.': 'r0', 'GET /../../admin': 'r0' },
      ...{ 'GET /admin/..': 'r1', 'GET /public/%2e%2e/admin': 'r1', 'GET /...admin': 'r1' },
    },
  ],
  [
    'an expression that means the whole path',
    ['matches: [{path: {type: RegularExpression, value: "/a|/b"}}]'],
    { 'GET /a': 'r0', 'GET /b': 'r0', 'GET /ab': 'no-route', 'GET /b/': 'no-route' },
  ],
  [
    'a server as a whole by the prefix of everything',
    ['matches: [{method: OPTIONS}]'],
    { 'OPTIONS *': 'r0', 'OPTIONS ': 'r0', 'GET /': 'no-route', 'options /': 'no-route' },
  ],
  [
    'a method before headers before queries',
    [
      'matches: [{queryParams: [{name: a, value: "1"}, {name: b, value: "1"}, {name: c, value: "1"}]}]',
      'matches: [{headers: [{name: h, value: "1"}, {name: i, value: "1"}]}]',
      'matches: [{method: GET}]',
      'matches: [{headers: [{name: h, value: "1"}]}]',
    ],
    { 'GET /?a=1&b=1&c=1': 'r2', 'POST /?a=1&b=1&c=1': 'r1', 'PUT /': 'r1' },
  ],
  [
    'the first query parameter of a name, as it is written',
    [
      'matches: [{queryParams: [{name: a, value: "1"}]}]',
      'matches: [{queryParams: [{name: a, type: RegularExpression, value: "x*"}]}]',
    ],
    {
      ...{ 'GET /?a=1': 'r0', 'GET /?a=2&a=1': 'no-route', 'GET /?a=1&a=2': 'r0', 'GET /?b=1&a=1': 'r0' },
      ...{ 'GET /?a=%31': 'no-route', 'GET /?%61=1': 'no-route', 'GET /?a': 'r1', 'GET /?a=': 'r1' },
      ...{ 'GET /?aa=1': 'no-route', 'GET /?A=1': 'no-route', 'GET /': 'no-route' },
    },
  ],
  [
    'any of the matches of a rule, all conditions of a match',
    [
      'matches: [{path: {value: /a}, method: GET}, {headers: [{name: h, value: "1"}, {name: none, value: "1"}]}]',
    ],
    { 'GET /a': 'r0', 'POST /a': 'no-route' },
  ],
];
for (const [name, texts, requests] of MATCHING) {
  test(`rules match ${name}`, () => {
    const mesh = build(route(rules(...texts)));
    for (const [target, wanted] of Object.entries(requests)) {
      assert.equal(winner(mesh, target, { h: '1', i: '1' }), wanted, target);
    }
  });
}

test('the older route wins a tie, then the first by namespace and name, then the first rule', () => {
  const tie = rules('{}', '{}');
  const at = (time: string) => ({ creationTimestamp: time });
  const byAge = build(
    route(tie, 'a', at('2026-01-02T00:00:00Z')),
    route(tie, 'b', at('2026-01-01T00:00:00Z')),
  );
  assert.equal(run(byAge, request('GET /')).rule?.id, 'HTTPRoute/shop/b#r0');
  const byName = build(route(tie, 'b'), route(tie, 'a'));
  assert.equal(run(byName, request('GET /')).rule?.id, 'HTTPRoute/shop/a#r0');
});

test('routes of one Service are merged, and a longer path wins over an older route', () => {
  const at = (time: string) => ({ creationTimestamp: time });
  const mesh = build(
    route(rules('matches: [{path: {value: /a}}]'), 'old', at('2020-01-01T00:00:00Z')),
    route(rules('matches: [{path: {value: /a/b}}]'), 'new', at('2026-01-01T00:00:00Z')),
  );
  assert.equal(run(mesh, request('GET /a/b')).rule?.object, 'shop/new');
  assert.equal(run(mesh, request('GET /a/c')).rule?.object, 'shop/old');
});

test('headers are matched by name whatever its case, by their whole value, and not where they are absent', () => {
  const mesh = build(
    route(
      rules(
        'matches: [{headers: [{name: X-User, value: beta}]}]',
        'matches: [{headers: [{name: x-many, value: "a, b"}]}]',
        'matches: [{headers: [{name: x-re, type: RegularExpression, value: "a|b*"}]}]',
      ),
    ),
  );
  assert.equal(winner(mesh, 'GET /', { 'x-user': 'beta' }), 'r0');
  assert.equal(winner(mesh, 'GET /', { 'x-user': 'Beta' }), 'no-route');
  assert.equal(winner(mesh, 'GET /', { 'x-user': 'beta2' }), 'no-route');
  assert.equal(winner(mesh, 'GET /', { 'x-many': 'a, b' }), 'r1');
  assert.equal(winner(mesh, 'GET /', { 'x-re': '' }), 'r2');
  assert.equal(winner(mesh, 'GET /', { 'x-re': 'ab' }), 'no-route');
  assert.equal(winner(mesh, 'GET /', {}), 'no-route');
});

function answerOf(decision: Answer | RedirectAnswer): string {
  return decision.kind === 'answer'
    ? `${decision.failure.code} ${decision.status}`
    : `${decision.status} ${decision.location}`;
}

const DRAWS = 20_000;
function shares(mesh: Mesh, view = request('GET /')): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (let draw = 0; draw < DRAWS; draw++) {
    const decision = run(mesh, view);
    const what = decision.kind === 'forward' ? decision.cluster.service : answerOf(decision);
    found.set(what, (found.get(what) ?? 0) + 1 / DRAWS);
  }
  return found;
}
const near = (share: number | undefined, wanted: number) =>
  assert.ok(Math.abs((share ?? 0) - wanted) < 0.015, `${share}, not about ${wanted}`);

test('backends get their shares by weight, and one that leads nowhere answers 500 for its own', () => {
  const mesh = build(
    route(
      rules(
        'backendRefs: [{name: catalog, port: 80, weight: 7}, {name: v2, port: 80}, {name: x, port: 80, weight: 2}, {name: v2, port: 80, weight: 0}]',
      ),
    ),
  );
  const found = shares(mesh);
  near(found.get('catalog'), 0.7);
  near(found.get('v2'), 0.1);
  near(found.get('no-backend 500'), 0.2);
});

test('weights of 0, no backends at all and a share for nobody are answered 500', () => {
  for (const text of [
    'backendRefs: []',
    'backendRefs: [{name: v2, port: 80, weight: 0}]',
    'backendRefs: [{name: x, port: 80}]',
  ]) {
    assert.deepEqual([...shares(build(route(rules(text)))).keys()], ['no-backend 500'], text);
  }
});

test('a Service without routes takes everything; with routes, what none matches is a 404', () => {
  assert.equal(winner(build(), 'GET /x'), 'default');
  const decision = run(build(route(rules('matches: [{method: PUT}]'))), request('GET /x'));
  assert.ok(decision.kind === 'answer');
  assert.deepEqual([decision.status, decision.failure.code], [404, 'no-route']);
});

test('a Service without ready endpoints is answered 503, and one that is draining serves as long as nobody else can', () => {
  const db = (conditions: Record<string, boolean>): readonly SourcedObject[] => [
    service('db', '10.96.0.9'),
    pod('db-1', '10.244.0.9'),
    slice('db', [endpoint('db-1', '10.244.0.9', conditions)]),
  ];
  const ask = (objects: readonly SourcedObject[]) => {
    const mesh = build(...objects, route(rules('backendRefs: [{name: db, port: 80}]')));
    const decision = run(mesh, request('GET /'));
    return decision.kind === 'forward' ? decision.endpoint.health : answerOf(decision);
  };
  assert.equal(ask([service('db', '10.96.0.9')]), 'no-endpoints 503');
  assert.equal(ask(db({ ready: false })), 'no-endpoints 503');
  assert.equal(ask(db({ ready: false, serving: true, terminating: true })), 'draining');
  assert.equal(ask(db({ ready: true })), 'ready');
  assert.equal(ask(db({})), 'ready');
});

test('faults take their percentages, delays and aborts apart', () => {
  const faults = { abort: { percent: 20, status: 418 }, delay: { percent: 50, time: '300ms' } };
  const mesh = build(policy({ targetRefs: [PARENT], faults }));
  let [aborted, delayed, both] = [0, 0, 0];
  for (let draw = 0; draw < DRAWS; draw++) {
    const decision = run(mesh, request('GET /'));
    if (decision.kind === 'answer')
      assert.deepEqual([decision.status, decision.failure.code], [418, 'fault']);
    assert.ok(decision.delayMs === 0 || decision.delayMs === 300);
    aborted += Number(decision.kind === 'answer') / DRAWS;
    delayed += Number(decision.delayMs > 0) / DRAWS;
    both += Number(decision.kind === 'answer' && decision.delayMs > 0) / DRAWS;
  }
  near(aborted, 0.2);
  near(delayed, 0.5);
  near(both, 0.1);
  assert.equal(
    run(build(policy({ targetRefs: [PARENT], faults: { abort: { percent: 100 } } })), request('GET /')).kind,
    'answer',
  );
});

test('an open breaker answers 503 at once, a half-open one lets its probe through, and only where there is one', () => {
  const with_ = build(policy({ targetRefs: [PARENT], circuitBreaker: {} }));
  const open = run(with_, request('GET /'), { breaker: () => 'open' });
  assert.ok(open.kind === 'answer');
  assert.deepEqual([open.status, open.failure.code], [503, 'circuit-open']);
  assert.equal(run(with_, request('GET /'), { breaker: () => 'half-open' }).kind, 'forward');
  assert.equal(run(build(), request('GET /'), { breaker: () => 'open' }).kind, 'forward');
});

test('requests past maxRequests are answered 503, the last one below it goes', () => {
  const mesh = build(policy({ targetRefs: [PARENT], limits: { maxRequests: 3 } }));
  assert.equal(run(mesh, request('GET /'), { requestsInFlight: () => 2 }).kind, 'forward');
  const full = run(mesh, request('GET /'), { requestsInFlight: () => 3 });
  assert.ok(full.kind === 'answer');
  assert.deepEqual([full.status, full.failure.code], [503, 'limit-requests']);
});

test('breaker and limits are those of the backend that was chosen', () => {
  const mesh = build(
    route(rules('{}')),
    policy({ targetRefs: [{ kind: 'Service', name: 'v2' }], circuitBreaker: {} }),
  );
  const state = {
    breaker: (cluster: string) => (cluster.includes('v2') ? ('open' as const) : ('closed' as const)),
  };
  const decision = run(mesh, request('GET /'), state);
  assert.equal(decision.kind === 'answer' && decision.failure.code, 'circuit-open');
});

test('bytes that are not looked at go to the Service itself, past its routes and faults', () => {
  const mesh = build(
    route(rules('{}')),
    policy({ targetRefs: [PARENT], faults: { abort: { percent: 100 } } }),
  );
  const decision = decideTcp(mesh.snapshotFor('x'), KEY, idleState(), 0, random, undefined);
  assert.equal(decision.kind === 'forward' && decision.cluster.service, 'catalog');
});

test('an address of the cluster finds its Service, a pod its own, and other keys nothing', () => {
  const snapshot = build().snapshotFor('x');
  const at = (key: string) => {
    const decision = decide(snapshot, key, request('GET /'), idleState(), 0, random);
    return decision.kind === 'forward' ? decision.endpoint.key : answerOf(decision);
  };
  assert.equal(at('10.96.0.1:80'), '10.244.0.2:8080');
  assert.equal(at('10.244.0.2:8080'), '10.244.0.2:8080');
  assert.equal(at('10.96.0.1:81'), 'unknown-destination 503');
});

test('reasons name every step, and asking for them changes nothing', () => {
  const mesh = build(route(rules('matches: [{headers: [{name: a, value: b}]}]', '{}')));
  const told: Reason[] = [];
  const sink = { add: (reason: Reason) => void told.push(reason) };
  const [view, snapshot] = [request('GET /'), mesh.snapshotFor('x')];
  const silent = decide(snapshot, KEY, view, idleState(), 0, seededRandom(5));
  const loud = decide(snapshot, KEY, view, idleState(), 0, seededRandom(5), sink);
  assert.deepEqual(loud, silent);
  assert.deepEqual(
    told.map(({ stage, outcome }) => `${stage} ${outcome}`),
    [
      ...['destination chosen', 'route rejected', 'route chosen', 'route chosen'],
      ...['breaker info', 'policy info', 'balance chosen'],
    ],
  );
  assert.match(told[1]?.text ?? '', /header a is "b": header a is absent/);
});

test('objects that are not there yet are told from objects that are wrong', () => {
  const snapshot = build(route(rules('{}'))).snapshotFor('x');
  const half = { ...snapshot, cluster: () => undefined };
  const decision = decide(half, KEY, request('GET /'), idleState(), 0, random);
  assert.deepEqual(decision.kind === 'answer' && [decision.status, decision.failure.code], [
    503,
    'config-unavailable',
  ]);
});
