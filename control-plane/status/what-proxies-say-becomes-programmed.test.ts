import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RESOURCE, type ResourceType, TYPE } from '../../common/wire/types.ts';
import type { StatusCondition } from '../../model/mesh.ts';
import { CATALOG_KEY, clusterOf, meshOf, policy, route, SHOP } from '../../test/support/small-mesh.ts';
import { DeltaClient } from '../../test/support/xds-clients.ts';
import { translate, translationCache } from '../translate/translator.ts';
import { Programming } from './programmed.ts';

const CATALOG = clusterOf('catalog');
const ROUTE = route({
  ...{ namespace: 'shop', name: 'r', parent: 'shop/catalog' },
  rules: [{ backendRefs: [{ name: 'v1', port: 80 }] }],
});
const SERVICE = { group: '', kind: 'Service', name: 'catalog' };
const TRAFFIC = policy('TrafficPolicy', 'shop', 't', { targetRefs: [SERVICE], limits: { maxRequests: 5 } });
const ON_ROUTE = policy('TrafficPolicy', 'shop', 't', {
  targetRefs: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'r' }],
  timeouts: { request: '1s' },
});
const STRICT = policy('MTLSPolicy', 'shop', 'm', { mode: 'STRICT' });
const MESH_WIDE = policy('MTLSPolicy', 'heddle-system', 'm', { mode: 'STRICT' });

/** The `Programmed` of the one object of a kind, with these proxies connected. */
function programmed(kind: string, objects: readonly object[], ...clients: DeltaClient[]): StatusCondition {
  const mesh = meshOf(objects);
  const trackers = clients.map(({ tracker }) => tracker);
  const programming = new Programming(translate(mesh, 'PEM', translationCache()), trackers);
  const status = mesh.statuses.find((one) => one.kind === kind);
  const [parent] = status?.parents ?? [];
  assert.ok(status !== undefined && parent !== undefined);
  const condition = programming.condition(status, parent);
  assert.ok(condition !== undefined, `${kind} has no Programmed: ${parent.conditions[0]?.message}`);
  return condition;
}

interface Subscription {
  readonly type: ResourceType;
  readonly name: string;
}

/** What each kind of object shapes, by which a proxy says whether it has it. */
const SHAPED: readonly (readonly [string, readonly object[], Subscription])[] = [
  ['HTTPRoute', [...SHOP, ROUTE], { type: TYPE.route, name: CATALOG_KEY }],
  ['TrafficPolicy', [...SHOP, TRAFFIC], { type: TYPE.cluster, name: CATALOG }],
  ['TrafficPolicy', [...SHOP, ROUTE, ON_ROUTE], { type: TYPE.route, name: CATALOG_KEY }],
  ['MTLSPolicy', [...SHOP, STRICT], { type: TYPE.endpoints, name: CATALOG }],
  ['MTLSPolicy', [...SHOP, STRICT], { type: TYPE.listener, name: RESOURCE.inbound }],
  ['MTLSPolicy', [...SHOP, MESH_WIDE], { type: TYPE.listener, name: RESOURCE.inbound }],
];

for (const [kind, objects, { type, name }] of SHAPED) {
  test(`${kind} by ${name}: awaited, then acknowledged`, () => {
    const client = new DeltaClient();
    client.objects = objects;
    client.subscribe(type, name);
    const [response] = client.collect();
    const awaited = programmed(kind, objects, client);
    assert.deepEqual([awaited.status, awaited.reason], ['Unknown', 'Pending']);
    assert.equal(awaited.message, '1 of 1 proxies have not acknowledged it yet');
    client.ask(type, { responseNonce: response?.nonce ?? '' });
    const done = programmed(kind, objects, client);
    assert.deepEqual(
      [done.status, done.reason, done.message],
      ['True', 'Programmed', 'acknowledged by 1 proxy'],
    );
  });

  test(`${kind} by ${name}: refused in the proxy's words`, () => {
    const client = new DeltaClient();
    client.objects = objects;
    client.subscribe(type, name);
    const [response] = client.collect();
    client.ask(type, {
      responseNonce: response?.nonce ?? '',
      errorDetail: { code: 3, message: 'field: why' },
    });
    const refused = programmed(kind, objects, client);
    assert.deepEqual([refused.status, refused.reason], ['False', 'Invalid']);
    assert.equal(
      refused.message,
      'refused by 1 of 1 proxies, which keep what they had: shop/web: field: why',
    );
  });
}

test('an object that no connected proxy uses is Programmed: each gets it with its first request', () => {
  const condition = programmed('HTTPRoute', [...SHOP, ROUTE], new DeltaClient());
  assert.equal(condition.status, 'True');
  assert.match(condition.message, /no connected proxy uses it/);
});

test('a proxy that has an older version is awaited', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.route, CATALOG_KEY);
  client.turn();
  assert.equal(programmed('HTTPRoute', [...SHOP, ROUTE], client).status, 'Unknown');
});

test('a refusal of an older version is no refusal of this one', () => {
  const client = new DeltaClient();
  client.subscribe(TYPE.route, CATALOG_KEY);
  const [response] = client.collect();
  client.ask(TYPE.route, { responseNonce: response?.nonce ?? '', errorDetail: { code: 3, message: 'no' } });
  assert.equal(programmed('HTTPRoute', [...SHOP, ROUTE], client).status, 'Unknown');
});

test('one refusal outweighs other acknowledgements; so many are quoted', () => {
  const objects = [...SHOP, ROUTE];
  const clients = Array.from({ length: 6 }, () => new DeltaClient());
  for (const [index, client] of clients.entries()) {
    client.objects = objects;
    client.subscribe(TYPE.route, CATALOG_KEY);
    const [response] = client.collect();
    const errorDetail = index === 0 ? {} : { errorDetail: { code: 3, message: `no ${index}` } };
    client.ask(TYPE.route, { responseNonce: response?.nonce ?? '', ...errorDetail });
  }
  const { status, message } = programmed('HTTPRoute', objects, ...clients);
  assert.equal(status, 'False');
  assert.match(message, /^refused by 5 of 6 proxies/);
  assert.equal(message.split('shop/web').length - 1, 3);
});

test('a stock Envoy has every route of its namespace in one', () => {
  const objects = [...SHOP, ROUTE];
  const client = new DeltaClient();
  client.objects = objects;
  client.subscribe(TYPE.route, RESOURCE.outbound);
  assert.equal(client.turn().length, 1);
  assert.equal(programmed('HTTPRoute', objects, client).message, 'acknowledged by 1 proxy');
});

test('what the mesh does not accept is not Programmed either way', () => {
  const mesh = meshOf([route({ namespace: 'shop', name: 'r', parent: 'shop/missing', rules: [] })]);
  const programming = new Programming(translate(mesh, 'PEM', translationCache()), []);
  const [status] = mesh.statuses;
  const [parent] = status?.parents ?? [];
  assert.ok(status !== undefined && parent !== undefined);
  assert.equal(programming.condition(status, parent), undefined);
});
