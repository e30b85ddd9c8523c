import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeltaDiscoveryResponse } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { RESOURCE, type ResourceType, shortType, TYPE } from '../../common/wire/types.ts';
import { clusterResource } from '../../control-plane/translate/cluster.ts';
import { destinationListener, destinationRoutes } from '../../control-plane/translate/destination.ts';
import type { EncodedResource } from '../../control-plane/translate/encoding.ts';
import { endpointsResource } from '../../control-plane/translate/endpoints.ts';
import { inboundListener } from '../../control-plane/translate/listener.ts';
import { trustBundleSecret } from '../../control-plane/translate/secret.ts';
import { makeCa } from '../../test/integration/engine/ca.ts';
import { CATALOG, CLUSTER, DESTINATION, INBOUND } from '../../test/support/xds-samples.ts';
import { Resources, refusalLengthMax } from './resources.ts';

const GOOD: readonly EncodedResource[] = [
  clusterResource(CLUSTER),
  endpointsResource(CLUSTER),
  destinationRoutes(DESTINATION, () => undefined),
  destinationListener(DESTINATION),
  inboundListener('10.244.0.9', INBOUND),
  trustBundleSecret(makeCa('Test root').rootPem),
];

type Fields = Parameters<typeof DeltaDiscoveryResponse.fromPartial>[0];

function response(typeUrl: string, fields: Fields): DeltaDiscoveryResponse {
  return DeltaDiscoveryResponse.fromPartial({ typeUrl, nonce: '1', ...fields });
}

function sent(resource: EncodedResource, over: Fields | Record<string, unknown> = {}) {
  const { name, aliases, version, body } = resource;
  return { name, aliases: [...aliases], version, resource: body, ...over };
}

function tableOf(resources: Resources, type: ResourceType) {
  return new Map([...resources.table(type).entries()].map(([name, { value }]) => [name, value]));
}

for (const good of GOOD) {
  const label = `${shortType(good.type)} "${good.name}"`;

  test(`${label}: a bad version leaves the good one in force, and is refused by name`, () => {
    const resources = new Resources(() => true);
    assert.equal(resources.take(response(good.type, { resources: [sent(good)] })), undefined);
    const before = tableOf(resources, good.type);
    const spoilt: readonly (readonly [RegExp, object])[] = [
      [/has no body/, { resource: undefined }],
      [/is of type nonsense/, { resource: { typeUrl: 'nonsense', value: good.body.value } }],
      [/: .+/, { resource: { typeUrl: good.type, value: Buffer.from([0x07]) } }],
      [/: .+/, { resource: { typeUrl: good.type, value: Buffer.alloc(0) } }],
    ];
    for (const [reason, over] of spoilt) {
      const resource = sent(good, { ...over, version: '2' });
      const refusal = resources.take(response(good.type, { resources: [resource] })) ?? 'taken';
      assert.ok(refusal.startsWith(`${label}: `), refusal);
      assert.match(refusal, reason);
      assert.deepEqual(tableOf(resources, good.type), before);
    }
  });

  test(`${label}: under another name it is refused`, () => {
    const resources = new Resources(() => true);
    const refusal = resources.take(response(good.type, { resources: [sent(good, { name: 'other' })] }));
    assert.match(refusal ?? '', new RegExp(`${shortType(good.type)} "other": `));
    assert.equal(tableOf(resources, good.type).size, 0);
  });

  test(`${label}: nobody asked for it, so it is neither kept nor refused`, () => {
    const resources = new Resources(() => false);
    assert.equal(resources.take(response(good.type, { resources: [sent(good)] })), undefined);
    assert.equal(tableOf(resources, good.type).size, 0);
  });
}

test('one bad resource of a response costs none of the others', () => {
  const resources = new Resources(() => true);
  const other = { ...CLUSTER, name: 'outbound|80||cart.shop.svc.cluster.local' };
  const refusal = resources.take(
    response(TYPE.cluster, {
      resources: [
        sent(clusterResource(CLUSTER), { name: 'bad', version: '2' }),
        sent(clusterResource(CLUSTER)),
        sent(clusterResource(other)),
      ],
    }),
  );
  assert.match(refusal ?? '', /^Cluster "bad": name: is ".*" in a resource named "bad"$/);
  assert.deepEqual([...tableOf(resources, TYPE.cluster).keys()], [CLUSTER.name, other.name]);
});

test('a refusal too long to name each bad resource stands for all of them', () => {
  const resources = new Resources(() => true);
  const bad = Array.from({ length: 200 }, (_, index) =>
    sent(clusterResource(CLUSTER), { name: `bad-${index}` }),
  );
  const few = resources.take(response(TYPE.cluster, { resources: bad.slice(0, 3) }));
  for (const name of ['bad-0', 'bad-1', 'bad-2']) assert.ok(few?.includes(`"${name}"`));
  const many = resources.take(response(TYPE.cluster, { resources: bad })) ?? '';
  assert.ok(many.length <= refusalLengthMax);
  assert.match(many, /^200 resources can't be used, the first is Cluster bad-0: /);
  assert.ok(!many.includes('"'), 'no name in quotes: the control plane takes the whole response for refused');
});

test('a listener asked for by an address is kept under its own name, and what is removed is known to be absent', () => {
  const asked = new Set(['10.96.0.1:80']);
  const resources = new Resources((_type, name) => asked.has(name));
  resources.take(response(TYPE.listener, { resources: [sent(destinationListener(DESTINATION))] }));
  assert.deepEqual(resources.listener(CATALOG)?.aliases, DESTINATION.addresses);
  resources.take(response(TYPE.listener, { removedResources: [CATALOG, '10.96.0.1:80'] }));
  assert.equal(resources.listener(CATALOG), undefined);
  assert.ok(resources.listeners.isAbsent('10.96.0.1:80'));
  assert.ok(!resources.listeners.isAbsent(CATALOG), 'nobody asked for that name: nothing is known of it');
});

test('the own side and the roots are never taken away', () => {
  const resources = new Resources(() => true);
  for (const good of GOOD) resources.take(response(good.type, { resources: [sent(good)] }));
  resources.take(response(TYPE.listener, { removedResources: [RESOURCE.inbound] }));
  resources.take(response(TYPE.secret, { removedResources: [RESOURCE.trustBundle] }));
  assert.deepEqual(resources.inbound(), INBOUND);
  assert.match(resources.secrets.get(RESOURCE.trustBundle) ?? '', /BEGIN CERTIFICATE/);
});

test('a type that was not asked for is refused', () => {
  assert.equal(
    new Resources(() => true).take(response('type.googleapis.com/envoy.config.x.v3.Other', {})),
    'type type.googleapis.com/envoy.config.x.v3.Other was not asked for',
  );
});
