import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatNodeId, nodeIdBytesMax, parseNodeId } from './node-id.ts';
import { isResourceType, shortType, TYPE, TYPES_IN_ORDER } from './types.ts';
import { escapeHeaderValue, fromDuration, toDuration, unescapeHeaderValue } from './values.ts';

test('durations come back to the microsecond, in the range that protobuf allows', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 31_536_000_000, noNaN: true }), (durationMs) => {
      const duration = toDuration(durationMs);
      assert.ok(Number.isInteger(duration.seconds) && Number.isInteger(duration.nanos));
      assert.ok(duration.nanos >= 0 && duration.nanos < 1_000_000_000, `${duration.nanos} nanoseconds`);
      assert.ok(Math.abs(fromDuration(duration) - durationMs) <= 0.001);
    }),
    { numRuns: 1_000 },
  );
  assert.deepEqual(toDuration(1_999.9996), { seconds: 2, nanos: 0 });
});

test('a header value comes back whatever it holds, and a command is no value', () => {
  fc.assert(
    fc.property(fc.string(), (value) => assert.equal(unescapeHeaderValue(escapeHeaderValue(value)), value)),
  );
  for (const command of ['%', '%PROTOCOL%', 'a%%%b', '%%%', '%%PROTOCOL%']) {
    assert.equal(unescapeHeaderValue(command), undefined, command);
  }
});

test('a node id gives back its parts', () => {
  const node = { podIp: '10.244.0.9', pod: 'web-1.with.dots', namespace: 'shop' };
  assert.deepEqual(parseNodeId(formatNodeId(node)), node);
  const six = { podIp: 'fd10:244::9', pod: 'web-1', namespace: 'shop' };
  assert.deepEqual(parseNodeId(formatNodeId(six)), six);
});

test('what is not exactly a node id is none', () => {
  for (const text of [
    '',
    'sidecar~10.244.0.9~web-1.shop~cart.svc.cluster.local',
    'router~10.244.0.9~web-1.shop~shop.svc.cluster.local',
    'sidecar~10.244.0.9~web-1~shop.svc.cluster.local',
    'sidecar~10.244.0.9~.shop~shop.svc.cluster.local',
    'sidecar~10.244.0.9~web-1.~.svc.cluster.local',
    'sidecar~10.244.0.9~web-1.shop~shop.svc.cluster.local~more',
    'sidecar~10.244.0.9~web-1.shop~shop.svc.cluster.local.',
  ]) {
    assert.equal(parseNodeId(text), undefined, JSON.stringify(text));
  }
});

test('a node id is bounded, in bytes', () => {
  const withPod = (pod: string) => formatNodeId({ podIp: '10.244.0.9', pod, namespace: 'shop' });
  const room = nodeIdBytesMax - withPod('').length;
  assert.ok(parseNodeId(withPod('p'.repeat(room))) !== undefined);
  assert.equal(parseNodeId(withPod('p'.repeat(room + 1))), undefined);
  assert.equal(parseNodeId(withPod('é'.repeat(room / 2 + 1))), undefined);
});

test('types are known by their whole name, and shown by their last part', () => {
  for (const type of TYPES_IN_ORDER) assert.ok(isResourceType(type));
  assert.ok(!isResourceType('type.googleapis.com/Cluster'));
  assert.ok(!isResourceType('constructor'));
  assert.equal(shortType(TYPE.endpoints), 'ClusterLoadAssignment');
});
