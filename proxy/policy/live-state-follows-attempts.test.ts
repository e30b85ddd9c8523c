import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import type { AttemptOutcome } from '../../model/decision-types.ts';
import { DEFAULT_CIRCUIT_BREAKER, DEFAULT_CLUSTER_POLICY, DEFAULT_RETRY } from '../../model/policy-types.ts';
import type { Cluster, Endpoint } from '../../model/snapshot.ts';
import { stateFromDump } from '../../model/state.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import { LiveState } from './live-state.ts';

leakCheck();

const endpoint = (key: string): Endpoint => ({
  key,
  address: key.split(':')[0] ?? '',
  port: 80,
  pod: undefined,
  node: undefined,
  zone: undefined,
  weight: 1,
  health: 'ready',
  mtls: false,
  identities: [],
});

const first = endpoint('10.0.0.1:80');
const second = endpoint('10.0.0.2:80');

const RESET_MS = 5_000;
const cluster = (policy: Partial<Cluster['policy']> = {}): Cluster => ({
  name: 'payments',
  namespace: 'shop',
  service: 'payments',
  port: 80,
  protocol: 'http',
  policy: { ...DEFAULT_CLUSTER_POLICY, ...policy },
  endpoints: [first, second],
});
const withBreaker = cluster({
  circuitBreaker: { ...DEFAULT_CIRCUIT_BREAKER, volumeThreshold: 4, resetTimeoutMs: RESET_MS },
});

const response = (status: number): AttemptOutcome => ({ kind: 'response', status, appRefused: false });
const failed = (
  source: 'upstream' | 'downstream',
  condition: 'reset' | 'timeout' | 'other' = 'reset',
): AttemptOutcome => ({
  kind: 'failure',
  condition,
  failure: { code: 'upstream-reset', source, retrySafety: 'idempotent', message: 'gone' },
});

let clock: VirtualClock;
let live: LiveState;
let events: string[];

beforeEach(() => {
  // opossum's reset timer is its own: it runs on node's timers, held still here.
  mock.timers.enable({ apis: ['setTimeout'] });
  clock = new VirtualClock();
  events = [];
  live = new LiveState(clock, {
    breakerChanged: (_cluster, state) => events.push(state),
    endpointEjected: (_cluster, key, forMs) => events.push(`ejected ${key} ${forMs}`),
    clusterForgotten: (cluster) => events.push(`forgotten ${cluster}`),
  });
});

afterEach(() => {
  live.close();
  mock.timers.reset();
});

async function attempt(
  target: Cluster,
  outcome: AttemptOutcome,
  at = first,
  isRetry = false,
): Promise<string> {
  const admitted = live.begin(target, at, isRetry);
  if (!admitted.ok) return admitted.error.code;
  admitted.value.settle(outcome);
  admitted.value.finish();
  await settle(1);
  return 'admitted';
}

test('a breaker opens at the configured share and volume, and refuses at once', async () => {
  for (let index = 0; index < 3; index++) await attempt(withBreaker, response(500));
  assert.equal(live.breaker('payments'), 'closed');
  await attempt(withBreaker, response(500));
  assert.equal(live.breaker('payments'), 'open');
  assert.equal(await attempt(withBreaker, response(200)), 'circuit-open');
  assert.deepEqual(events, ['open']);
});

test('a share that is exactly the threshold opens it, also one of 100 percent', async () => {
  const all = cluster({
    circuitBreaker: { ...DEFAULT_CIRCUIT_BREAKER, volumeThreshold: 4, errorThresholdPercentage: 100 },
  });
  for (let index = 0; index < 4; index++) await attempt({ ...all, name: 'cart' }, response(500));
  assert.equal(live.breaker('cart'), 'open');
  for (const status of [200, 500, 200, 500]) await attempt(withBreaker, response(status));
  assert.equal(live.breaker('payments'), 'open');
});

test('below the volume or the share it stays closed', async () => {
  for (let index = 0; index < 20; index++) await attempt(withBreaker, response(index % 3 === 2 ? 500 : 200));
  assert.equal(live.breaker('payments'), 'closed');
});

async function openBreaker(): Promise<void> {
  for (let index = 0; index < 4; index++) await attempt(withBreaker, response(500));
  assert.equal(live.breaker('payments'), 'open');
}

test('half-open admits one probe; its success closes the breaker', async () => {
  await openBreaker();
  mock.timers.tick(RESET_MS);
  assert.equal(live.breaker('payments'), 'half-open');
  const probe = live.begin(withBreaker, first, false);
  assert.ok(probe.ok);
  assert.equal(live.breaker('payments'), 'open');
  assert.equal(await attempt(withBreaker, response(200)), 'circuit-open');
  probe.value.settle(response(200));
  await settle(1);
  assert.equal(live.breaker('payments'), 'closed');
  assert.deepEqual(events, ['open', 'half-open', 'closed']);
});

test('a probe that fails, or whose client left, opens it again', async () => {
  for (const outcome of [response(503), failed('downstream', 'other')]) {
    live.close();
    await openBreaker();
    mock.timers.tick(RESET_MS);
    await attempt(withBreaker, outcome);
    assert.equal(live.breaker('payments'), 'open');
    mock.timers.tick(RESET_MS);
    assert.equal(live.breaker('payments'), 'half-open');
  }
});

test('an old attempt that ends well while half-open does not close the breaker', async () => {
  const old = live.begin(withBreaker, first, false);
  await openBreaker();
  mock.timers.tick(RESET_MS);
  assert.ok(old.ok);
  old.value.settle(response(200));
  await settle(1);
  assert.equal(live.breaker('payments'), 'half-open');
});

test('clients that leave do not open a breaker', async () => {
  for (let index = 0; index < 20; index++) await attempt(withBreaker, failed('downstream', 'other'));
  assert.equal(live.breaker('payments'), 'closed');
});

test('failures fall out of the rolling window', async () => {
  for (let index = 0; index < 3; index++) await attempt(withBreaker, response(500));
  await clock.advance(11_000);
  await attempt(withBreaker, response(500));
  assert.equal(live.breaker('payments'), 'closed');
});

test('the same policy in a new snapshot keeps an open breaker; another policy starts afresh', async () => {
  await openBreaker();
  assert.equal(await attempt(structuredClone(withBreaker), response(200)), 'circuit-open');
  const other = cluster({ circuitBreaker: { ...DEFAULT_CIRCUIT_BREAKER, volumeThreshold: 5 } });
  assert.equal(await attempt(other, response(200)), 'admitted');
});

test('an endpoint is ejected after its consecutive errors, returns after its time, and stays away longer the next time', async () => {
  const target = cluster({
    outlierEjection: {
      consecutiveErrors: 3,
      baseEjectionMs: 1000,
      maxEjectionMs: 1500,
      maxEjectionPercent: 50,
    },
  });
  for (let index = 0; index < 3; index++) await attempt(target, response(503));
  assert.equal(live.ejected('payments', first.key), true);
  await clock.advance(1000);
  assert.equal(live.ejected('payments', first.key), false);
  for (let index = 0; index < 3; index++) await attempt(target, failed('upstream'));
  await clock.advance(1000);
  assert.equal(live.ejected('payments', first.key), true);
  await clock.advance(500);
  assert.equal(live.ejected('payments', first.key), false);
});

test('never more endpoints are ejected than maxEjectionPercent allows', async () => {
  const target = cluster({
    outlierEjection: {
      ...DEFAULT_CLUSTER_POLICY.outlierEjection,
      consecutiveErrors: 1,
      maxEjectionPercent: 50,
    },
  });
  await attempt(target, response(503), first);
  await attempt(target, response(503), second);
  assert.equal(live.ejected('payments', first.key), true);
  assert.equal(live.ejected('payments', second.key), false);
});

test('a success between errors starts the count anew; a 500 is the app and not the endpoint', async () => {
  const target = cluster({
    outlierEjection: { ...DEFAULT_CLUSTER_POLICY.outlierEjection, consecutiveErrors: 2 },
  });
  for (const status of [503, 200, 503, 500, 503]) await attempt(target, response(status));
  assert.equal(live.ejected('payments', first.key), false);
});

test('the retry budget is a share of the requests, with a floor', async () => {
  const budget = { percent: 20, minPerSecond: 1, intervalMs: 10_000 };
  const target = cluster();
  const allowed = () => live.retryBudgetAllows('payments', clock.now(), budget);
  assert.equal(allowed(), true);
  let retries = 0;
  await attempt(target, response(503));
  while (allowed() && retries < 100) {
    retries++;
    await attempt(target, response(503), first, true);
  }
  assert.equal(retries, 10);
  for (let index = 0; index < 99; index++) await attempt(target, response(503));
  while (allowed() && retries < 100) {
    retries++;
    await attempt(target, response(503), first, true);
  }
  assert.equal(retries, 20);
  await clock.advance(11_000);
  assert.equal(allowed(), true);
  assert.equal(DEFAULT_RETRY.budget.percent, 20);
});

test('the limits of requests and retries in flight are reached and given back', () => {
  const target = cluster({ limits: { ...DEFAULT_CLUSTER_POLICY.limits, maxRequests: 2, maxRetries: 1 } });
  const one = live.begin(target, first, false);
  const retry = live.begin(target, first, true);
  assert.ok(one.ok && retry.ok);
  const refused = live.begin(target, first, false);
  assert.equal(refused.ok ? '' : refused.error.code, 'limit-requests');
  one.value.finish();
  const second = live.begin(target, first, true);
  assert.equal(second.ok ? '' : second.error.code, 'limit-retries');
  assert.equal(live.inFlight('payments', first.key), 1);
  retry.value.finish();
  assert.equal(live.requestsInFlight('payments'), 0);
});

test('latency rises at once and falls over time', async () => {
  const target = cluster();
  const timed = async (ms: number) => {
    const admitted = live.begin(target, first, false);
    assert.ok(admitted.ok);
    await clock.advance(ms);
    admitted.value.settle(response(200));
    admitted.value.finish();
  };
  await timed(10);
  await timed(200);
  assert.equal(Math.round(live.latencyMs('payments', first.key, clock.now()) ?? 0), 200);
  await timed(10);
  const soon = live.latencyMs('payments', first.key, clock.now()) ?? 0;
  assert.ok(soon > 150 && soon < 200);
  await clock.advance(60_000);
  assert.ok((live.latencyMs('payments', first.key, clock.now()) ?? 0) < 5);
});

test('state of destinations that are gone is dropped', async () => {
  await openBreaker();
  live.retain({ destination: () => undefined, cluster: () => undefined }, new Set());
  assert.equal(live.breaker('payments'), 'closed');
  assert.deepEqual(live.dump(), { clusters: {} });
  assert.deepEqual(events, ['open', 'forgotten payments']);
});

test('a decision reads the same from the dump as from the state itself', async () => {
  const budget = { percent: 0, minPerSecond: 1, intervalMs: 10_000 };
  const target = cluster({
    circuitBreaker: { ...DEFAULT_CIRCUIT_BREAKER, volumeThreshold: 20, errorThresholdPercentage: 100 },
    outlierEjection: { ...DEFAULT_CLUSTER_POLICY.outlierEjection, consecutiveErrors: 3 },
  });
  for (let index = 0; index < 20; index++)
    await attempt(target, failed('upstream', 'timeout'), first, index > 5);
  live.retryBudgetAllows('payments', clock.now(), budget);
  const busy = live.begin({ ...target, name: 'cart' }, second, true);
  assert.ok(busy.ok);
  const read = stateFromDump(JSON.parse(JSON.stringify(live.dump())));
  const now = clock.now();
  for (const name of ['payments', 'cart', 'unknown']) {
    assert.equal(read.breaker(name), live.breaker(name), name);
    assert.equal(read.requestsInFlight(name), live.requestsInFlight(name), name);
    assert.equal(read.retriesInFlight(name), live.retriesInFlight(name), name);
    assert.equal(read.retryBudgetAllows(name, now, budget), live.retryBudgetAllows(name, now, budget), name);
    for (const { key } of [first, second]) {
      assert.equal(read.ejected(name, key), live.ejected(name, key), `${name} ${key}`);
      assert.equal(read.inFlight(name, key), live.inFlight(name, key), `${name} ${key}`);
      assert.equal(read.latencyMs(name, key, now), live.latencyMs(name, key, now), `${name} ${key}`);
    }
  }
  assert.equal(read.breaker('payments'), 'open');
  assert.equal(read.ejected('payments', first.key), true);
  assert.equal(read.retryBudgetAllows('payments', now, budget), false);
  assert.equal(read.inFlight('cart', second.key), 1);
});
