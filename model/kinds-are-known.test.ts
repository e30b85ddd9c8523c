import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonValue } from '../common/json.ts';
import { build, conditions, messages, object, PARENT } from '../test/support/model-objects.ts';

const RULES: JsonValue = { parentRefs: [PARENT], rules: [{ backendRefs: [{ name: 'v2', port: 80 }] }] };

const KINDS: readonly (readonly [string, string, JsonValue, RegExp | undefined])[] = [
  ['gateway.networking.k8s.io/v1beta1', 'HTTPRoute', RULES, undefined],
  ['gateway.networking.k8s.io/v1alpha2', 'HTTPRoute', RULES, /write gateway\.networking\.k8s\.io\/v1 /],
  ['gateway.networking.k8s.io/v1', 'GRPCRoute', { parentRefs: [PARENT] }, /GRPCRoute is not supported/],
  ['gateway.networking.k8s.io/v1alpha2', 'TCPRoute', { parentRefs: [PARENT] }, /TCPRoute is not supported/],
  ['gateway.networking.k8s.io/v1', 'TLSRoute', { parentRefs: [PARENT] }, /TLSRoute is not supported/],
  ['gateway.networking.k8s.io/v1alpha2', 'UDPRoute', {}, /UDPRoute is not supported/],
  ['heddle.dev/v1alpha1', 'AuthorizationPolicy', {}, /refused/],
  ['heddle.dev/v1alpha1', 'TraficPolicy', {}, /no kind TraficPolicy/],
  ['heddle.dev/v1', 'TrafficPolicy', { targetRefs: [PARENT] }, /write heddle\.dev\/v1alpha1/],
  ['heddle.dev/v1', 'MTLSPolicy', {}, /write heddle\.dev\/v1alpha1/],
];
for (const [apiVersion, kind, spec, word] of KINDS) {
  test(`${kind} of ${apiVersion} is ${word === undefined ? 'read' : 'refused with the reason'}`, () => {
    const mesh = build(object(apiVersion, kind, 'k', spec));
    assert.equal(
      conditions(mesh)[0],
      word === undefined ? 'Accepted True Accepted' : 'Accepted False Unsupported',
    );
    if (word !== undefined) assert.match(messages(mesh), word);
  });
}

test('routes of other kinds that have Gateways for parents are not spoken of', () => {
  const mesh = build(
    object('gateway.networking.k8s.io/v1', 'GRPCRoute', 'k', { parentRefs: [{ name: 'front' }] }),
  );
  assert.deepEqual(mesh.statuses, []);
});
