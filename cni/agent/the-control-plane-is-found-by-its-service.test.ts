import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SourcedObject } from '../../model/objects.ts';
import { controlPlaneAddresses } from './control-plane.ts';

const SERVICE = 'heddle-system/heddle-control-plane';

function slice(namespace: string, service: string, endpoints: unknown): SourcedObject {
  const labels = { 'kubernetes.io/service-name': service };
  const object = { metadata: { namespace, name: 'x', labels }, endpoints };
  return {
    object: {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      ...object,
    } as SourcedObject['object'],
    origin: { source: 'kubernetes', line: 0, column: 0 } as SourcedObject['origin'],
  } as SourcedObject;
}

test('its endpoints count in all slices, ready or not, and no others', () => {
  const endpointSlices = [
    slice('heddle-system', 'heddle-control-plane', [{ addresses: ['10.244.2.9'] }]),
    slice('heddle-system', 'heddle-control-plane', [
      { addresses: ['10.244.1.4'], conditions: { ready: false } },
      { addresses: ['fd10:0:0::7', 'no address', 4] },
      { addresses: 'none' },
      null,
    ]),
    slice('heddle-system', 'heddle-injector', [{ addresses: ['10.244.1.5'] }]),
    slice('shop', 'heddle-control-plane', [{ addresses: ['10.244.1.6'] }]),
  ];
  const options = { controlPlane: ['172.31.0.1'], controlPlaneService: SERVICE };
  assert.deepEqual(controlPlaneAddresses(options, { endpointSlices }), [
    ...['10.244.1.4', '10.244.2.9', '172.31.0.1', 'fd10::7'],
  ]);
  const given = { controlPlane: ['172.31.0.1'], controlPlaneService: undefined };
  assert.deepEqual(controlPlaneAddresses(given, { endpointSlices }), ['172.31.0.1']);
});
