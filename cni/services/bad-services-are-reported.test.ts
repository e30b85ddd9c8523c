import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonObject } from '../../common/json.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { compiled, EMPTY_INPUT, serviceOf, shownPlan, sliceOf } from '../../test/support/service-objects.ts';
import { compileServices } from './compile.ts';
import type { HostPortMapping, ServiceInput } from './plan.ts';

const OK = { clusterIP: '10.96.1.1' };
const ENDPOINT = sliceOf('web', ['10.244.0.1 n1']);

/** A Service that can't be used: which field is told of, in which words, and that nothing of it is served. */
const bad: readonly (readonly [string, JsonObject, string, RegExp])[] = [
  ['a cluster IP that is none', { clusterIP: '10.96.1' }, 'spec.clusterIP', /must be an IP address/],
  ['a cluster IP with a zone', { clusterIP: 'fe80::1%eth0' }, 'spec.clusterIP', /must be an IP address/],
  ['a cluster IP on loopback', { clusterIP: '127.0.0.1' }, 'spec.clusterIP', /loopback/],
  ['a cluster IP that is no text', { clusterIPs: [5] }, 'spec.clusterIPs[0]', /must be a string/],
  [
    'two cluster IPs of a family',
    { clusterIPs: ['10.96.1.1', '10.96.1.2'] },
    'spec.clusterIPs',
    /each family/,
  ],
  ['an unknown type', { ...OK, type: 'Ingress' }, 'spec.type', /must be one of/],
  ['no ports', { ...OK, ports: null }, 'spec.ports', /is required/],
  ['a port out of range', { ...OK, ports: [{ port: 70_000 }] }, 'spec.ports[0].port', /1 to 65535/],
  ['a port without a number', { ...OK, ports: [{ name: 'http' }] }, 'spec.ports[0].port', /is required/],
  ['a port twice', { ...OK, ports: [{ port: 80 }, { port: 80 }] }, 'spec.ports[1].port', /listed twice/],
  [
    'an unknown protocol',
    { ...OK, ports: [{ port: 80, protocol: 'QUIC' }] },
    'spec.ports[0].protocol',
    /TCP, UDP/,
  ],
  [
    'a node port out of range',
    { ...OK, type: 'NodePort', ports: [{ port: 80, nodePort: -1 }] },
    'spec.ports[0].nodePort',
    /0 to 65535/,
  ],
  [
    'an external address that is none',
    { ...OK, externalIPs: ['lb'] },
    'spec.externalIPs[0]',
    /must be an IP address/,
  ],
  ['a multicast external address', { ...OK, externalIPs: ['224.0.0.1'] }, 'spec.externalIPs[0]', /multicast/],
  ['a link-local external address', { ...OK, externalIPs: ['fe80::1'] }, 'spec.externalIPs[0]', /link-local/],
  [
    'an unknown policy',
    { ...OK, externalTrafficPolicy: 'Near' },
    'spec.externalTrafficPolicy',
    /Cluster, Local/,
  ],
  [
    'an unknown internal policy',
    { ...OK, internalTrafficPolicy: 'Near' },
    'spec.internalTrafficPolicy',
    /Cluster, Local/,
  ],
  ['an unknown affinity', { ...OK, sessionAffinity: 'Cookie' }, 'spec.sessionAffinity', /None, ClientIP/],
  [
    'an endless affinity',
    { ...OK, sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 86_401 } } },
    'spec.sessionAffinityConfig.clientIP.timeoutSeconds',
    /1 to 86400/,
  ],
  [
    'an unknown distribution',
    { ...OK, trafficDistribution: 'Far' },
    'spec.trafficDistribution',
    /PreferClose/,
  ],
  [
    'a source range that is none',
    { ...OK, type: 'LoadBalancer', loadBalancerSourceRanges: ['10.0.0.0'] },
    'spec.loadBalancerSourceRanges[0]',
    /a range such as/,
  ],
  ['a spec that is none', [] as unknown as JsonObject, 'spec', /must be an object/],
];

for (const [name, spec, field, words] of bad) {
  test(`${name} is told of, and the Service isn't served`, () => {
    const base = serviceOf('web', {});
    const object = { ...base.object, spec: Array.isArray(spec) ? spec : { ports: [{ port: 80 }], ...spec } };
    const plan = compiled({ services: [{ ...base, object } as SourcedObject], endpointSlices: [ENDPOINT] });
    const [problem] = plan.problems;
    assert.equal(problem?.severity, 'error');
    assert.equal(problem.object, 'Service shop/web');
    assert.equal(problem.field, field);
    assert.match(problem.message, words);
    assert.deepEqual(shownPlan(plan), {});
  });
}

test('a Service that an edit made unsound is served as it was', () => {
  const good = serviceOf('web', OK);
  const broken = serviceOf('web', { ...OK, sessionAffinity: 'Cookie' });
  const services = [{ ...broken, lastGood: good.object }];
  const plan = compiled({ services, endpointSlices: [ENDPOINT] });
  assert.equal(plan.problems.length, 1);
  assert.deepEqual(shownPlan(plan), { 'in 10.96.1.1:80/TCP': '10.244.0.1:8080' });
});

const warned: readonly (readonly [string, JsonObject, string, RegExp, string])[] = [
  ['no cluster IP yet', {}, 'spec.clusterIP', /no cluster IP yet/, ''],
  [
    'an external address of a family without endpoints',
    { ...OK, externalIPs: ['2001:db8::7'] },
    'spec.externalIPs[0]',
    /no IPv6 cluster IP/,
    'in 10.96.1.1:80/TCP',
  ],
];
for (const [name, spec, field, words, keys] of warned) {
  test(`${name} is a warning`, () => {
    const plan = compiled({ services: [serviceOf('web', spec)], endpointSlices: [ENDPOINT] });
    const [problem] = plan.problems;
    assert.deepEqual([problem?.severity, problem?.field], ['warning', field]);
    assert.match(problem?.message ?? '', words);
    assert.equal(Object.keys(shownPlan(plan)).join(' '), keys);
  });
}

test('a balancer that lets in only some is refused by the nodes, which could not tell who is who, and told of', () => {
  const spec = {
    ...OK,
    type: 'LoadBalancer',
    ports: [{ port: 80, nodePort: 30_080 }],
    loadBalancerSourceRanges: ['192.0.2.0/24'],
  };
  const status = { loadBalancer: { ingress: [{ ip: '203.0.113.7' }] } };
  const plan = compiled({ services: [serviceOf('web', spec, { status })], endpointSlices: [ENDPOINT] });
  assert.deepEqual(
    plan.problems.map(({ severity, field }) => [severity, field]),
    [['error', 'spec.loadBalancerSourceRanges']],
  );
  assert.deepEqual(shownPlan(plan), {
    'in 10.96.1.1:80/TCP': '10.244.0.1:8080',
    'in node4:30080/TCP': '10.244.0.1:8080',
    'out node4:30080/TCP': '10.244.0.1:8080',
    'in 203.0.113.7:80/TCP': '',
    'out 203.0.113.7:80/TCP': '',
  });
});

/** Slices of which something can't be used: the rest serves. */
const badSlices: readonly (readonly [string, JsonObject, string, string])[] = [
  ['an address type that nobody knows', { addressType: 'IPX' }, 'addressType', ''],
  ['no port', { ports: [{ name: '' }, { name: '', port: 8080 }] }, 'ports[0].port', '10.244.0.1:8080'],
  [
    'an endpoint without an address',
    { endpoints: [{}, { addresses: ['10.244.0.1'] }] },
    'endpoints[0].addresses[0]',
    '10.244.0.1:8080',
  ],
  [
    'an endpoint of the other family',
    { endpoints: [{ addresses: ['fd00::1'] }] },
    'endpoints[0].addresses[0]',
    '',
  ],
  ['an endpoint on loopback', { endpoints: [{ addresses: ['127.0.0.1'] }] }, 'endpoints[0].addresses[0]', ''],
  [
    'an endpoint for cloud metadata',
    { endpoints: [{ addresses: ['169.254.169.254'] }] },
    'endpoints[0].addresses[0]',
    '',
  ],
];
for (const [name, more, field, backends] of badSlices) {
  test(`a slice with ${name} is told of, the rest serves`, () => {
    const slice = { ...ENDPOINT, object: { ...ENDPOINT.object, ...more } as SourcedObject['object'] };
    const plan = compiled({ services: [serviceOf('web', OK)], endpointSlices: [slice] });
    assert.deepEqual(
      plan.problems.map((one) => one.field),
      [field],
    );
    assert.deepEqual(shownPlan(plan), { 'in 10.96.1.1:80/TCP': backends });
  });
}

const at = (creationTimestamp: string) => ({ creationTimestamp });
const young = at('2026-01-02T00:00:00Z');
const old = at('2026-01-01T00:00:00Z');
const nodePort = { ports: [{ port: 80, nodePort: 30_080 }] };
const contests: readonly (readonly [string, readonly SourcedObject[], string, string])[] = [
  [
    'the older of two Services keeps a cluster IP',
    [serviceOf('a', OK, young), serviceOf('b', OK, old)],
    'Service shop/a',
    'b',
  ],
  ['the first by name of two of one age', [serviceOf('b', OK), serviceOf('a', OK)], 'Service shop/b', 'a'],
  [
    'a cluster IP is no prey of an older external address',
    [serviceOf('a', OK, young), serviceOf('b', { clusterIP: '10.96.1.2', externalIPs: ['10.96.1.1'] }, old)],
    'Service shop/b',
    'a',
  ],
  [
    'a node port has one Service',
    [
      serviceOf('a', { ...OK, ...nodePort, type: 'NodePort' }),
      serviceOf('b', { clusterIP: '10.96.1.2', ...nodePort, type: 'NodePort' }),
    ],
    'Service shop/b',
    'a',
  ],
];
for (const [name, services, loser, winner] of contests) {
  test(name, () => {
    const endpointSlices = [sliceOf('a', ['10.244.0.1']), sliceOf('b', ['10.244.0.2'])];
    const plan = compiled({ services, endpointSlices });
    assert.deepEqual(
      plan.problems.map(({ object }) => object),
      [loser],
    );
    assert.match(plan.problems[0]?.message ?? '', new RegExp(`Service shop/${winner} .* already`));
    const shown = shownPlan(plan);
    const contested = shown['in node4:30080/TCP'] ?? shown['in 10.96.1.1:80/TCP'];
    assert.equal(contested, winner === 'a' ? '10.244.0.1:8080' : '10.244.0.2:8080');
  });
}

const mapping: HostPortMapping = {
  ...{ namespace: 'shop', pod: 'web-1', podIps: ['10.244.0.1'] },
  ...{ hostIp: undefined, hostPort: 8000, containerPort: 80, protocol: 'TCP' },
};
test('a hostPort that cannot be served says why', () => {
  const tell = (hostIp: string) => compiled({ hostPorts: [{ ...mapping, hostIp }] });
  for (const [hostIp, words] of [
    ['127.0.0.2', /loopback/],
    ['198.51.100.9', /no address of this node/],
    ['here', /no IP address/],
  ] as const) {
    const { problems, frontends } = tell(hostIp);
    assert.equal(problems[0]?.object, 'Pod shop/web-1');
    assert.match(problems[0]?.message ?? '', words);
    assert.deepEqual(frontends, []);
  }
});

test('of two pods with one hostPort the first has it, and the other is told of', () => {
  const plan = compiled({ hostPorts: [mapping, { ...mapping, pod: 'web-2', podIps: ['10.244.0.2'] }] });
  assert.equal(shownPlan(plan)['out 192.0.2.1:8000/TCP'], '10.244.0.1:80');
  assert.deepEqual(
    plan.problems.map(({ object }) => object),
    ['Pod shop/web-2'],
  );
});

test('two balancers do not share a health check port', () => {
  const spec = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 32_000 };
  const services = ['a', 'b'].map((name, index) =>
    serviceOf(name, { ...spec, clusterIP: `10.96.1.${index + 1}` }),
  );
  const plan = compiled({ services });
  assert.deepEqual(
    plan.healthChecks.map(({ service }) => service),
    ['a'],
  );
  assert.deepEqual(
    plan.problems.map(({ field }) => field),
    ['spec.healthCheckNodePort'],
  );
});

const limited = (
  limits: { backendsPerServiceMax?: number; frontendsMax?: number; backendsMax?: number },
  input: Partial<ServiceInput>,
) =>
  compileServices({ ...EMPTY_INPUT, ...input }, undefined, {
    backendsPerServiceMax: 100,
    frontendsMax: 100,
    backendsMax: 100,
    ...limits,
  });
const twoServices = {
  services: [serviceOf('a', OK), serviceOf('b', { clusterIP: '10.96.1.2' })],
  endpointSlices: [sliceOf('a', ['10.244.0.1', '10.244.0.2', '10.244.0.3']), sliceOf('b', ['10.244.0.4'])],
};

test('more endpoints than a Service may have are cut off and told of', () => {
  const plan = limited({ backendsPerServiceMax: 2 }, twoServices);
  assert.deepEqual(
    plan.problems.map(({ severity, object }) => [severity, object]),
    [['warning', 'Service shop/a']],
  );
  assert.equal(shownPlan(plan)['in 10.96.1.1:80/TCP'], '10.244.0.1:8080 10.244.0.2:8080');
});

test('what the maps have no room for is left out whole and told of, the rest is served', () => {
  const full = limited({ backendsMax: 2 }, twoServices);
  assert.deepEqual(shownPlan(full), { 'in 10.96.1.2:80/TCP': '10.244.0.4:8080' });
  assert.match(full.problems[0]?.message ?? '', /1 addresses .* 10\.96\.1\.1:80\/TCP of Service shop\/a/);
  const crowded = limited({ frontendsMax: 1 }, twoServices);
  assert.deepEqual(Object.keys(shownPlan(crowded)), ['in 10.96.1.1:80/TCP']);
  assert.match(crowded.problems[0]?.message ?? '', /10\.96\.1\.2:80\/TCP of Service shop\/b/);
});

test('objects of any shape never throw', () => {
  const fields = [
    'type',
    'clusterIP',
    'clusterIPs',
    'ports',
    'externalIPs',
    'sessionAffinityConfig',
    'loadBalancerSourceRanges',
  ];
  const value = fc.jsonValue({ maxDepth: 3 });
  const spec = fc.oneof(value, fc.dictionary(fc.constantFrom(...fields), value));
  const slice = fc.record({
    addressType: fc.constantFrom('IPv4', 'IPv6', null),
    ports: value,
    endpoints: value,
  });
  fc.assert(
    fc.property(spec, value, slice, (anySpec, status, anySlice) => {
      const base = serviceOf('web', {});
      const service = {
        ...base,
        object: { ...base.object, spec: anySpec, status } as SourcedObject['object'],
      };
      const own = { ...ENDPOINT, object: { ...ENDPOINT.object, ...anySlice } as SourcedObject['object'] };
      compiled({ services: [service, serviceOf('other', OK)], endpointSlices: [own] });
    }),
  );
});
