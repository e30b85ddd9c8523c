import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import type { DeltaDiscoveryResponse } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { RESOURCE, shortType, TYPE } from '../../common/wire/types.ts';
import { CATALOG, Link, PEM, route, SERVICES, service, V1, V2, web } from '../../test/support/config-link.ts';
import { settle } from '../../test/support/virtual-clock.ts';
import type { FoundDestination } from '../stage.ts';
import { DEFAULT_CONFIG_LIMITS } from './limits.ts';

let link: Link;

beforeEach(() => {
  link = new Link();
  link.connect();
});

test('what every sidecar needs comes without being asked for by a request', () => {
  link.exchange();
  assert.deepEqual(link.bundles, [PEM]);
  assert.deepEqual(link.inbounds, [false]);
  assert.deepEqual(
    link.store.inbound()?.ports.map(({ port }) => port),
    [8080],
  );
  assert.equal(link.store.contents().destinations.length, 0, 'and nothing else');
});

test('a destination is asked for on first use, by any of its names, and known from then on', async () => {
  for (const host of [
    'catalog',
    'catalog.shop',
    'catalog.shop.svc',
    'catalog.shop.svc.cluster.local.',
    '10.96.0.1',
  ]) {
    assert.deepEqual(await link.find(host), { kind: 'mesh', key: CATALOG }, host);
  }
  const again = link.store.find('catalog', 80);
  assert.ok(!(again instanceof Promise), 'answered at once');
  const cluster = link.store.snapshot().cluster('outbound|80||catalog.shop.svc.cluster.local');
  assert.deepEqual(
    cluster?.endpoints.map(({ key }) => key),
    ['10.244.0.1:8080'],
  );
  assert.equal(link.store.contents().destinations.length, 1, 'one destination, whatever it is called');
});

test('what the mesh does not know is external, once the control plane has said so', async () => {
  assert.deepEqual(await link.find('example.com'), { kind: 'external' });
  assert.deepEqual(await link.find('nothing'), { kind: 'external' });
  assert.deepEqual(await link.find('10.96.0.250'), { kind: 'external' });
});

test('without an answer a request waits no longer than the limit', async () => {
  link.disconnect();
  const waiting = link.store.find('catalog', 80);
  let found: FoundDestination | undefined;
  void Promise.resolve(waiting).then((value) => {
    found = value;
  });
  await link.clock.advance(DEFAULT_CONFIG_LIMITS.configWaitMs - 1);
  assert.equal(found, undefined);
  await link.clock.advance(1);
  assert.deepEqual(found, { kind: 'unavailable' });
  assert.equal(link.clock.pendingTimers(), 0);
});

test('a new version of a route is taken in only when all it refers to is there', async () => {
  link.objects = [...link.objects, route(0)];
  await link.find('catalog');
  assert.deepEqual(link.backends(), [
    [V1, 100],
    [V2, 0],
  ]);
  link.objects = [web, ...SERVICES, ...service('catalog-v3', '10.96.0.4'), route(0)].map((sourced) =>
    sourced.object.kind === 'HTTPRoute'
      ? { ...sourced, object: JSON.parse(JSON.stringify(sourced.object).replace('catalog-v2', 'catalog-v3')) }
      : sourced,
  );
  link.heldBack = (response) => response.typeUrl === TYPE.endpoints;
  link.exchange();
  assert.deepEqual(
    link.backends(),
    [
      [V1, 100],
      [V2, 0],
    ],
    'endpoints of v3 are still on their way',
  );
  link.heldBack = undefined;
  // The session believes that it has sent them: a new stream brings what was lost.
  link.connect();
  link.exchange();
  assert.deepEqual(
    link.backends().map(([cluster]) => cluster),
    [V1, V2.replace('v2', 'v3')],
  );
  assert.equal(link.store.snapshot().cluster(V2), undefined, 'what nothing refers to any more is gone');
});

test('a snapshot stays as it was, and shares what did not change', async () => {
  link.objects = [...link.objects, route(0)];
  await link.find('catalog');
  const before = link.store.snapshot();
  link.objects = [web, ...SERVICES, route(50)];
  link.exchange();
  assert.deepEqual(link.backends(), [
    [V1, 50],
    [V2, 50],
  ]);
  assert.equal(before.destination(CATALOG)?.entries[0]?.rule.backends[0]?.weight, 100);
  assert.equal(
    link.store.snapshot().cluster(V1),
    before.cluster(V1),
    'an unchanged cluster is the same object',
  );
});

test('without a control plane everything stays in force; after that only what is new is sent', async () => {
  link.objects = [...link.objects, route(0)];
  await link.find('catalog');
  link.disconnect();
  assert.deepEqual(link.store.find('catalog', 80), { kind: 'mesh', key: CATALOG });
  link.objects = [web, ...SERVICES, route(100)];
  link.sent.length = 0;
  link.connect();
  link.exchange();
  assert.deepEqual(link.backends(), [
    [V1, 0],
    [V2, 100],
  ]);
  assert.deepEqual(
    link.sent.map(({ typeUrl, resources }) => [typeUrl, resources.length]),
    [
      [TYPE.secret, 1],
      [TYPE.route, 1],
    ],
    'and the trust bundle, whose answer says that the stream was taken in',
  );
  assert.equal(link.bundles.length, 1, 'which is the one that was known');
});

test('a destination that is deleted is external, and its parts are given up', async () => {
  await link.find('catalog');
  link.objects = [web];
  link.exchange();
  assert.deepEqual(link.store.find('catalog', 80), { kind: 'external' });
  assert.deepEqual(link.store.contents(), { destinations: [], clusters: [] });
});

test('a resource that can not be used is refused by name, and the one before it keeps serving', async () => {
  link.objects = [...link.objects, route(0)];
  await link.find('catalog');
  const good = link.backends();
  const bad = [
    [TYPE.listener, CATALOG],
    [TYPE.route, CATALOG],
    [TYPE.cluster, V1],
    [TYPE.endpoints, V1],
    [TYPE.secret, RESOURCE.trustBundle],
  ] as const;
  for (const [index, [typeUrl, name]] of bad.entries()) {
    link.deliver({
      ...{
        typeUrl,
        nonce: `bad-${index}`,
        systemVersionInfo: '',
        removedResources: [],
        removedResourceNames: [],
      },
      controlPlane: undefined,
      resourceErrors: [],
      resources: [
        {
          ...{ name, version: '2', aliases: [], ttl: undefined, cacheControl: undefined },
          ...{ resourceName: undefined, metadata: undefined },
          resource: { typeUrl, value: Buffer.from([0xff, 0xff]) },
        },
      ],
    } as DeltaDiscoveryResponse);
    const refusal = link.refusals.at(-1) ?? 'nothing was refused';
    assert.ok(refusal.includes(`${shortType(typeUrl)} "${name}": `), refusal);
  }
  assert.equal(link.refusals.length, bad.length);
  assert.deepEqual(link.backends(), good);
  assert.equal(link.bundles.length, 1);
});

test('what is not used for long is given up while connected', async () => {
  await link.find('catalog');
  await link.find('catalog-v1');
  await link.clock.advance(DEFAULT_CONFIG_LIMITS.idleMs - 1_000);
  link.store.find('catalog-v1', 80);
  await link.clock.advance(2_000);
  link.store.dropIdle();
  link.exchange();
  assert.deepEqual(
    link.store.contents().destinations.map(({ service: name }) => name),
    ['catalog-v1'],
  );
  assert.deepEqual(
    await link.find('catalog'),
    { kind: 'mesh', key: CATALOG },
    'and asked for again when needed',
  );
});

test('subscriptions are bounded: names that nobody has make way, others do not', async () => {
  link = new Link({ subscriptionsMax: 3 });
  link.connect();
  await link.find('catalog');
  await link.find('catalog-v1');
  await link.find('absent');
  assert.equal(link.store.subscriptionCount(), 3);
  assert.deepEqual(await link.find('catalog-v2'), {
    kind: 'mesh',
    key: 'catalog-v2.shop.svc.cluster.local:80',
  });
  assert.equal(link.store.subscriptionCount(), 3);
  assert.deepEqual(await link.find('one-too-many'), { kind: 'unavailable' });
  assert.deepEqual(await link.find('catalog'), { kind: 'mesh', key: CATALOG }, 'what is in use stays');
});

test('closing lets nobody wait', async () => {
  link.disconnect();
  const waiting = link.store.find('catalog', 80);
  link.store.close();
  await link.clock.advance(DEFAULT_CONFIG_LIMITS.configWaitMs);
  await settle();
  assert.deepEqual(await waiting, { kind: 'unavailable' });
});
