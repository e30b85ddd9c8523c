import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { verdictOf } from './verdict.ts';

const wanted: KubeObject = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'r', namespace: 'shop' },
  spec: { rules: [{ name: 'a' }] },
};
const condition = (
  type: string,
  status: string,
  message = 'so it is',
  observedGeneration = 1,
): JsonValue => ({
  ...{ type, status, reason: type, message, observedGeneration },
});
const found = (conditions: readonly JsonValue[], more: Partial<KubeObject> = {}): KubeObject => ({
  ...wanted,
  metadata: { ...wanted.metadata, generation: 1 },
  status: { parents: [{ conditions }] },
  ...more,
});
const kind = (object: KubeObject | undefined) => verdictOf(object, wanted).kind;
const fine = [
  condition('Accepted', 'True'),
  condition('ResolvedRefs', 'True'),
  condition('Programmed', 'True'),
];

test('an object that is absent, older or not judged yet is waited for', () => {
  assert.equal(kind(undefined), 'pending');
  assert.equal(kind(found(fine, { spec: { rules: [] } })), 'pending', 'the one before');
  assert.equal(kind(found([])), 'pending');
  assert.equal(
    kind(found([condition('Accepted', 'True', '', 7)])),
    'pending',
    'a verdict on another generation',
  );
});

test('all conditions true is accepted', () => {
  assert.equal(kind(found(fine)), 'accepted');
});

test('a condition that is false is a refusal with every reason', () => {
  const verdict = verdictOf(
    found([
      condition('Accepted', 'True'),
      condition('ResolvedRefs', 'False', 'no Service x'),
      condition('Programmed', 'False', 'refused'),
    ]),
    wanted,
  );
  assert.deepEqual(verdict, {
    kind: 'refused',
    message: 'ResolvedRefs is False (ResolvedRefs): no Service x; Programmed is False (Programmed): refused',
  });
});

test('proxies that have yet to acknowledge it are waited for, and told', () => {
  assert.deepEqual(
    verdictOf(found([condition('Accepted', 'True'), condition('Programmed', 'Unknown', '2 of 3')]), wanted),
    {
      kind: 'spreading',
      message: '2 of 3',
    },
  );
});

test('policies carry their conditions at ancestors', () => {
  const policy = { ...wanted, kind: 'TrafficPolicy' };
  const shown = { ...found([]), kind: 'TrafficPolicy', status: { ancestors: [{ conditions: fine }] } };
  assert.equal(verdictOf(shown, policy).kind, 'accepted');
});

test('other kinds are taken once the mesh shows what was applied, whatever else it adds', () => {
  const service: KubeObject = { ...wanted, kind: 'Service', spec: { ports: [{ port: 80 }] } };
  const shown = (spec: JsonValue) => verdictOf({ ...service, spec }, service).kind;
  assert.equal(shown({ ports: [{ port: 80 }], clusterIP: '10.96.0.9' }), 'accepted');
  assert.equal(shown({ ports: [{ port: 81 }], clusterIP: '10.96.0.9' }), 'pending');
  const map: KubeObject = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c' }, data: { a: '1' } };
  assert.equal(verdictOf({ ...map, data: { a: '2' } }, map).kind, 'pending');
  assert.equal(verdictOf(map, map).kind, 'accepted');
});
