import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Destination } from '../../model/snapshot.ts';
import {
  CATALOG,
  CLUSTER,
  COPY_CLUSTER,
  DESTINATION,
  ENDPOINTS,
  PLAIN_DESTINATION,
} from '../../test/support/xds-samples.ts';
import type { ClusterWithoutEndpoints } from '../config/clusters.ts';
import { Resources } from './resources.ts';
import { SnapshotBuilder } from './snapshots.ts';

const { endpoints: _endpoints, ...PARTS } = CLUSTER;
const OTHER = 'outbound|80||cart.shop.svc.cluster.local';
const MOVED: Destination = { ...PLAIN_DESTINATION, defaultCluster: OTHER };

function cluster(name: string): ClusterWithoutEndpoints {
  return { ...PARTS, name };
}

/** Resources with one destination in force. */
function served(): { resources: Resources; builder: SnapshotBuilder } {
  const resources = new Resources(() => true);
  const builder = new SnapshotBuilder(resources);
  resources.listeners.put(CATALOG, '1', { routeName: CATALOG, aliases: PLAIN_DESTINATION.addresses });
  resources.routes.put(CATALOG, '1', PLAIN_DESTINATION);
  resources.clusters.put(CLUSTER.name, '1', cluster(CLUSTER.name));
  resources.endpoints.put(CLUSTER.name, '1', ENDPOINTS);
  assert.equal(builder.build().destination(CATALOG), PLAIN_DESTINATION);
  return { resources, builder };
}

test('a first version is there once its routes, clusters and endpoints are, and not before', () => {
  const resources = new Resources(() => true);
  const builder = new SnapshotBuilder(resources);
  const there = () => builder.build().destination(CATALOG) !== undefined;
  resources.listeners.put(CATALOG, '1', { routeName: CATALOG, aliases: [] });
  assert.ok(!there());
  resources.routes.put(CATALOG, '1', PLAIN_DESTINATION);
  assert.ok(!there());
  assert.deepEqual([...builder.clustersWanted()], [CLUSTER.name]);
  resources.clusters.put(CLUSTER.name, '1', cluster(CLUSTER.name));
  assert.ok(!there());
  resources.endpoints.put(CLUSTER.name, '1', ENDPOINTS);
  assert.ok(there());
});

test('a new version waits for its cluster and endpoints, and both sets are wanted meanwhile', () => {
  const { resources, builder } = served();
  resources.routes.put(CATALOG, '2', MOVED);
  assert.equal(builder.build().destination(CATALOG), PLAIN_DESTINATION);
  assert.deepEqual([...builder.clustersWanted()].sort(), [OTHER, CLUSTER.name].sort());
  resources.clusters.put(OTHER, '1', cluster(OTHER));
  assert.equal(builder.build().destination(CATALOG), PLAIN_DESTINATION);
  assert.equal(builder.build().cluster(OTHER), undefined, 'a cluster without endpoints is not offered');
  resources.endpoints.put(OTHER, '1', ENDPOINTS);
  const snapshot = builder.build();
  assert.equal(snapshot.destination(CATALOG), MOVED);
  assert.ok(snapshot.cluster(OTHER) !== undefined);
  assert.equal(snapshot.cluster(CLUSTER.name), undefined);
  assert.deepEqual([...builder.clustersWanted()], [OTHER]);
});

test('a cluster that does not exist holds nothing up', () => {
  const { resources, builder } = served();
  resources.routes.put(CATALOG, '2', MOVED);
  resources.clusters.remove(OTHER, true);
  const snapshot = builder.build();
  assert.equal(snapshot.destination(CATALOG), MOVED);
  assert.equal(snapshot.cluster(OTHER), undefined);
});

test('a cluster whose endpoints do not exist has none', () => {
  const { resources, builder } = served();
  resources.routes.put(CATALOG, '2', MOVED);
  resources.clusters.put(OTHER, '1', cluster(OTHER));
  resources.endpoints.remove(OTHER, true);
  assert.deepEqual(builder.build().cluster(OTHER)?.endpoints, []);
});

test('routes that are removed while their listener stays are served on', () => {
  const { resources, builder } = served();
  resources.routes.remove(CATALOG, true);
  assert.equal(builder.build().destination(CATALOG), PLAIN_DESTINATION);
  resources.listeners.remove(CATALOG, true);
  const snapshot = builder.build();
  assert.equal(snapshot.destination(CATALOG), undefined);
  assert.equal(snapshot.cluster(CLUSTER.name), undefined);
  assert.deepEqual([...builder.clustersWanted()], []);
});

test('a cluster is the same object until a part of it is another', () => {
  const { resources, builder } = served();
  const first = builder.build().cluster(CLUSTER.name);
  assert.equal(builder.build().cluster(CLUSTER.name), first);
  resources.endpoints.put(CLUSTER.name, '2', ENDPOINTS.slice(1));
  const second = builder.build().cluster(CLUSTER.name);
  assert.notEqual(second, first);
  assert.equal(first?.endpoints.length, ENDPOINTS.length, 'the one before stays whole');
  resources.clusters.put(CLUSTER.name, '2', cluster(CLUSTER.name));
  assert.notEqual(builder.build().cluster(CLUSTER.name), second);
});

test('a destination is found by the name asked for, by its own key and by its addresses', () => {
  const { resources, builder } = served();
  resources.listeners.put('other', '1', { routeName: CATALOG, aliases: [] });
  resources.listeners.remove(CATALOG, true);
  const snapshot = builder.build();
  for (const name of ['other', CATALOG, '10.96.0.1:80', '[fd10:96::1]:80']) {
    assert.equal(snapshot.destination(name), PLAIN_DESTINATION, name);
  }
  assert.ok(Object.isFrozen(snapshot));
});

test('backends that are invalid lead nowhere, and the default cluster serves only where no rule does', () => {
  const { resources, builder } = served();
  const entries = DESTINATION.entries.filter(({ rule }) => rule.mirrors.length === 0);
  resources.routes.put(CATALOG, '2', { ...DESTINATION, entries, defaultCluster: OTHER });
  assert.equal(builder.build().destination(CATALOG)?.entries.length, entries.length);
  assert.deepEqual([...builder.clustersWanted()], [CLUSTER.name]);
});

test('the clusters of mirrors are wanted and waited for like those of backends, but for invalid ones', () => {
  const { resources, builder } = served();
  resources.routes.put(CATALOG, '2', DESTINATION);
  assert.equal(builder.build().destination(CATALOG), PLAIN_DESTINATION);
  assert.deepEqual([...builder.clustersWanted()], [CLUSTER.name, COPY_CLUSTER]);
  resources.clusters.put(COPY_CLUSTER, '1', cluster(COPY_CLUSTER));
  resources.endpoints.put(COPY_CLUSTER, '1', ENDPOINTS);
  const snapshot = builder.build();
  assert.equal(snapshot.destination(CATALOG), DESTINATION);
  assert.equal(snapshot.cluster(COPY_CLUSTER)?.endpoints, ENDPOINTS);
});
