import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../common/json.ts';
import { build, endpoint, object, pod, service, slice } from '../test/support/model-objects.ts';
import type { Mesh } from './mesh.ts';
import type { SourcedObject } from './objects.ts';
import { protocolOf } from './protocols.ts';

const DB = 'outbound|80||db.shop.svc.cluster.local';
const IP = '10.244.0.9';
const db = (...ports: JsonObject[]) => service('db', '10.96.0.9', ports.length === 0 ? undefined : ports);
const only = (mesh: Mesh, cluster = DB) => {
  const [one, ...others] = mesh.clusters.get(cluster)?.endpoints ?? [];
  assert.equal(others.length, 0);
  return one;
};
const keys = (mesh: Mesh, cluster = DB) =>
  mesh.clusters.get(cluster)?.endpoints.map(({ key, health }) => `${key} ${health}`);

test('each Service port takes the slice port of its name', () => {
  const mesh = build(
    db({ name: 'http', port: 80 }, { name: 'admin', port: 81 }, { name: 'dns', port: 53, protocol: 'UDP' }),
    pod('db-1', IP),
    slice(
      'db',
      [endpoint('db-1', IP)],
      [
        { name: 'dns', port: 5353, protocol: 'UDP' },
        { name: 'admin', port: 9000 },
        { name: 'http', port: 8080, protocol: 'TCP' },
      ],
    ),
  );
  assert.equal(only(mesh)?.key, `${IP}:8080`);
  assert.equal(only(mesh, DB.replace('80', '81'))?.key, `${IP}:9000`);
  assert.equal(mesh.clusters.has(DB.replace('80', '53')), false);
});

test('a port without a name takes the slice port without one', () => {
  const mesh = build(db({ port: 80 }), slice('db', [{ addresses: [IP] }], [{ port: 8080 }]));
  assert.equal(only(mesh)?.port, 8080);
  const named = build(db({ port: 80 }), slice('db', [{ addresses: [IP] }], [{ name: '', port: 8081 }]));
  assert.equal(only(named)?.port, 8081);
});

const CONDITIONS: readonly (readonly [JsonObject, string | undefined])[] = [
  [{ ready: true }, 'ready'],
  [{ ready: null }, 'ready'],
  [{}, 'ready'],
  [{ ready: false }, undefined],
  [{ ready: false, serving: true }, undefined],
  [{ ready: false, serving: true, terminating: true }, 'draining'],
  [{ ready: true, serving: true, terminating: true }, 'draining'],
  [{ ready: false, serving: false, terminating: true }, undefined],
];
for (const [conditions, health] of CONDITIONS) {
  test(`an endpoint with ${JSON.stringify(conditions)} is ${health ?? 'left out'}`, () => {
    const mesh = build(db(), pod('db-1', IP), slice('db', [endpoint('db-1', IP, conditions)]));
    assert.equal(only(mesh)?.health, health);
  });
}

test('a pod that is going away is draining, whatever its slice says yet; null is no deletion', () => {
  const going = (deletionTimestamp: string | null): SourcedObject => {
    const sourced = pod('db-1', IP);
    const { metadata } = sourced.object;
    return { ...sourced, object: { ...sourced.object, metadata: { ...metadata, deletionTimestamp } } };
  };
  const health = (time: string | null) =>
    only(build(db(), going(time), slice('db', [endpoint('db-1', IP)])))?.health;
  assert.equal(health('2026-01-01T00:00:00Z'), 'draining');
  assert.equal(health(null), 'ready');
});

test('slices of both families and several slices add up; an address is one endpoint, ready if any says so', () => {
  const mesh = build(
    db(),
    slice('db', [
      { addresses: ['10.0.0.2', '10.0.0.1'] },
      { addresses: ['10.0.0.3'], conditions: { ready: false, serving: true, terminating: true } },
    ]),
    {
      ...slice('db', [{ addresses: ['fd00::1'] }, { addresses: ['10.0.0.3'] }]),
      object: {
        ...slice('db', [{ addresses: ['fd00::1'] }, { addresses: ['10.0.0.3'] }], undefined, {
          addressType: 'IPv6',
        }).object,
        metadata: { name: 'db-y', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'db' } },
      },
    },
  );
  assert.deepEqual(keys(mesh), [
    '10.0.0.1:8080 ready',
    '10.0.0.2:8080 ready',
    '10.0.0.3:8080 ready',
    '[fd00::1]:8080 ready',
  ]);
});

/** What a pod is like, and whether others speak mTLS to its port 8080. */
const MTLS: readonly (readonly [string, JsonObject, boolean])[] = [
  ['injected', {}, true],
  [
    'injected, another port skipped',
    { annotations: { 'heddle.dev/skip-inbound-ports': '80, 9000-9100' } },
    true,
  ],
  ['injected, this port skipped', { annotations: { 'heddle.dev/skip-inbound-ports': '8080' } }, false],
  ['injected, a range skipped', { annotations: { 'heddle.dev/skip-inbound-ports': '8000-8100' } }, false],
  ['injected, opaque', { annotations: { 'heddle.dev/opaque-ports': '8080' } }, true],
];
for (const [name, more, mtls] of MTLS) {
  test(`a pod that is ${name} is spoken to ${mtls ? 'with' : 'without'} mTLS, and its own sidecar agrees`, () => {
    const mesh = build(db(), pod('db-1', IP, more), slice('db', [endpoint('db-1', IP)]));
    assert.equal(only(mesh)?.mtls, mtls);
    assert.deepEqual(only(mesh)?.identities, mtls ? ['spiffe://cluster.local/ns/shop/sa/db'] : []);
    assert.equal(mesh.inboundFor('shop/db-1')?.ports[0]?.mode === 'DISABLE', !mtls);
    assert.equal(mesh.clusters.get(`pod|8080||${IP}`)?.endpoints[0]?.mtls, mtls);
  });
}

test('a pod without the annotation is spoken to in plaintext', () => {
  const plain = pod('db-1', IP);
  const { annotations: _none, ...metadata } = plain.object.metadata;
  const mesh = build(
    db(),
    { ...plain, object: { ...plain.object, metadata } },
    slice('db', [endpoint('db-1', IP)]),
  );
  assert.deepEqual([only(mesh)?.mtls, only(mesh)?.identities, only(mesh)?.pod], [false, [], 'shop/db-1']);
});

test("the sidecar's own ports, which are never captured, are spoken to in plaintext", () => {
  const mesh = build(
    db(),
    pod('db-1', IP),
    slice('db', [endpoint('db-1', IP)], [{ name: 'http', port: 15_020 }]),
  );
  assert.equal(only(mesh)?.mtls, false);
});

test('a slice written by hand finds the pod behind an address, and nobody behind one that several pods share', () => {
  const byHand = slice('db', [{ addresses: [IP] }]);
  const found = only(build(db(), pod('db-1', IP), byHand));
  assert.deepEqual([found?.pod, found?.mtls, found?.node], ['shop/db-1', true, 'n1']);
  assert.equal(only(build(db(), pod('db-1', IP), pod('other-1', IP), byHand))?.mtls, false);
  assert.equal(only(build(db(), byHand))?.mtls, false);
});

test('zones come from nodes, or from the slice', () => {
  const node = object('v1', 'Node', 'n1', null, { labels: { 'topology.kubernetes.io/zone': 'a' } });
  const mesh = build(node, db(), pod('db-1', IP), slice('db', [endpoint('db-1', IP)]));
  assert.equal(only(mesh)?.zone, 'a');
  const told = build(node, db(), pod('db-1', IP), slice('db', [{ ...endpoint('db-1', IP), zone: 'b' }]));
  assert.equal(only(told)?.zone, 'b');
});

test('a headless Service has no address of its own, its name and its pods do', () => {
  const mesh = build(service('db', 'None'), pod('db-1', IP), slice('db', [endpoint('db-1', IP)]));
  const view = mesh.destinationsFor('x');
  assert.deepEqual(view.get('db.shop.svc.cluster.local:80')?.addresses, []);
  assert.equal(view.get(`${IP}:8080`)?.protocol, 'http');
});

test('a Service of two families has both addresses', () => {
  const spec = { clusterIP: '10.96.0.9', clusterIPs: ['10.96.0.9', 'fd10:96::9'], ports: [{ port: 80 }] };
  const mesh = build(object('v1', 'Service', 'db', spec));
  const found = mesh.destinationsFor('x').get('db.shop.svc.cluster.local:80');
  assert.deepEqual(found?.addresses, ['10.96.0.9:80', '[fd10:96::9]:80']);
  assert.equal(mesh.snapshotFor('x').destination('[fd10:96::9]:80'), found);
});

test('pods that have ended are gone', () => {
  const ended = pod('db-1', IP, { status: { podIP: IP, phase: 'Succeeded' } });
  assert.equal(build(ended).workloads.has('shop/db-1'), false);
});

test('what a port says is spoken', () => {
  const table: readonly (readonly [string | undefined, string, string])[] = [
    ...([
      [undefined, '', 'auto'],
      [undefined, 'web', 'auto'],
      [undefined, 'http', 'http'],
      [undefined, 'HTTP-x', 'http'],
    ] as const),
    ...([
      [undefined, 'httpx', 'auto'],
      [undefined, 'http2-a', 'http2'],
      [undefined, 'grpc', 'grpc'],
      [undefined, 'grpc-web', 'http'],
    ] as const),
    ...([
      [undefined, 'grpc-web-a', 'http'],
      [undefined, 'grpc-api', 'grpc'],
      [undefined, 'tcp-db', 'tcp'],
      [undefined, 'https', 'tls'],
    ] as const),
    ...([
      ['http', 'tcp', 'http'],
      ['HTTP', 'tcp', 'http'],
      ['kubernetes.io/h2c', '', 'http2'],
      ['kubernetes.io/ws', '', 'http'],
    ] as const),
    ...([
      ['kubernetes.io/wss', '', 'tls'],
      ['mongo', 'tcp-mongo', 'tcp'],
      ['mongo', '', 'auto'],
      ['tcp', 'http', 'tcp'],
    ] as const),
  ];
  for (const [appProtocol, name, wanted] of table)
    assert.equal(protocolOf(appProtocol, name), wanted, `${appProtocol} ${name}`);
});

/** What is wrong with a Service, the field to blame and a word of why; warnings are marked. */
const UNSOUND: readonly (readonly [JsonObject, string, RegExp])[] = [
  [{ ports: [{ port: '80' }] }, 'spec.ports[0].port', /whole number/],
  [{ ports: [{ name: 'a' }] }, 'spec.ports[0].port', /required/],
  [{ ports: [{ port: 80, targetport: 8080 }] }, 'spec.ports[0].targetport', /not a known field/],
  [{ ports: [{ port: 80, targetPort: 'No_Name' }] }, 'spec.ports[0].targetPort', /name of a container/],
  [{ ports: [{ port: 80, protocol: 'tcp' }] }, 'spec.ports[0].protocol', /TCP, UDP/],
  [{ ports: [{ port: 80 }, { port: 81, name: 'a' }] }, 'spec.ports[0].name', /several ports/],
  [
    {
      ports: [
        { port: 80, name: 'a' },
        { port: 81, name: 'a' },
      ],
    },
    'spec.ports[1].name',
    /another port/,
  ],
  [
    {
      ports: [
        { port: 80, name: 'a' },
        { port: 80, name: 'b' },
      ],
    },
    'spec.ports[1].port',
    /listed twice/,
  ],
  [{ ports: [{ port: 80, appProtocol: 'mongo' }] }, 'spec.ports[0].appProtocol', /says nothing/],
  [{}, 'spec.ports', /required/],
  [{ ports: [{ port: 80 }], clusterIP: 'none' }, 'spec.clusterIP', /IP address/],
  [{ ports: [{ port: 80 }], selectors: {} }, 'spec.selectors', /not a known field/],
  [{ ports: [{ port: 80 }], type: 'Internal' }, 'spec.type', /ClusterIP/],
  [{ ports: [{ port: 80 }], sessionAffinity: 'ClientIP' }, 'spec.sessionAffinity', /Maglev/],
  [{ ports: [{ port: 80 }], internalTrafficPolicy: 'Local' }, 'spec.internalTrafficPolicy', /no effect/],
  [{ ports: [{ port: 80 }], trafficDistribution: 'PreferClose' }, 'spec.trafficDistribution', /no effect/],
];
for (const [spec, field, word] of UNSOUND) {
  test(`a Service with ${JSON.stringify(spec)} is reported, and ${field} is to blame`, () => {
    const { problems } = build(object('v1', 'Service', 'db', spec));
    assert.match(problems.find((one) => one.field === field)?.message ?? JSON.stringify(problems), word);
  });
}

test('a sound Service has no problems', () => {
  const spec = {
    ...{ type: 'LoadBalancer', selector: { app: 'db' }, clusterIP: '10.96.0.9', sessionAffinity: 'None' },
    ...{ externalTrafficPolicy: 'Local', ipFamilyPolicy: 'SingleStack', internalTrafficPolicy: 'Cluster' },
    ports: [
      { name: 'http', port: 80, targetPort: 'http', nodePort: 30_080, appProtocol: 'http' },
      { name: 'dns', port: 80, protocol: 'UDP', targetPort: 53 },
    ],
  };
  assert.deepEqual(build(object('v1', 'Service', 'db', spec)).problems, []);
});

test('an ExternalName is said to be no destination of the mesh', () => {
  const { problems } = build(object('v1', 'Service', 'e', { type: 'ExternalName', externalName: 'a.b' }));
  assert.deepEqual(
    problems.map(({ severity, field, message }) => [severity, field, message.slice(0, 39)]),
    [['warning', 'spec.type', 'ExternalName is not routed by the mesh ']],
  );
  assert.deepEqual(
    build(object('v1', 'Service', 'h', { clusterIP: 'None', selector: { a: 'b' } })).problems,
    [],
  );
});

test('ports in annotations that are none are reported', () => {
  const wrong = { annotations: { 'heddle.dev/opaque-ports': '80,x,9-8,70000' } };
  for (const sourced of [service('db', '10.96.0.9', undefined, wrong), pod('db-1', IP, wrong)]) {
    assert.match(build(sourced).problems[0]?.message ?? '', /x, 9-8, 70000/);
  }
});

test('endpoints that cannot be used are reported', () => {
  const { problems } = build(
    db(),
    slice('db', [{ addresses: [] }, { addresses: [1] }], [{ name: 'http', port: 'x' }], {
      addressType: 'FQDN',
    }),
  );
  assert.deepEqual(
    problems.map(({ field }) => field),
    ['addressType', 'ports[0].port', 'endpoints[0]', 'endpoints[1]'],
  );
});
