import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { makeCa } from '../../test/integration/engine/ca.ts';
import {
  CLUSTER,
  clusterProto,
  DESTINATION,
  endpointsProto,
  INBOUND,
  inboundProto,
  listenerProto,
  PLAIN_DESTINATION,
  routesProto,
  secretProto,
} from '../../test/support/xds-samples.ts';
import { decodeCluster, decodeEndpoints } from './clusters.ts';
import { decodeInbound, decodeListener, decodeTrustBundle } from './listeners.ts';
import { decodeRoutes } from './routes.ts';

test('a cluster comes back whole, and its endpoints in their order', () => {
  const { endpoints, ...cluster } = CLUSTER;
  assert.deepEqual(decodeCluster(clusterProto()), cluster);
  assert.deepEqual(decodeEndpoints(endpointsProto()), endpoints);
});

test('every balancer and every key to hash by comes back', () => {
  const keys = [
    undefined,
    { from: 'header', name: 'x' },
    { from: 'cookie', name: 'c' },
    { from: 'query', name: 'q' },
    { from: 'sourceIp' },
  ] as const;
  for (const policy of ['PeakEwma', 'LeastRequest', 'RoundRobin', 'Random', 'Maglev'] as const) {
    for (const hash of keys) {
      const loadBalancer = { policy, hash };
      const proto = clusterProto({ ...CLUSTER, policy: { ...CLUSTER.policy, loadBalancer } });
      assert.deepEqual(decodeCluster(proto).policy.loadBalancer, loadBalancer);
    }
  }
});

test('a destination comes back with its rules, those that lead nowhere included, and without any', () => {
  assert.deepEqual(decodeRoutes(routesProto()), DESTINATION);
  assert.deepEqual(decodeRoutes(routesProto(PLAIN_DESTINATION)), PLAIN_DESTINATION);
  const [first, second] = decodeRoutes(routesProto()).entries;
  assert.equal(first?.rule, second?.rule, 'the matches of a rule share it');
});

test('a listener leads to its routes, the own pod comes back, and so do the roots', () => {
  assert.equal(decodeListener(listenerProto()), DESTINATION.key);
  assert.deepEqual(decodeInbound(inboundProto()), INBOUND);
  const bundle = `${makeCa('one').rootPem}\n${makeCa('two').rootPem}`;
  assert.equal(decodeTrustBundle(secretProto(bundle)), bundle);
});

test('counts, percentages and durations come back, whatever they are', () => {
  const durationMs = fc.integer({ min: 0, max: 31_536_000_000 });
  const values = fc.record({
    count: fc.integer({ min: 0, max: 0xffff_ffff }),
    percent: fc.integer({ min: 0, max: 100 }),
    durationMs,
    attempts: fc.integer({ min: 0, max: 100 }),
    port: fc.integer({ min: 1, max: 65_535 }),
  });
  fc.assert(
    fc.property(values, (value) => {
      const { endpoints, ...cluster } = {
        ...CLUSTER,
        port: value.port,
        policy: {
          ...CLUSTER.policy,
          connectMs: value.durationMs,
          outlierEjection: {
            consecutiveErrors: value.count,
            baseEjectionMs: value.durationMs,
            maxEjectionMs: value.durationMs,
            maxEjectionPercent: value.percent,
          },
          limits: { ...CLUSTER.policy.limits, maxRequests: value.count },
        },
      };
      assert.deepEqual(decodeCluster(clusterProto({ ...cluster, endpoints })), cluster);
      const policy = {
        ...DESTINATION.policy,
        timeouts: { ...DESTINATION.policy.timeouts, requestMs: value.durationMs },
        retry: { ...DESTINATION.policy.retry, attempts: value.attempts },
      };
      const entries = DESTINATION.entries.map((entry) => ({ ...entry, rule: { ...entry.rule, policy } }));
      const destination = { ...DESTINATION, policy, entries };
      assert.deepEqual(decodeRoutes(routesProto(destination)), destination);
    }),
    { numRuns: 200 },
  );
});
