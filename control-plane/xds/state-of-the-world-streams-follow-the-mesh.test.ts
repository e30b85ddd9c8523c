import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from '../../common/gen/envoy/config/cluster/v3/cluster.ts';
import {
  DiscoveryRequest,
  type DiscoveryResponse,
} from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { TYPE } from '../../common/wire/types.ts';
import { CATALOG_KEY, clusterOf, policy, route, SHOP } from '../../test/support/small-mesh.ts';
import { StateClient } from '../../test/support/xds-clients.ts';

const CATALOG = clusterOf('catalog');
const LIMITED = policy('TrafficPolicy', 'shop', 'p', {
  targetRefs: [{ group: '', kind: 'Service', name: 'catalog' }],
  limits: { maxConnections: 7 },
});
const ROUTED = route({
  ...{ namespace: 'shop', name: 'r', parent: 'shop/catalog' },
  rules: [{ backendRefs: [{ name: 'v1', port: 80 }] }],
});

const clusterNames = (response: DiscoveryResponse | undefined) =>
  (response?.resources ?? []).map(({ value }) => Cluster.decode(value).name);

test('everything of a type is sent at once, and again whole when a part of it changes', () => {
  const client = new StateClient();
  client.want(TYPE.cluster);
  const [first] = client.turn();
  assert.match(first ?? '', /^Cluster \d$/);
  assert.deepEqual(client.turn(), []);
  client.objects = [...SHOP, LIMITED];
  assert.deepEqual(client.turn(), [first]);
});

test('everything is asked for by naming nothing at first, or by a star; endpoints only by name', () => {
  const [silent, star] = [new StateClient(), new StateClient()];
  silent.want(TYPE.cluster);
  star.want(TYPE.cluster, '*');
  assert.deepEqual(clusterNames(silent.collect()[0]), clusterNames(star.collect()[0]));
  const endpoints = new StateClient();
  endpoints.want(TYPE.endpoints);
  assert.deepEqual(endpoints.turn(), ['ClusterLoadAssignment 0']);
});

test('naming nothing after something was named is asking for nothing', () => {
  const client = new StateClient();
  client.want(TYPE.cluster, CATALOG);
  assert.deepEqual(client.turn(), ['Cluster 1']);
  client.want(TYPE.cluster);
  assert.deepEqual(client.turn(), ['Cluster 0']);
});

test('another list of names is answered, whatever its version', () => {
  const client = new StateClient();
  client.want(TYPE.endpoints, CATALOG);
  client.turn();
  client.want(TYPE.endpoints, CATALOG, 'missing');
  assert.deepEqual(client.turn(), ['ClusterLoadAssignment 1']);
});

test('changed clusters bring their endpoints along, and changed listeners their routes', () => {
  const client = new StateClient();
  client.want(TYPE.cluster);
  client.turn();
  client.want(TYPE.endpoints, CATALOG);
  client.want(TYPE.listener);
  client.want(TYPE.route, 'outbound');
  client.turn();
  client.objects = [...SHOP, LIMITED];
  assert.deepEqual(
    client.turn().map((line) => line.split(' ')[0]),
    ['Cluster', 'ClusterLoadAssignment'],
  );
});

test('what leaves the mesh leaves the client last: routes move away first', () => {
  const client = new StateClient();
  client.objects = [...SHOP, ROUTED];
  client.want(TYPE.cluster);
  client.want(TYPE.route, 'outbound');
  client.turn();
  client.objects = SHOP.slice(0, -4);
  const responses = client.collect();
  assert.deepEqual(
    responses.map(({ typeUrl }) => typeUrl),
    [TYPE.cluster, TYPE.route, TYPE.cluster],
  );
  assert.ok(clusterNames(responses[0]).includes(clusterOf('v1')));
  assert.ok(!clusterNames(responses[2]).includes(clusterOf('v1')));
});

test('only the answer to the newest response says what is wanted', () => {
  const client = new StateClient();
  client.want(TYPE.endpoints, CATALOG);
  const [first] = client.collect();
  client.want(TYPE.endpoints, CATALOG, 'v1');
  const [second] = client.collect();
  // The client acknowledges the first one with what it wanted then.
  client.ask(TYPE.endpoints, { resourceNames: [CATALOG], responseNonce: first?.nonce ?? '' });
  assert.deepEqual(client.collect(), []);
  client.ask(TYPE.endpoints, { resourceNames: [CATALOG], responseNonce: second?.nonce ?? '' });
  assert.equal(client.collect().length, 1);
});

test('an answer asks for nothing; another list of names does', () => {
  const client = new StateClient();
  assert.equal(client.ask(TYPE.cluster, { resourceNames: [CATALOG] }), true);
  const [response] = client.collect();
  const responseNonce = response?.nonce ?? '';
  assert.equal(client.ask(TYPE.cluster, { resourceNames: [CATALOG], responseNonce }), false);
  assert.equal(client.ask(TYPE.cluster, { resourceNames: [], responseNonce }), true);
});

test('what was refused is not sent again; its next version is', () => {
  const client = new StateClient();
  client.want(TYPE.route, CATALOG_KEY);
  const [response] = client.collect();
  client.ask(TYPE.route, {
    resourceNames: [CATALOG_KEY],
    responseNonce: response?.nonce ?? '',
    errorDetail: { code: 3, message: 'no' },
  });
  assert.deepEqual(client.collect(), []);
  assert.equal(client.tracker.info().lastNack?.message, 'no');
  client.objects = [...SHOP, ROUTED];
  assert.deepEqual(client.turn(), ['RouteConfiguration 1']);
  assert.equal(client.tracker.info().lastNack, undefined);
});

test('a client that comes back says what it has, and is sent the whole again', () => {
  const client = new StateClient();
  client.ask(TYPE.cluster, { versionInfo: 'from before', responseNonce: 'from before' });
  assert.match(client.turn()[0] ?? '', /^Cluster /);
});

test('a type that this server does not have stays without answer', () => {
  const client = new StateClient();
  const typeUrl = 'type.googleapis.com/envoy.service.runtime.v3.Runtime';
  assert.equal(client.session.request(DiscoveryRequest.fromPartial({ typeUrl })), false);
  assert.deepEqual(client.collect(), []);
});

test('the limits end the stream', () => {
  const client = new StateClient({ subscriptionsMax: 2, nameBytesMax: 4 });
  client.want(TYPE.endpoints, 'a');
  assert.throws(() => client.want(TYPE.cluster, 'a', 'b'), { code: 'limit', message: /more than 2/ });
  assert.throws(() => client.want(TYPE.cluster, 'ééé'), { code: 'limit', message: /4 bytes/ });
  client.want(TYPE.cluster, 'éé');
});
