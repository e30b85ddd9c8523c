import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../common/random.ts';
import { DEFAULT_CLUSTER_POLICY, type LoadBalancerPolicy } from '../policy-types.ts';
import type { Cluster, Endpoint } from '../snapshot.ts';
import { idleState } from '../state.ts';
import { pickEndpoint } from './pick.ts';

function cluster(
  policy: LoadBalancerPolicy['policy'],
  count: number,
  more: Partial<Endpoint> = {},
  percent = 50,
): Cluster {
  const endpoints = Array.from(
    { length: count },
    (_, index): Endpoint => ({
      key: `e${index}`,
      address: 'e',
      port: 1,
      pod: undefined,
      node: undefined,
      zone: undefined,
      weight: 1,
      health: 'ready',
      mtls: false,
      identities: [],
      ...(index === 0 ? more : {}),
    }),
  );
  const { outlierEjection } = DEFAULT_CLUSTER_POLICY;
  return {
    name: 'c',
    namespace: 'n',
    service: 's',
    port: 1,
    protocol: 'http',
    endpoints,
    policy: {
      ...DEFAULT_CLUSTER_POLICY,
      loadBalancer: { policy, hash: undefined },
      outlierEjection: { ...outlierEjection, maxEjectionPercent: percent },
    },
  };
}
function counts(of: Cluster, state = idleState(), source?: string): Map<string, number> {
  const random = seededRandom(3);
  const found = new Map<string, number>();
  for (let index = 0; index < 1_000; index++) {
    const picked = pickEndpoint(of, undefined, source, state, 0, random);
    const key = typeof picked === 'string' ? picked : picked.key;
    found.set(key, (found.get(key) ?? 0) + 1);
  }
  return found;
}
const POLICIES = ['PeakEwma', 'LeastRequest', 'RoundRobin', 'Random', 'Maglev'] as const;
for (const policy of POLICIES) {
  test(`${policy} avoids draining and ejected endpoints, and never ejects more than its share`, () => {
    assert.equal(counts(cluster(policy, 3, { health: 'draining' })).has('e0'), false);
    assert.equal(counts(cluster(policy, 1, { health: 'draining' })).get('e0'), 1_000);
    assert.equal(
      counts(cluster(policy, 4), { ...idleState(), ejected: (_, key) => key === 'e1' }).has('e1'),
      false,
    );
    assert.equal(counts(cluster(policy, 4), { ...idleState(), ejected: () => true }).size, 2);
    assert.equal(counts(cluster(policy, 1), { ...idleState(), ejected: () => true }).get('e0'), 1_000);
    assert.equal(
      counts(cluster(policy, 2, {}, 100), { ...idleState(), ejected: () => true }).get('all-ejected'),
      1_000,
    );
    assert.equal(counts(cluster(policy, 0)).get('no-endpoints'), 1_000);
  });
}
test('peak EWMA prefers the faster, least request the less busy, round robin takes turns, Maglev sticks', () => {
  const slow = { ...idleState(), latencyMs: (_: string, key: string) => (key === 'e0' ? 100 : 1) };
  assert.equal(counts(cluster('PeakEwma', 2), slow).get('e1'), 1_000);
  const busy = { ...idleState(), inFlight: (_: string, key: string) => (key === 'e0' ? 9 : 0) };
  assert.equal(counts(cluster('LeastRequest', 2), busy).get('e1'), 1_000);
  assert.equal(counts(cluster('RoundRobin', 4)).get('e3'), 250);
  assert.equal(counts(cluster('Maglev', 4), idleState(), '10.0.0.1').size, 1);
});
test('weights are shares', () => {
  const share = counts(cluster('Random', 2, { weight: 3 })).get('e0') ?? 0;
  assert.ok(share > 700 && share < 800, String(share));
});
test('random, round robin and the balancers by load spread evenly where nothing tells endpoints apart', () => {
  for (const policy of ['Random', 'RoundRobin', 'LeastRequest', 'PeakEwma'] as const) {
    const found = counts(cluster(policy, 4));
    for (const share of found.values()) assert.ok(share > 190 && share < 310, `${policy}: ${share} of 1,000`);
    assert.equal(found.size, 4);
  }
});
test('an endpoint that nothing is known of gets a first request at once, and no flood after it', () => {
  const known = { ...idleState(), latencyMs: (_: string, key: string) => (key === 'e0' ? undefined : 5) };
  const fresh = counts(cluster('PeakEwma', 2), known);
  assert.equal(fresh.get('e0'), 1_000);
  const busy = counts(cluster('PeakEwma', 2), { ...known, inFlight: () => 1 });
  assert.equal(busy.get('e0'), undefined);
});
