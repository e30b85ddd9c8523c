import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../common/random.ts';
import { afterAttempt } from './decide.ts';
import type {
  AttemptHistory,
  AttemptOutcome,
  DecisionState,
  FailureCondition,
  Forward,
  RequestView,
} from './decision-types.ts';
import {
  DEFAULT_CIRCUIT_BREAKER,
  DEFAULT_CLUSTER_POLICY,
  DEFAULT_REQUEST_POLICY,
  type RetryPolicy,
} from './policy-types.ts';
import type { Cluster, Endpoint } from './snapshot.ts';
import { idleState } from './state.ts';

const endpoint = (key: string): Endpoint => ({
  key,
  address: key,
  port: 80,
  pod: undefined,
  node: undefined,
  zone: undefined,
  weight: 1,
  health: 'ready',
  mtls: false,
  identities: [],
});
const cluster: Cluster = {
  name: 'c',
  namespace: 'shop',
  service: 's',
  port: 80,
  protocol: 'http',
  policy: { ...DEFAULT_CLUSTER_POLICY, circuitBreaker: DEFAULT_CIRCUIT_BREAKER },
  endpoints: [endpoint('a'), endpoint('b')],
};
const ASKING: Partial<RetryPolicy> = {
  codes: [503],
  on: ['connect-failure', 'refused-stream', 'reset-before-request', 'reset', 'gateway-error'],
};
const HISTORY: AttemptHistory = {
  attempts: 1,
  tried: ['a'],
  bodyReplayable: true,
  responseStarted: false,
  incomingAttempt: 1,
  remainingMs: undefined,
};
const failed = (
  condition: FailureCondition,
  retrySafety: 'always' | 'idempotent' | 'never',
): AttemptOutcome => ({
  kind: 'failure',
  condition,
  failure: { code: 'upstream-reset', source: 'upstream', retrySafety, message: '' },
});
const answered = (status: number, appRefused = false): AttemptOutcome => ({
  kind: 'response',
  status,
  appRefused,
});

function run(
  outcome: AttemptOutcome,
  method = 'GET',
  history: Partial<AttemptHistory> = {},
  retry: Partial<RetryPolicy> = ASKING,
  state: Partial<DecisionState> = {},
) {
  const policy = { ...DEFAULT_REQUEST_POLICY, retry: { ...DEFAULT_REQUEST_POLICY.retry, ...retry } };
  const decision: Forward = {
    kind: 'forward',
    rule: undefined,
    match: undefined,
    backend: undefined,
    mirrors: [],
    cluster,
    endpoint: endpoint('a'),
    policy,
    timeouts: policy.timeouts,
    delayMs: 0,
    destination: {
      key: 's:80',
      namespace: 'shop',
      service: 's',
      port: 80,
      protocol: 'http',
      addresses: [],
      entries: [],
      defaultCluster: 'c',
      policy,
    },
  };
  const request: RequestView = {
    method,
    path: '/',
    query: '',
    header: () => undefined,
    sourceAddress: undefined,
  };
  return afterAttempt(
    decision,
    outcome,
    { ...HISTORY, ...history },
    request,
    { ...idleState(), ...state },
    0,
    seededRandom(1),
  );
}

/** outcome, then whether it is retried for: GET, POST, GET without body, POST without body. */
const TABLE: readonly (readonly [string, AttemptOutcome, boolean, boolean, boolean, boolean])[] = [
  ['connect-failure', failed('connect-failure', 'always'), true, true, true, true],
  ['reset-before-request', failed('reset-before-request', 'always'), true, true, true, true],
  ['refused-stream', failed('refused-stream', 'always'), true, true, false, false],
  ['app-refused', answered(503, true), true, true, false, false],
  ['reset', failed('reset', 'idempotent'), true, false, false, false],
  ['reset said to be safe', failed('reset', 'always'), true, false, false, false],
  ['timeout', failed('timeout', 'idempotent'), true, false, false, false],
  ['refused, but perhaps seen', failed('refused-stream', 'idempotent'), true, false, false, false],
  ['never', failed('reset', 'never'), false, false, false, false],
  ['breaker', failed('breaker', 'always'), false, false, false, false],
  ['other', failed('other', 'always'), false, false, false, false],
  ['503', answered(503), true, false, false, false],
  ['200', answered(200), false, false, false, false],
];
for (const [name, outcome, get, post, getNoBody, postNoBody] of TABLE) {
  test(`after ${name}: which methods and bodies are retried`, () => {
    const kinds = [
      run(outcome, 'GET'),
      run(outcome, 'POST'),
      run(outcome, 'GET', { bodyReplayable: false }),
      run(outcome, 'POST', { bodyReplayable: false }),
    ].map(({ kind }) => kind === 'retry');
    assert.deepEqual(kinds, [get, post, getNoBody, postNoBody]);
  });
}

test('by default only what never reached the app is retried', () => {
  assert.equal(run(answered(503), 'GET', {}, {}).kind, 'give-up');
  assert.equal(run(failed('reset', 'idempotent'), 'GET', {}, {}).kind, 'give-up');
  assert.equal(run(failed('connect-failure', 'always'), 'POST', {}, {}).kind, 'retry');
});
test('a retry goes to another endpoint, with a delay between base and ceiling', () => {
  const next = run(answered(503));
  assert.ok(next.kind === 'retry');
  assert.equal(next.endpoint.key, 'b');
  assert.ok(next.delayMs >= 25 && next.delayMs <= 50);
});
test('attempts end, a begun response ends them, and so does the time', () => {
  assert.equal(run(answered(503), 'GET', { attempts: 2 }).kind, 'retry');
  assert.equal(run(answered(503), 'GET', { attempts: 3 }).kind, 'give-up');
  assert.equal(run(answered(503), 'GET', { responseStarted: true }).kind, 'give-up');
  assert.equal(run(answered(503), 'GET', { remainingMs: 20 }).kind, 'give-up');
});
test("a caller's retry is not multiplied, unless it never reached the app", () => {
  assert.equal(run(answered(503), 'GET', { incomingAttempt: 2 }).kind, 'give-up');
  assert.equal(run(failed('connect-failure', 'always'), 'GET', { incomingAttempt: 2 }).kind, 'retry');
});
test("the mesh's own bounds are named", () => {
  const code = (state: Partial<DecisionState>) => run(answered(503), 'GET', {}, ASKING, state);
  assert.deepEqual(code({ retryBudgetAllows: () => false }), { kind: 'give-up', code: 'retry-budget' });
  assert.deepEqual(code({ retriesInFlight: () => 100 }), { kind: 'give-up', code: 'limit-retries' });
  assert.deepEqual(code({ breaker: () => 'open' }), { kind: 'give-up', code: 'circuit-open' });
});
