import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  clusterName,
  destinationKey,
  parseClusterName,
  serviceHost,
  serviceHostCandidates,
} from './names.ts';

const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);

test('the name of a cluster gives back the Service port that it was made of', () => {
  fc.assert(
    fc.property(label, label, fc.integer({ min: 1, max: 65_535 }), (namespace, name, port) => {
      assert.deepEqual(parseClusterName(clusterName(namespace, name, port)), { namespace, name, port });
    }),
  );
});

test('what is not the name of a cluster is told as such', () => {
  for (const text of [
    '',
    'outbound|80||catalog.shop.svc.example.com',
    'outbound|80|v1|catalog.shop.svc.cluster.local',
    'inbound|80||catalog.shop.svc.cluster.local',
    'outbound|0||catalog.shop.svc.cluster.local',
    'outbound|65536||catalog.shop.svc.cluster.local',
    'outbound|-1||catalog.shop.svc.cluster.local',
    'outbound|80||a.b.c.svc.cluster.local',
    'outbound|80||catalog.shop.svc.cluster.local\n',
    'invalid|outbound|80||catalog.shop.svc.cluster.local',
  ]) {
    assert.equal(parseClusterName(text), undefined, JSON.stringify(text));
  }
});

test('an address of version 6 stands in brackets', () => {
  assert.equal(destinationKey('fd10:96::1', 80), '[fd10:96::1]:80');
  assert.equal(destinationKey('10.96.0.1', 80), '10.96.0.1:80');
});

test('whatever a client calls it, at most one full name comes of it, and one that DNS can carry', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.domain(), label, fc.ipV4(), fc.ipV6()), (host) => {
      const candidates = serviceHostCandidates(host, 'shop');
      assert.ok(candidates.length <= 1);
      for (const name of candidates) assert.match(name, /^(?=.{1,253}$)([-a-z0-9_]{1,63}\.)+cluster\.local$/);
    }),
    { numRuns: 2_000 },
  );
});

test('a full name is itself, in any case and with a dot at its end', () => {
  fc.assert(
    fc.property(label, label, (namespace, name) => {
      const host = serviceHost(namespace, name);
      for (const form of [
        host,
        `${host}.`,
        host.toUpperCase(),
        `${name}.${namespace}.svc`,
        `${name}.${namespace}`,
      ]) {
        assert.deepEqual(serviceHostCandidates(form, 'elsewhere'), [host]);
      }
    }),
  );
});
