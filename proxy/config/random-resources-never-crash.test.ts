import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Cluster } from '../../common/gen/envoy/config/cluster/v3/cluster.ts';
import { ClusterLoadAssignment } from '../../common/gen/envoy/config/endpoint/v3/endpoint.ts';
import { Listener } from '../../common/gen/envoy/config/listener/v3/listener.ts';
import { RouteConfiguration } from '../../common/gen/envoy/config/route/v3/route.ts';
import { Secret } from '../../common/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import { DeltaDiscoveryResponse, Resource } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { RESOURCE, type ResourceType, TYPE } from '../../common/wire/types.ts';
import {
  clusterProto,
  endpointsProto,
  inboundProto,
  listenerProto,
  routesProto,
  secretProto,
} from '../../test/support/xds-samples.ts';
import { Resources } from '../xds/resources.ts';

/** Sound bytes of each type, under the name that they are sent as. */
const SOUND: readonly (readonly [what: string, type: ResourceType, name: string, bytes: Uint8Array])[] = [
  ['cluster', TYPE.cluster, clusterProto().name, Cluster.encode(clusterProto()).finish()],
  [
    'endpoints',
    TYPE.endpoints,
    endpointsProto().clusterName,
    ClusterLoadAssignment.encode(endpointsProto()).finish(),
  ],
  ['routes', TYPE.route, routesProto().name, RouteConfiguration.encode(routesProto()).finish()],
  ['listener', TYPE.listener, listenerProto().name, Listener.encode(listenerProto()).finish()],
  ['own side', TYPE.listener, RESOURCE.inbound, Listener.encode(inboundProto()).finish()],
  ['roots', TYPE.secret, RESOURCE.trustBundle, Secret.encode(secretProto('no root')).finish()],
];

function take(type: ResourceType, name: string, bytes: Uint8Array): string | undefined {
  const resource = Resource.fromPartial({
    ...{ name, version: '1' },
    resource: { typeUrl: type, value: Buffer.from(bytes) },
  });
  return new Resources(() => true).take(
    DeltaDiscoveryResponse.fromPartial({ typeUrl: type, nonce: '1', resources: [resource] }),
  );
}

for (const [what, type, name, sound] of SOUND) {
  test(`bytes that are no ${what} are refused by name, whatever they are`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        assert.ok(take(type, name, bytes)?.includes(`"${name}": `));
      }),
      { numRuns: 500 },
    );
  });

  test(`${what} with a few bytes changed, or cut off, are taken or refused, never more`, () => {
    const change = fc.tuple(fc.nat({ max: sound.length - 1 }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 4 }), fc.nat({ max: sound.length }), (changes, cut) => {
        const bytes = Uint8Array.from(sound);
        for (const [at, value] of changes) bytes[at] = value;
        const refusal = take(type, name, bytes.subarray(0, changes.length === 0 ? cut : sound.length));
        if (refusal !== undefined) assert.ok(refusal.includes(name), refusal);
      }),
      { numRuns: 1_000 },
    );
  });
}

test('metadata nested without end is refused', () => {
  // A Value that holds a list (field 6) of one Value (field 1) that holds a list, and so on, from the inside out.
  let value: Buffer = Buffer.alloc(0);
  for (let level = 0; level < 1_000; level++) value = field(6, field(1, value));
  const member = Buffer.concat([field(1, Buffer.from('x')), field(2, value)]);
  const entry = Buffer.concat([field(1, Buffer.from('heddle.dev')), field(2, field(1, member))]);
  const sound = Cluster.encode(clusterProto()).finish();
  const refusal = take(TYPE.cluster, clusterProto().name, Buffer.concat([sound, field(25, field(1, entry))]));
  assert.match(refusal ?? '', /outbound\|80\|\|catalog.*recursion limit/);
});

/** A length-delimited field. */
function field(number: number, content: Buffer): Buffer {
  return Buffer.concat([varint((number << 3) | 2), varint(content.length), content]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
