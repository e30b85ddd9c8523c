import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../common/json.ts';
import {
  build,
  conditions,
  endpoint,
  KEY,
  messages,
  object,
  PARENT,
  pod,
  route,
  service,
  slice,
} from '../../test/support/model-objects.ts';
import type { SourcedObject } from '../objects.ts';

const TO_V2 = [{ name: 'v2', port: 80 }];
const GOOD = ['Accepted True Accepted', 'ResolvedRefs True ResolvedRefs'];
const BAD = ['Accepted False UnsupportedValue', 'ResolvedRefs True ResolvedRefs'];

/** Ports of a Service `db` that say what is spoken, and whether a route may have it for its parent. */
const PORTS: readonly (readonly [JsonObject, boolean])[] = [
  [{ name: 'http', port: 80 }, true],
  [{ name: 'web', port: 80 }, true],
  [{ name: 'http-web', port: 80 }, true],
  [{ name: 'grpc-web', port: 80 }, true],
  [{ name: 'tcp', port: 80, appProtocol: 'http' }, true],
  [{ name: 'http', port: 80, appProtocol: 'kubernetes.io/ws' }, true],
  [{ name: 'http', port: 80, appProtocol: 'mongo' }, true],
  [{ name: 'tcp-redis', port: 80 }, false],
  [{ name: 'https', port: 443 }, false],
  [{ name: 'grpc', port: 80 }, false],
  [{ name: 'http', port: 80, appProtocol: 'kubernetes.io/h2c' }, false],
  [{ name: 'http2', port: 80 }, false],
];
for (const [port, ok] of PORTS) {
  test(`a port with ${JSON.stringify(port)} ${ok ? 'takes' : 'takes no'} routes`, () => {
    const parentRefs = [{ ...PARENT, name: 'db' }];
    const mesh = build(
      service('db', '10.96.0.9', [port]),
      route({ parentRefs, rules: [{ backendRefs: TO_V2 }] }),
    );
    assert.equal(conditions(mesh)[0], ok ? GOOD[0] : BAD[0], messages(mesh));
    if (!ok) assert.match(messages(mesh), /bytes of port/);
  });
}

test('a Service with several ports takes a route on those that are HTTP, and it says which not', () => {
  const db = service('db', '10.96.0.9', [
    { name: 'http', port: 80 },
    { name: 'tcp', port: 81 },
    { name: 'dns', port: 53, protocol: 'UDP' },
  ]);
  const mesh = build(db, route({ parentRefs: [{ ...PARENT, name: 'db' }], rules: [{ backendRefs: TO_V2 }] }));
  assert.deepEqual(conditions(mesh), GOOD);
  assert.match(messages(mesh), /not to port 81 \(tcp\)/);
  const view = mesh.destinationsFor('x');
  assert.equal(view.get('db.shop.svc.cluster.local:80')?.entries.length, 1);
  assert.equal(view.get('db.shop.svc.cluster.local:81')?.entries.length, 0);
  assert.equal(view.has('db.shop.svc.cluster.local:53'), false);
});

test("a port whose pods want their bytes left alone takes no routes, though its Service's port is called http", () => {
  const mesh = build(
    service('db', '10.96.0.9'),
    pod('db-1', '10.244.0.9', { annotations: { 'heddle.dev/opaque-ports': '8000-8100' } }),
    slice('db', [endpoint('db-1', '10.244.0.9')]),
    route({ parentRefs: [{ ...PARENT, name: 'db' }] }),
  );
  assert.equal(conditions(mesh)[0], BAD[0]);
});

const PARENTS: readonly (readonly [string, JsonObject, readonly SourcedObject[], string, RegExp])[] = [
  ['no such Service', { ...PARENT, name: 'x' }, [], 'NoMatchingParent', /no Service shop\/x/],
  ['no such port', { ...PARENT, port: 81 }, [], 'NoMatchingParent', /no TCP port 81/],
  ['no port of that name', { ...PARENT, sectionName: 'x' }, [], 'NoMatchingParent', /named x/],
  [
    'a name and a number that differ',
    { ...PARENT, port: 81, sectionName: 'http' },
    [],
    'NoMatchingParent',
    /81 named http/,
  ],
  ['a headless Service', { ...PARENT, name: 'h' }, [service('h', 'None')], 'UnsupportedValue', /headless/],
  [
    'an ExternalName',
    { ...PARENT, name: 'e' },
    [object('v1', 'Service', 'e', { type: 'ExternalName', externalName: 'a.b' })],
    'NoMatchingParent',
    /ExternalName/,
  ],
  [
    'only a UDP port',
    { ...PARENT, name: 'u' },
    [service('u', '10.96.0.8', [{ port: 53, protocol: 'UDP' }])],
    'NoMatchingParent',
    /no TCP port/,
  ],
  ['a Service without its group', { kind: 'Service', name: 'catalog' }, [], 'UnsupportedValue', /group: ""/],
  ['another kind', { group: 'x', kind: 'Y', name: 'z' }, [], 'UnsupportedValue', /x\/Y/],
];
for (const [name, parent, more, reason, word] of PARENTS) {
  test(`a parent that is ${name} takes no routes: ${reason}`, () => {
    const mesh = build(...more, route({ parentRefs: [parent], rules: [{ backendRefs: TO_V2 }] }));
    assert.equal(conditions(mesh)[0], `Accepted False ${reason}`);
    assert.match(messages(mesh), word);
    assert.equal(mesh.problems.filter(({ severity }) => severity === 'error').length, 1);
  });
}

test('parents are judged one by one', () => {
  const parentRefs = [PARENT, { ...PARENT, name: 'x' }];
  const mesh = build(route({ parentRefs, rules: [{ backendRefs: TO_V2 }] }));
  assert.deepEqual(
    mesh.statuses[0]?.parents.map(({ ref, conditions: of }) => [ref, of[0]?.reason]),
    [
      ['Service shop/catalog', 'Accepted'],
      ['Service shop/x', 'NoMatchingParent'],
    ],
  );
  assert.equal(mesh.destinationsFor('shop').get(KEY)?.entries.length, 1);
});

test('a route of Gateways is left to their controller, whatever it holds; with a Service as well it is judged', () => {
  const cors = { rules: [{ filters: [{ type: 'CORS', cors: {} }] }] };
  const gateways = build(route({ ...cors, parentRefs: [{ name: 'front' }] }));
  assert.deepEqual(gateways.statuses, []);
  assert.deepEqual(
    gateways.problems.map(({ severity }) => severity),
    ['warning'],
  );
  const both = build(route({ ...cors, parentRefs: [{ name: 'front' }, PARENT] }));
  assert.deepEqual(conditions(both), BAD);
});
