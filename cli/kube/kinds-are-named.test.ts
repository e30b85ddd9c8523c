import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wantedOf } from '../commands/wanted.ts';
import { findKind, isNamespaced, KINDS, objectKey, resourceName } from './kinds.ts';

test('plural, singular, short and grouped names mean the same kind', () => {
  for (const name of ['po', 'pod', 'pods', 'Pod', 'PODS']) assert.equal(findKind(name)?.kind, 'Pod', name);
  assert.equal(findKind('deployments.apps')?.kind, 'Deployment');
  assert.equal(findKind('httproute.gateway.networking.k8s.io')?.kind, 'HTTPRoute');
  assert.equal(findKind('trafficpolicies.heddle.dev')?.kind, 'TrafficPolicy');
  assert.equal(findKind('pods.apps'), undefined);
  assert.equal(findKind('widgets'), undefined);
});

test('no two kinds share a name', () => {
  const names = KINDS.flatMap((kind) => [...new Set([kind.plural, kind.singular, ...kind.short])]);
  assert.equal(new Set(names).size, names.length);
});

test('objects are named as kubectl names them', () => {
  const route = {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'a', namespace: 'shop' },
  };
  assert.equal(resourceName(route), 'httproute.gateway.networking.k8s.io/a');
  assert.equal(resourceName({ ...route, apiVersion: 'v1', kind: 'Pod' }), 'pod/a');
});

test('keys give namespaced kinds their default namespace and others none', () => {
  assert.equal(objectKey({ kind: 'Service', metadata: { name: 'a' } }), 'Service/default/a');
  assert.equal(objectKey({ kind: 'Namespace', metadata: { name: 'a', namespace: 'x' } }), 'Namespace//a');
  assert.equal(isNamespaced('Pod'), true);
  assert.equal(isNamespaced('ClusterRole'), false);
});

test("a kind and a name are asked for in both of kubectl's ways", () => {
  const kinds = (positionals: string[]) => wantedOf(positionals).kinds.map((kind) => kind.kind);
  assert.deepEqual(kinds(['pods']), ['Pod']);
  assert.equal(wantedOf(['pod/web']).name, 'web');
  assert.equal(wantedOf(['pod', 'web']).name, 'web');
  assert.deepEqual(kinds(['svc,deploy']), ['Service', 'Deployment']);
  assert.deepEqual(kinds(['all']), ['Pod', 'Service', 'Deployment', 'Job']);
  assert.throws(() => wantedOf([]), /say which kind/);
  assert.throws(() => wantedOf(['pod/web', 'api']), /given twice/);
  assert.throws(() => wantedOf(['pdos']), /unknown kind "pdos" \(did you mean "pods"\?\)/);
});
