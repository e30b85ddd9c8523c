import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeltaDiscoveryRequest } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { RESOURCE, TYPE } from '../../common/wire/types.ts';
import { podObject } from '../../test/integration/mesh/manifests.ts';
import {
  CATALOG_KEY,
  clusterOf,
  meshOf,
  pod,
  policy,
  route,
  SHOP,
  service,
} from '../../test/support/small-mesh.ts';
import { DeltaClient, type DeltaRequest } from '../../test/support/xds-clients.ts';
import { translate, translationCache } from '../translate/translator.ts';
import type { XdsLimits } from './limits.ts';

const CATALOG = clusterOf('catalog');

const limits = (request: DeltaRequest, over: Partial<XdsLimits>) => {
  const client = new DeltaClient(over);
  return () => client.ask(TYPE.listener, request);
};

test('a name is answered once, and again when it changes', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.cluster, CATALOG);
  assert.deepEqual(client.turn(), [`Cluster +${CATALOG}`]);
  assert.deepEqual(client.turn(), []);
  client.objects = [
    ...SHOP,
    policy('TrafficPolicy', 'shop', 'p', {
      targetRefs: [{ group: '', kind: 'Service', name: 'catalog' }],
      limits: { maxConnections: 7 },
    }),
  ];
  assert.deepEqual(client.turn(), [`Cluster +${CATALOG}`]);
});

test('however many changes came in between, a client gets one difference', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.route, CATALOG_KEY);
  client.turn();
  for (const weight of [1, 2, 3, 4, 5]) {
    const rules = [{ backendRefs: [{ name: 'v1', port: 80, weight }] }];
    client.objects = [...SHOP, route({ namespace: 'shop', name: 'r', parent: 'shop/catalog', rules })];
  }
  assert.deepEqual(client.turn(), [`RouteConfiguration +${CATALOG_KEY}`]);
});

test('an alias gives the resource under its own name, with all its aliases', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.listener, '10.96.0.1:80');
  const [response] = client.collect();
  assert.equal(response?.resources[0]?.name, CATALOG_KEY);
  assert.deepEqual(response?.resources[0]?.aliases, ['10.96.0.1:80']);
});

test('a resource stays for as long as its name or one of its aliases is subscribed', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.listener, '10.96.0.1:80', CATALOG_KEY);
  client.turn();
  client.unsubscribe(TYPE.listener, CATALOG_KEY);
  assert.notEqual(client.tracker.delivery(TYPE.listener, CATALOG_KEY), undefined);
  client.unsubscribe(TYPE.listener, '10.96.0.1:80');
  assert.equal(client.tracker.delivery(TYPE.listener, CATALOG_KEY), undefined);
  assert.deepEqual(client.turn(), []);
});

test('an alias that moves to another Service brings that one and takes the first away', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.listener, '10.96.0.1:80');
  client.turn();
  client.objects = [...service('shop', 'catalog', '10.96.0.9'), ...service('shop', 'other', '10.96.0.1')];
  assert.deepEqual(client.turn(), ['Listener +other.shop.svc.cluster.local:80', `Listener -${CATALOG_KEY}`]);
});

test('what does not exist is told once, told again when asked again, and sent when it comes', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.listener, 'late.shop.svc.cluster.local:80');
  assert.deepEqual(client.turn(), ['Listener -late.shop.svc.cluster.local:80']);
  assert.deepEqual(client.turn(), []);
  client.subscribe(TYPE.listener, 'late.shop.svc.cluster.local:80');
  assert.deepEqual(client.turn(), ['Listener -late.shop.svc.cluster.local:80']);
  client.objects = [...SHOP, ...service('shop', 'late', '10.96.0.8')];
  assert.deepEqual(client.turn(), ['Listener +late.shop.svc.cluster.local:80']);
  client.objects = SHOP;
  assert.deepEqual(client.turn(), ['Listener -late.shop.svc.cluster.local:80']);
});

test('a name that is asked for again is answered again, as the client may have forgotten it', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.cluster, CATALOG);
  client.turn();
  client.subscribe(TYPE.cluster, CATALOG);
  assert.deepEqual(client.turn(), [`Cluster +${CATALOG}`]);
  assert.deepEqual(client.turn(), []);
});

test('an answer asks for nothing; a request does', () => {
  const client = new DeltaClient();
  assert.equal(client.ask(TYPE.cluster, { resourceNamesSubscribe: [CATALOG] }), true);
  const [response] = client.collect();
  assert.equal(client.ask(TYPE.cluster, { responseNonce: response?.nonce ?? '' }), false);
  assert.equal(client.ask(TYPE.cluster, { resourceNamesUnsubscribe: ['x'] }), true);
});

for (const [how, resourceNamesSubscribe] of [
  ['by naming nothing at first', []],
  ['by a star', ['*']],
] as const) {
  test(`everything is asked for ${how}`, () => {
    const client = new DeltaClient();
    client.subscribe(TYPE.cluster, ...resourceNamesSubscribe);
    client.subscribe(TYPE.listener, ...resourceNamesSubscribe);
    const [clusters, listeners] = client.turn();
    for (const name of ['catalog', 'v1', 'v2']) assert.ok(clusters?.includes(`+${clusterOf(name)}`));
    assert.equal(listeners, 'Listener +outbound');
    client.objects = SHOP.slice(0, -2);
    assert.deepEqual(client.turn(), [`Cluster -${clusterOf('v2')}`]);
  });
}

test('endpoints and routes come by name only', () => {
  const client = new DeltaClient();
  for (const type of [TYPE.endpoints, TYPE.route, TYPE.secret]) client.ask(type);
  assert.deepEqual(client.turn(), []);
});

test('naming nothing later is not asking for everything', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.cluster, CATALOG);
  client.turn();
  client.ask(TYPE.cluster);
  assert.deepEqual(client.turn(), []);
});

test('when everything is no longer asked for, what was named stays', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.cluster, '*', CATALOG);
  client.turn();
  client.unsubscribe(TYPE.cluster, '*');
  const [removal, ...others] = client.turn();
  assert.deepEqual(others, []);
  assert.ok(removal?.includes(`-${clusterOf('v1')}`));
  assert.ok(!removal?.includes(`-${CATALOG}`));
});

test('a name that is left while everything is asked for is told again, or that it is gone', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.cluster, '*', CATALOG, clusterOf('v2'));
  client.turn();
  client.objects = SHOP.slice(0, -2);
  client.unsubscribe(TYPE.cluster, CATALOG, clusterOf('v2'));
  assert.deepEqual(client.turn(), [`Cluster +${CATALOG}`, `Cluster -${clusterOf('v2')}`]);
});

test('after a reconnection only what is new is sent, and what is gone is told', () => {
  const before = new DeltaClient();
  before.subscribe(TYPE.cluster, CATALOG, clusterOf('v1'), clusterOf('v2'));
  const versions = before.versions();
  const after = new DeltaClient();
  after.objects = SHOP.slice(0, -2);
  after.ask(TYPE.cluster, {
    resourceNamesSubscribe: Object.keys(versions),
    initialResourceVersions: { ...versions, [clusterOf('v1')]: 'an older one' },
  });
  assert.deepEqual(after.tracker.delivery(TYPE.cluster, CATALOG)?.kind, 'acked');
  assert.deepEqual(after.turn(), [`Cluster +${clusterOf('v1')}`, `Cluster -${clusterOf('v2')}`]);
});

test('additions come before what refers to them, removals after', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.route, CATALOG_KEY);
  client.subscribe(TYPE.listener, CATALOG_KEY);
  client.subscribe(TYPE.endpoints, CATALOG);
  client.subscribe(TYPE.cluster, CATALOG);
  client.subscribe(TYPE.secret, RESOURCE.trustBundle);
  assert.deepEqual(
    client.turn().map((line) => line.split(' ')[0]),
    ['Secret', 'Cluster', 'ClusterLoadAssignment', 'Listener', 'RouteConfiguration'],
  );
  client.objects = [];
  assert.deepEqual(
    client.turn().map((line) => line.split(' ')[0]),
    ['RouteConfiguration', 'Listener', 'ClusterLoadAssignment', 'Cluster'],
  );
});

test('a rule moved to another Service brings that one before the route, and leaves the first to be unsubscribed', () => {
  const client = new DeltaClient();
  const withRoute = (name: string) => [
    ...SHOP,
    route({
      namespace: 'shop',
      name: 'r',
      parent: 'shop/catalog',
      rules: [{ backendRefs: [{ name, port: 80 }] }],
    }),
  ];
  client.objects = withRoute('v1');
  client.subscribe(TYPE.cluster, clusterOf('v1'));
  client.subscribe(TYPE.route, CATALOG_KEY);
  client.turn();
  client.objects = withRoute('v2');
  client.subscribe(TYPE.cluster, clusterOf('v2'));
  assert.deepEqual(client.turn(), [`Cluster +${clusterOf('v2')}`, `RouteConfiguration +${CATALOG_KEY}`]);
});

test('a changed cluster brings its endpoints along, which a client that warms it waits for', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.cluster, CATALOG, clusterOf('v1'));
  client.subscribe(TYPE.endpoints, CATALOG, clusterOf('v1'));
  client.turn();
  client.objects = [
    ...SHOP,
    policy('TrafficPolicy', 'shop', 'p', {
      targetRefs: [{ group: '', kind: 'Service', name: 'catalog' }],
      limits: { maxConnections: 7 },
    }),
  ];
  assert.deepEqual(client.turn(), [`Cluster +${CATALOG}`, `ClusterLoadAssignment +${CATALOG}`]);
});

for (const [responseBytesMax, sizes] of [
  [100, [1, 1, 1]],
  [1_500, [2, 1]],
] as const) {
  test(`responses are cut at ${responseBytesMax} bytes; a larger resource travels alone`, () => {
    const client = new DeltaClient({ responseBytesMax });
    const many = Array.from({ length: 60 }, (_, index) => pod('shop', 'v1', `10.244.1.${index}`));
    client.objects = [...SHOP.slice(0, -4), ...service('shop', 'v1', '10.96.0.2', many)];
    client.subscribe(TYPE.cluster, CATALOG, clusterOf('v1'));
    client.subscribe(TYPE.endpoints, clusterOf('v1'));
    assert.deepEqual(
      client.collect().map(({ resources }) => resources.length),
      sizes,
    );
  });
}

test('what was refused is not sent again; its next version is', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.route, CATALOG_KEY);
  const [first] = client.collect();
  client.ask(TYPE.route, { responseNonce: first?.nonce ?? '', errorDetail: { code: 3, message: 'no' } });
  assert.deepEqual(client.collect(), []);
  const rules = [{ backendRefs: [{ name: 'v1', port: 80 }] }];
  client.objects = [...SHOP, route({ namespace: 'shop', name: 'r', parent: 'shop/catalog', rules })];
  assert.deepEqual(client.turn(), [`RouteConfiguration +${CATALOG_KEY}`]);
  assert.equal(client.tracker.info().lastNack, undefined);
});

test('answers that are stale, repeated or made up change nothing', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.cluster, CATALOG);
  const [first] = client.collect();
  client.ask(TYPE.cluster, { responseNonce: '999' });
  assert.equal(client.tracker.delivery(TYPE.cluster, CATALOG)?.kind, 'pending');
  client.ask(TYPE.cluster, { responseNonce: first?.nonce ?? '' });
  assert.equal(client.tracker.delivery(TYPE.cluster, CATALOG)?.kind, 'acked');
  client.ask(TYPE.cluster, { responseNonce: first?.nonce ?? '', errorDetail: { code: 3, message: 'late' } });
  assert.equal(client.tracker.delivery(TYPE.cluster, CATALOG)?.kind, 'acked');
  assert.deepEqual(client.collect(), []);
});

test('a type that this server does not have stays without answer', () => {
  const client = new DeltaClient();
  const request = {
    typeUrl: 'type.googleapis.com/envoy.service.runtime.v3.Runtime',
    resourceNamesSubscribe: ['x'],
  };
  assert.equal(client.session.request(DeltaDiscoveryRequest.fromPartial(request)), false);
  assert.deepEqual(client.collect(), []);
});

test('the limits end the stream', () => {
  const names = Array.from({ length: 11 }, (_, index) => `name-${index}`);
  const versions = Object.fromEntries(names.map((name) => [name, '1']));
  const max = { subscriptionsMax: 10, nameBytesMax: 10 };
  assert.throws(limits({ resourceNamesSubscribe: names }, max), { code: 'limit', message: /more than 10/ });
  assert.throws(limits({ initialResourceVersions: versions }, max), {
    code: 'limit',
    message: /more than 10/,
  });
  assert.throws(limits({ resourceNamesSubscribe: ['ééééééééé'] }, max), {
    code: 'limit',
    message: /10 bytes/,
  });
  assert.doesNotThrow(limits({ resourceNamesSubscribe: names.slice(1) }, max));
});

test('all types share the limit of subscriptions', () => {
  const client = new DeltaClient({ subscriptionsMax: 2 });
  client.subscribe(TYPE.cluster, 'a');
  client.subscribe(TYPE.endpoints, 'a');
  assert.throws(() => client.subscribe(TYPE.route, 'a'), { code: 'limit' });
});

test('a client gets the routes of its own namespace and the inbound listener of its own pod, whatever it names', () => {
  const objects = [
    ...SHOP,
    podObject(pod('bank', 'teller', '10.244.0.9')),
    route({
      ...{ namespace: 'bank', name: 'theirs', parent: 'shop/catalog' },
      rules: [{ matches: [{ path: { value: '/bank-only' } }], backendRefs: [] }],
    }),
  ];
  const bodies = (client: { namespace: string; pod: string }) => {
    const view = translate(meshOf(objects), 'PEM', translationCache()).view({ ...client, bind: {} });
    return [view.get(TYPE.route, CATALOG_KEY), view.get(TYPE.listener, RESOURCE.inbound)].map((resource) =>
      (resource?.body.value ?? Buffer.alloc(0)).toString('latin1'),
    );
  };
  const [routes = '', inbound = ''] = bodies({ namespace: 'shop', pod: 'web' });
  const [theirRoutes = '', theirInbound = ''] = bodies({ namespace: 'bank', pod: 'teller' });
  assert.ok(!routes.includes('/bank-only') && theirRoutes.includes('/bank-only'));
  assert.ok(inbound.includes('10.244.0.1') && theirInbound.includes('10.244.0.9'));
});
