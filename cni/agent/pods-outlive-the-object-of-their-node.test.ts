import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../common/json.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { clusterObjects, withOwnNode } from './cluster.ts';

test("a node's own object stays as it was once it is gone, and is replaced when it comes again", () => {
  const before = clusterObjects([node('own', '10.244.1.0/24'), node('other', '10.244.2.0/24')]);
  const without = withOwnNode(clusterObjects([node('third', '10.244.3.0/24')], before), before, 'own');
  assert.deepEqual(blocks(without.nodes), { third: '10.244.3.0/24', own: '10.244.1.0/24' });
  const still = withOwnNode(clusterObjects([], without), without, 'own');
  assert.deepEqual(blocks(still.nodes), { own: '10.244.1.0/24' });
  const again = clusterObjects([node('own', '10.244.9.0/24')], still);
  assert.equal(withOwnNode(again, still, 'own'), again);
});

test('a node that was never known is not made up', () => {
  const empty = clusterObjects([]);
  assert.equal(withOwnNode(empty, undefined, 'own'), empty);
  assert.equal(withOwnNode(empty, clusterObjects([node('other', '10.244.2.0/24')]), 'own'), empty);
});

function node(name: string, podCIDR: string): SourcedObject {
  const object = { apiVersion: 'v1', kind: 'Node', metadata: { name }, spec: { podCIDR } };
  return { object, origin: { source: `${name}.yaml`, line: 1 } };
}

function blocks(nodes: readonly SourcedObject[]): Record<string, unknown> {
  return Object.fromEntries(
    nodes.map(({ object }) => [object.metadata.name, (object.spec as JsonObject).podCIDR]),
  );
}
