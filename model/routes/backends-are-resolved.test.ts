import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import { build, conditions, KEY, object, PARENT, route, service } from '../../test/support/model-objects.ts';
import type { SourcedObject } from '../objects.ts';

const TO_V2 = [{ name: 'v2', port: 80 }];
const GOOD = ['Accepted True Accepted', 'ResolvedRefs True ResolvedRefs'];
const rule = (fields: JsonObject): JsonObject => ({
  parentRefs: [PARENT],
  rules: [{ backendRefs: TO_V2, ...fields }],
});

const BACKENDS: readonly (readonly [string, JsonObject, readonly SourcedObject[], string])[] = [
  ['missing', { name: 'x', port: 80 }, [], 'BackendNotFound'],
  ['of a missing port', { name: 'v2', port: 81 }, [], 'BackendNotFound'],
  ['without a port', { name: 'v2' }, [], 'BackendNotFound'],
  ['of another kind', { group: 'x', kind: 'Y', name: 'z', port: 80 }, [], 'InvalidKind'],
  [
    'an ExternalName',
    { name: 'e', port: 80 },
    [object('v1', 'Service', 'e', { type: 'ExternalName', externalName: 'a.b' })],
    'BackendNotFound',
  ],
  [
    'of gRPC',
    { name: 'g', port: 80 },
    [service('g', '10.96.0.8', [{ name: 'grpc', port: 80 }])],
    'UnsupportedProtocol',
  ],
  [
    'of TLS',
    { name: 'g', port: 443 },
    [service('g', '10.96.0.8', [{ name: 'https', port: 443 }])],
    'UnsupportedProtocol',
  ],
  [
    'elsewhere',
    { name: 'x', namespace: 'far', port: 80 },
    [service('x', '10.96.0.8', undefined, { namespace: 'far' })],
    'RefNotPermitted',
  ],
];
for (const [name, ref, more, reason] of BACKENDS) {
  test(`a backend that is ${name} takes its share of requests and answers them with no-backend: ${reason}`, () => {
    const mesh = build(...more, route(rule({ backendRefs: [ref, ...TO_V2] })));
    assert.deepEqual(conditions(mesh), [GOOD[0], `ResolvedRefs False ${reason}`]);
    const backends = mesh.destinationsFor('x').get(KEY)?.entries[0]?.rule.backends ?? [];
    assert.deepEqual(
      backends.map(({ weight, invalid }) => [weight, invalid === undefined]),
      [
        [1, false],
        [1, true],
      ],
    );
  });
}

const GRANT = {
  from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'shop' }],
  to: [{ group: '', kind: 'Service' }],
};
const grant = (spec: JsonValue, namespace = 'far', version = 'v1beta1') =>
  object(`gateway.networking.k8s.io/${version}`, 'ReferenceGrant', 'g', spec, { namespace });
const GRANTS: readonly (readonly [string, SourcedObject, boolean])[] = [
  ['for all Services', grant(GRANT), true],
  ['of version v1', grant(GRANT, 'far', 'v1'), true],
  ['for that Service', grant({ ...GRANT, to: [{ group: '', kind: 'Service', name: 'x' }] }), true],
  ['for another Service', grant({ ...GRANT, to: [{ group: '', kind: 'Service', name: 'y' }] }), false],
  ['for another kind', grant({ ...GRANT, to: [{ group: '', kind: 'Secret' }] }), false],
  ['to another namespace', grant({ ...GRANT, from: [{ ...GRANT.from[0], namespace: 'y' }] }), false],
  ['of another namespace', grant(GRANT, 'shop'), false],
  ['with a slip in it', grant({ ...GRANT, too: [] }), false],
];
for (const [name, given, ok] of GRANTS) {
  test(`a grant ${name} ${ok ? 'opens' : "doesn't open"} a backend elsewhere`, () => {
    const far = service('x', '10.96.0.8', undefined, { namespace: 'far' });
    const mesh = build(far, given, route(rule({ backendRefs: [{ name: 'x', namespace: 'far', port: 80 }] })));
    assert.equal(conditions(mesh)[1], `ResolvedRefs ${ok ? 'True ResolvedRefs' : 'False RefNotPermitted'}`);
  });
}

test("a consumer's route needs no grant for Services beside its parent", () => {
  const spec = {
    parentRefs: [{ ...PARENT, namespace: 'shop' }],
    rules: [{ backendRefs: [{ name: 'v2', namespace: 'shop', port: 80 }] }],
  };
  assert.deepEqual(conditions(build(route(spec, 'c', { namespace: 'far' }))), GOOD);
});
