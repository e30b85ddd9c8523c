import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../common/random.ts';
import type { ReasonCode } from '../common/reasons.ts';
import { request } from '../test/support/model-objects.ts';
import { afterAttempt } from './decide.ts';
import type { AttemptHistory, AttemptOutcome, Forward, Reason } from './decision-types.ts';
import {
  DEFAULT_CIRCUIT_BREAKER,
  DEFAULT_CLUSTER_POLICY,
  DEFAULT_REQUEST_POLICY,
  DEFAULT_RETRY,
  type RetryPolicy,
} from './policy-types.ts';
import type { Cluster, Endpoint } from './snapshot.ts';
import { idleState } from './state.ts';

const endpoint = (key: string): Endpoint => ({
  ...{ key, address: key, port: 80, pod: undefined, node: undefined, zone: undefined },
  ...{ weight: 1, health: 'ready', mtls: false, identities: [] },
});
const KEYS = ['a', 'b', 'c'];
const UNSAFE = ['POST', 'PATCH', 'LOCK'];
/** Conditions that come before any byte of the request could have reached the app. */
const UNSENT = ['connect-failure', 'refused-stream', 'reset-before-request'];

const failure = fc.record({
  kind: fc.constant('failure' as const),
  condition: fc.constantFrom(
    ...([
      'connect-failure',
      'refused-stream',
      'reset-before-request',
      'reset',
      'timeout',
      'breaker',
      'other',
    ] as const),
  ),
  failure: fc.record({
    code: fc.constantFrom<ReasonCode>('connect-failure', 'upstream-reset', 'backend-timeout'),
    source: fc.constant('upstream' as const),
    retrySafety: fc.constantFrom('always' as const, 'idempotent' as const, 'never' as const),
    message: fc.constant(''),
  }),
});
const response = fc.record({
  kind: fc.constant('response' as const),
  status: fc.constantFrom(200, 204, 404, 429, 500, 502, 503, 504),
  appRefused: fc.boolean(),
  grpcStatus: fc.constantFrom('0', '14', '13', 'UNAVAILABLE', '99'),
});
const outcome: fc.Arbitrary<AttemptOutcome> = fc.oneof(failure, response);
const policy: fc.Arbitrary<RetryPolicy> = fc.record({
  attempts: fc.integer({ min: 0, max: 6 }),
  on: fc.subarray([
    'connect-failure',
    'refused-stream',
    'reset-before-request',
    'reset',
    'gateway-error',
  ] as const),
  codes: fc.subarray([429, 500, 503, 504]),
  grpcStatus: fc.subarray(['UNAVAILABLE', 'INTERNAL']),
  methods: fc.constant(DEFAULT_RETRY.methods),
  backoffBaseMs: fc.constantFrom(1, 25, 100),
  backoffMaxMs: fc.constantFrom(100, 250),
  budget: fc.constant(DEFAULT_RETRY.budget),
  bodyBufferBytesMax: fc.constant(0),
});
/** Most cases should be allowed by most bounds, or none would reach the others. */
const seldom = fc.nat(7).map((drawn) => drawn === 0);
const history: fc.Arbitrary<AttemptHistory> = fc.record({
  attempts: fc.integer({ min: 1, max: 5 }),
  tried: fc.subarray(KEYS),
  bodyReplayable: fc.constantFrom(true, true, false),
  responseStarted: seldom,
  incomingAttempt: fc.constantFrom(1, 1, 1, 2, 3),
  remainingMs: fc.constantFrom(undefined, undefined, 0, 10, 60, 10_000),
});
const state = fc.record({
  open: seldom,
  retriesInFlight: fc.constantFrom(0, 1, 99, 100),
  budget: seldom.map((spent) => !spent),
});

const cases = fc.record({
  outcome,
  policy,
  history,
  state,
  method: fc.constantFrom('GET', 'PUT', 'POST', 'PATCH', 'LOCK'),
  seed: fc.nat(1_000),
});
type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;

const cluster: Cluster = {
  ...{ name: 'c', namespace: 'shop', service: 's', port: 80, protocol: 'http' },
  policy: { ...DEFAULT_CLUSTER_POLICY, circuitBreaker: DEFAULT_CIRCUIT_BREAKER },
  endpoints: KEYS.map(endpoint),
};

function run(one: Case, reasons?: { add(reason: Reason): void }) {
  const requestPolicy = { ...DEFAULT_REQUEST_POLICY, retry: one.policy };
  const decision: Forward = {
    ...{
      kind: 'forward',
      rule: undefined,
      match: undefined,
      backend: undefined,
      mirrors: [],
      cluster,
      endpoint: endpoint('a'),
      delayMs: 0,
    },
    ...{ policy: requestPolicy, timeouts: requestPolicy.timeouts },
    destination: {
      ...{ key: 's:80', namespace: 'shop', service: 's', port: 80, protocol: 'http', addresses: [] },
      ...{ entries: [], defaultCluster: 'c', policy: requestPolicy },
    },
  };
  const live = {
    ...idleState(),
    breaker: () => (one.state.open ? ('open' as const) : ('closed' as const)),
    retriesInFlight: () => one.state.retriesInFlight,
    retryBudgetAllows: () => one.state.budget,
  };
  const view = request(`${one.method} /`);
  return afterAttempt(decision, one.outcome, one.history, view, live, 0, seededRandom(one.seed), reasons);
}

const provablyUnsent = ({ outcome: of }: Case) =>
  of.kind === 'response'
    ? of.appRefused
    : of.failure.retrySafety === 'always' && UNSENT.includes(of.condition);

test('whatever the policy asks for, a retry stays within every bound', () => {
  let retried = 0;
  fc.assert(
    fc.property(cases, (one) => {
      const next = run(one);
      if (next.kind === 'give-up') return;
      retried += 1;
      const { policy: asked, history: past, state: live, outcome: of } = one;
      assert.ok(
        !UNSAFE.includes(one.method) || provablyUnsent(one),
        'an unsafe request that may have been seen',
      );
      assert.ok(past.attempts <= asked.attempts, 'attempts');
      assert.ok(!past.responseStarted, 'a response that has begun');
      assert.ok(of.kind !== 'failure' || of.failure.retrySafety !== 'never', 'never');
      assert.ok(
        past.bodyReplayable ||
          (of.kind === 'failure' && provablyUnsent(one) && of.condition !== 'refused-stream'),
        'a body that is gone',
      );
      assert.ok(past.incomingAttempt === 1 || provablyUnsent(one), "a caller's retry");
      assert.ok(!live.open && live.retriesInFlight < 100 && live.budget, 'the mesh’s own bounds');
      const ceiling = Math.min(asked.backoffMaxMs, asked.backoffBaseMs * 2 ** past.attempts);
      assert.ok(
        next.delayMs >= asked.backoffBaseMs && next.delayMs <= Math.max(ceiling, asked.backoffBaseMs),
        `${next.delayMs} ms`,
      );
      assert.ok(past.remainingMs === undefined || next.delayMs < past.remainingMs, 'time');
      assert.ok(
        past.tried.length === KEYS.length || !past.tried.includes(next.endpoint.key),
        'an endpoint tried before',
      );
    }),
    { numRuns: 50_000, seed: 9 },
  );
  assert.ok(retried > 500, `${retried} retries only: the cases say little`);
});

test('every end of a request says why in words', () => {
  fc.assert(
    fc.property(cases, (one) => {
      const told: Reason[] = [];
      const sink = { add: (reason: Reason) => void told.push(reason) };
      const next = run(one, sink);
      assert.deepEqual(next, run(one));
      assert.equal(told.length, 1);
      assert.equal(told[0]?.outcome, next.kind === 'retry' ? 'chosen' : 'rejected');
      assert.ok((told[0]?.text ?? '').split(' ').length >= 3, told[0]?.text);
    }),
    { numRuns: 5_000, seed: 9 },
  );
});

const GIVEN: Case = {
  outcome: { kind: 'response', status: 503, appRefused: false },
  policy: { ...DEFAULT_RETRY, codes: [503] },
  history: {
    attempts: 1,
    tried: ['a'],
    bodyReplayable: true,
    responseStarted: false,
    incomingAttempt: 1,
    remainingMs: undefined,
  },
  state: { open: false, retriesInFlight: 0, budget: true },
  method: 'GET',
  seed: 1,
};
/** What ends a request that would be tried again otherwise, and the words for it. */
const WORDS: readonly (readonly [Partial<Case>, RegExp])[] = [
  [{ method: 'POST' }, /^status 503, and POST may have had its effect already$/],
  [{ outcome: { kind: 'response', status: 500, appRefused: false } }, /^status 500 is an answer$/],
  [{ history: { ...GIVEN.history, attempts: 3 } }, /^all 3 attempts are used$/],
  [{ history: { ...GIVEN.history, bodyReplayable: false } }, /body is not held any more/],
  [{ history: { ...GIVEN.history, responseStarted: true } }, /the response has begun/],
  [{ history: { ...GIVEN.history, incomingAttempt: 2 } }, /a retry of its caller/],
  [{ history: { ...GIVEN.history, remainingMs: 5 } }, /no time is left/],
  [{ state: { ...GIVEN.state, open: true } }, /breaker is open/],
  [{ state: { ...GIVEN.state, retriesInFlight: 100 } }, /limit of retries in flight/],
  [{ state: { ...GIVEN.state, budget: false } }, /retry budget is spent/],
  [{}, /^status 503: attempt 2 in \d+ ms at [bc]$/],
];
for (const [change, words] of WORDS) {
  test(`a person reads: ${words.source}`, () => {
    const told: Reason[] = [];
    run({ ...GIVEN, ...change }, { add: (reason) => void told.push(reason) });
    assert.match(told[0]?.text ?? '', words);
  });
}

test('the wait grows with the attempts, up to its maximum, and is never the same for all', () => {
  const waits = (attempts: number) =>
    Array.from({ length: 500 }, (_, seed) => {
      const next = run({
        ...GIVEN,
        policy: { ...GIVEN.policy, attempts: 9 },
        history: { ...GIVEN.history, attempts },
        seed,
      });
      return next.kind === 'retry' ? next.delayMs : Number.NaN;
    });
  for (const [attempts, ceiling] of [
    [1, 50],
    [2, 100],
    [3, 200],
    [4, 250],
    [9, 250],
  ] as const) {
    const all = waits(attempts);
    assert.ok(
      Math.min(...all) >= 25 && Math.max(...all) <= ceiling,
      `${attempts}: up to ${Math.max(...all)}`,
    );
    assert.ok(
      Math.max(...all) > ceiling * 0.95 && Math.min(...all) < 25 + ceiling * 0.05,
      `${attempts} is spread`,
    );
  }
});
