import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../common/json.ts';
import { compiled, serviceOf, shownPlan, sliceOf } from '../../test/support/service-objects.ts';
import { SERVICE } from '../maps/constants.ts';
import type { HostPortMapping, ServiceInput } from './plan.ts';

const A = '10.244.0.1:8080';
const A6 = '[fd10:244::1]:8080';
const DUAL = { clusterIP: '10.96.1.1', clusterIPs: ['10.96.1.1', 'fd10:96::1'] };

interface Case {
  readonly name: string;
  readonly spec: JsonObject;
  readonly more?: JsonObject;
  readonly slices?: ServiceInput['endpointSlices'];
  readonly want: Record<string, string>;
}

const web = (ports?: readonly JsonObject[]) => sliceOf('web', ['10.244.0.1 n1'], ports);
const web6 = () => sliceOf('web', ['fd10:244::1 n1']);
const balanced = (...ingress: readonly JsonObject[]) => ({ status: { loadBalancer: { ingress } } });

const cases: readonly Case[] = [
  {
    name: 'a cluster IP is for callers inside',
    spec: { clusterIP: '10.96.1.1' },
    want: { 'in 10.96.1.1:80/TCP': A },
  },
  {
    name: 'clusterIPs alone will do',
    spec: { clusterIPs: ['10.96.1.1'] },
    want: { 'in 10.96.1.1:80/TCP': A },
  },
  {
    name: 'each family has its own endpoints',
    spec: DUAL,
    slices: [web(), web6()],
    want: { 'in 10.96.1.1:80/TCP': A, 'in [fd10:96::1]:80/TCP': A6 },
  },
  {
    name: 'a family without endpoints is refused, the other served',
    spec: DUAL,
    want: { 'in 10.96.1.1:80/TCP': A, 'in [fd10:96::1]:80/TCP': '' },
  },
  {
    name: 'a Service of IPv6 alone',
    spec: { clusterIP: 'fd10:96::1' },
    slices: [web(), web6()],
    want: { 'in [fd10:96::1]:80/TCP': A6 },
  },
  { name: 'a headless Service has no frontend', spec: { clusterIP: 'None' }, want: {} },
  {
    name: 'an ExternalName has no frontend, whatever addresses it names',
    spec: { type: 'ExternalName', externalName: 'example.com', clusterIP: '10.96.1.1' },
    want: {},
  },
  {
    name: 'a Service that another proxy serves is left to it',
    spec: { clusterIP: '10.96.1.1' },
    more: { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } },
    want: {},
  },
  {
    name: 'a Service that is headless by its label has no frontend, though it has an address',
    spec: { clusterIP: '10.96.1.1' },
    more: { labels: { 'service.kubernetes.io/headless': '' } },
    want: {},
  },
  {
    name: 'a node port is for callers inside and outside',
    spec: { type: 'NodePort', clusterIP: '10.96.1.1', ports: [{ port: 80, nodePort: 30_080 }] },
    want: { 'in 10.96.1.1:80/TCP': A, 'in node4:30080/TCP': A, 'out node4:30080/TCP': A },
  },
  {
    name: 'a node port of both families leads each to its own endpoints',
    spec: { type: 'NodePort', ...DUAL, ports: [{ port: 80, nodePort: 30_080 }] },
    slices: [web(), web6()],
    want: {
      'in 10.96.1.1:80/TCP': A,
      'in [fd10:96::1]:80/TCP': A6,
      'in node4:30080/TCP': A,
      'out node4:30080/TCP': A,
      'in node6:30080/TCP': A6,
      'out node6:30080/TCP': A6,
    },
  },
  {
    name: 'a node port left over on a ClusterIP Service is none',
    spec: { clusterIP: '10.96.1.1', ports: [{ port: 80, nodePort: 30_080 }] },
    want: { 'in 10.96.1.1:80/TCP': A },
  },
  {
    name: 'a load balancer that hands packets on leaves its address on them',
    spec: { type: 'LoadBalancer', clusterIP: '10.96.1.1', ports: [{ port: 80, nodePort: 30_080 }] },
    more: balanced({ ip: '203.0.113.7', ipMode: 'VIP' }),
    want: {
      'in 10.96.1.1:80/TCP': A,
      'in node4:30080/TCP': A,
      'out node4:30080/TCP': A,
      'in 203.0.113.7:80/TCP': A,
      'out 203.0.113.7:80/TCP': A,
    },
  },
  {
    name: 'one that is a proxy, or has a name only, does not',
    spec: { type: 'LoadBalancer', clusterIP: '10.96.1.1' },
    more: balanced({ ip: '203.0.113.7', ipMode: 'Proxy' }, { hostname: 'lb.example.com' }),
    want: { 'in 10.96.1.1:80/TCP': A },
  },
  {
    name: 'the address of a balancer means nothing when the Service has none any more',
    spec: { type: 'NodePort', clusterIP: '10.96.1.1' },
    more: balanced({ ip: '203.0.113.7' }),
    want: { 'in 10.96.1.1:80/TCP': A },
  },
  {
    name: 'source ranges that hold everybody restrict nobody',
    spec: { type: 'LoadBalancer', clusterIP: '10.96.1.1', loadBalancerSourceRanges: [' 0.0.0.0/0 '] },
    more: balanced({ ip: '203.0.113.7' }),
    want: { 'in 10.96.1.1:80/TCP': A, 'in 203.0.113.7:80/TCP': A, 'out 203.0.113.7:80/TCP': A },
  },
  {
    name: 'external addresses are for everybody',
    spec: { clusterIP: '10.96.1.1', externalIPs: ['198.51.100.1', '198.51.100.2'] },
    want: {
      'in 10.96.1.1:80/TCP': A,
      'in 198.51.100.1:80/TCP': A,
      'out 198.51.100.1:80/TCP': A,
      'in 198.51.100.2:80/TCP': A,
      'out 198.51.100.2:80/TCP': A,
    },
  },
  {
    name: 'external policy Local holds for external addresses of a ClusterIP Service',
    spec: { clusterIP: '10.96.1.1', externalIPs: ['198.51.100.1'], externalTrafficPolicy: 'Local' },
    slices: [sliceOf('web', ['10.244.0.1 n2'])],
    want: { 'in 10.96.1.1:80/TCP': A, 'in 198.51.100.1:80/TCP': A, 'out 198.51.100.1:80/TCP': '' },
  },
  {
    name: 'many ports lead each to its own by name and protocol',
    spec: {
      clusterIP: '10.96.1.1',
      ports: [
        { name: 'http', port: 80 },
        { name: 'dns', port: 53, protocol: 'UDP' },
        { name: 'dns-tcp', port: 53 },
        { name: 'sip', port: 5060, protocol: 'SCTP' },
        { name: 'nobody', port: 81 },
      ],
    },
    slices: [
      web([
        { name: 'http', port: 8080 },
        { name: 'dns', port: 5353, protocol: 'UDP' },
        { name: 'dns-tcp', port: 5354 },
        { name: 'sip', port: 5061, protocol: 'SCTP' },
        { name: 'nobody', port: 8081, protocol: 'UDP' },
      ]),
    ],
    want: {
      'in 10.96.1.1:80/TCP': A,
      'in 10.96.1.1:53/UDP': '10.244.0.1:5353',
      'in 10.96.1.1:53/TCP': '10.244.0.1:5354',
      'in 10.96.1.1:5060/SCTP': '10.244.0.1:5061',
      'in 10.96.1.1:81/TCP': '',
    },
  },
  {
    name: 'a named target port is what each pod calls so',
    spec: { clusterIP: '10.96.1.1', ports: [{ name: 'http', port: 80, targetPort: 'web' }] },
    slices: [
      sliceOf('web', ['10.244.0.1'], [{ name: 'http', port: 8080 }]),
      sliceOf('web', ['10.244.0.2', '10.244.0.3'], [{ name: 'http', port: 9090 }]),
    ],
    want: { 'in 10.96.1.1:80/TCP': '10.244.0.1:8080 10.244.0.2:9090 10.244.0.3:9090' },
  },
  {
    name: 'slices of another Service, of none and of names lead nowhere',
    spec: { clusterIP: '10.96.1.1' },
    slices: [
      sliceOf('other', ['10.244.0.9']),
      sliceOf('', ['10.244.0.9']),
      { ...web(), object: { ...web().object, addressType: 'FQDN' } },
    ],
    want: { 'in 10.96.1.1:80/TCP': '' },
  },
];

for (const one of cases) {
  test(one.name, () => {
    const plan = compiled({
      services: [serviceOf('web', one.spec, one.more)],
      endpointSlices: one.slices ?? [web()],
    });
    assert.deepEqual(plan.problems, []);
    assert.deepEqual(shownPlan(plan), one.want);
  });
}

const affinities: readonly (readonly [string, JsonObject, number])[] = [
  ['no affinity', {}, 0],
  [
    'affinity None, whatever its timeout',
    { sessionAffinity: 'None', sessionAffinityConfig: { clientIP: { timeoutSeconds: 5 } } },
    0,
  ],
  ['affinity ClientIP lasts three hours', { sessionAffinity: 'ClientIP' }, 10_800],
  [
    'or as long as it says',
    { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 5 } } },
    5,
  ],
];
for (const [name, spec, affinityS] of affinities) {
  test(name, () => {
    const plan = compiled({
      services: [serviceOf('web', { clusterIP: '10.96.1.1', ...spec })],
      endpointSlices: [web()],
    });
    const flags = affinityS > 0 ? SERVICE.AFFINITY : 0;
    assert.deepEqual(
      plan.frontends.map(({ value }) => value),
      [{ id: 1, count: 1, flags, affinityS }],
    );
  });
}

test('the DNS address is answered by the node itself, over both protocols; other ports of that Service lead on', () => {
  const spec = {
    clusterIP: '10.96.0.10',
    ports: [
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'metrics', port: 9153 },
    ],
  };
  const plan = compiled({
    services: [serviceOf('web', spec)],
    endpointSlices: [
      web([
        { name: 'dns', port: 53, protocol: 'UDP' },
        { name: 'metrics', port: 9153 },
      ]),
    ],
    dnsAddresses: ['10.96.0.10', 'fd10:96::a'],
  });
  assert.deepEqual(plan.problems, []);
  const dns = plan.frontends.filter(({ kind }) => kind === 'dns');
  assert.deepEqual(shownPlan({ frontends: dns }), {
    'in 10.96.0.10:53/UDP': '',
    'in 10.96.0.10:53/TCP': '',
    'in [fd10:96::a]:53/UDP': '',
    'in [fd10:96::a]:53/TCP': '',
  });
  assert.deepEqual(new Set(dns.map(({ value }) => value.flags)), new Set([SERVICE.DNS]));
  assert.equal(shownPlan(plan)['in 10.96.0.10:9153/TCP'], '10.244.0.1:9153');
});

const mapping: HostPortMapping = {
  namespace: 'shop',
  pod: 'web-1',
  podIps: ['10.244.0.1', 'fd10:244::1'],
  hostIp: undefined,
  hostPort: 8000,
  containerPort: 80,
  protocol: 'TCP',
};
const hostPorts: readonly (readonly [string, Partial<HostPortMapping>, Record<string, string>])[] = [
  [
    'a hostPort is at every address of the node, in its family',
    {},
    {
      ...{ '192.0.2.1:8000/TCP': '10.244.0.1:80', '[2001:db8::1]:8000/TCP': '[fd10:244::1]:80' },
      ...{ '127.0.0.1:8000/TCP': '10.244.0.1:80', '[::1]:8000/TCP': '[fd10:244::1]:80' },
    },
  ],
  ['loopback is for the node alone', { hostIp: '127.0.0.1' }, { '127.0.0.1:8000/TCP': '10.244.0.1:80' }],
  ['a hostIP is that address alone', { hostIp: '192.0.2.1' }, { '192.0.2.1:8000/TCP': '10.244.0.1:80' }],
  [
    '0.0.0.0 is every IPv4 address',
    { hostIp: '0.0.0.0' },
    { '192.0.2.1:8000/TCP': '10.244.0.1:80', '127.0.0.1:8000/TCP': '10.244.0.1:80' },
  ],
  [
    ':: is every IPv6 address',
    { hostIp: '::' },
    { '[2001:db8::1]:8000/TCP': '[fd10:244::1]:80', '[::1]:8000/TCP': '[fd10:244::1]:80' },
  ],
  [
    'a pod of one family has a hostPort in that one',
    { podIps: ['10.244.0.1'], protocol: 'UDP' },
    { '192.0.2.1:8000/UDP': '10.244.0.1:80', '127.0.0.1:8000/UDP': '10.244.0.1:80' },
  ],
];
for (const [name, more, want] of hostPorts) {
  test(name, () => {
    const plan = compiled({ hostPorts: [{ ...mapping, ...more }] });
    assert.deepEqual(plan.problems, []);
    const both = Object.entries(want).flatMap(([key, value]) => [
      [`in ${key}`, value],
      ...(/^127\.|^\[::1\]/.test(key) ? [] : [[`out ${key}`, value] as const]),
    ]);
    assert.deepEqual(shownPlan(plan), Object.fromEntries(both));
  });
}

test("another node's hostPort is for callers of this node, at that node's addresses; its faults are told there", () => {
  const remote = { ...mapping, nodeAddresses: ['192.0.2.9'] };
  const plan = compiled({
    hostPorts: [remote, { ...remote, pod: 'web-2' }, { ...remote, hostIp: '192.0.2.1' }],
  });
  assert.deepEqual(shownPlan(plan), { 'in 192.0.2.9:8000/TCP': '10.244.0.1:80' });
  assert.deepEqual(plan.problems, []);
});

test("at another node's address a node port of policy Local leads to the endpoints of that node alone", () => {
  const spec = { type: 'NodePort', clusterIP: '10.96.1.1', ports: [{ port: 80, nodePort: 30_080 }] };
  const slices = [
    sliceOf('web', [
      '10.244.0.1 n1',
      '10.244.2.1 n2',
      '10.244.2.2 n2 unready serving stopping',
      '10.244.4.1 n4 unready serving stopping',
    ]),
  ];
  const otherNodes = [
    { name: 'n2', addresses: ['192.0.2.2', '2001:db8::2'] },
    { name: 'n3', addresses: ['192.0.2.3'] },
    { name: 'n4', addresses: ['192.0.2.4'] },
  ];
  const planOf = (externalTrafficPolicy: string) =>
    shownPlan(
      compiled({
        otherNodes,
        endpointSlices: slices,
        services: [serviceOf('web', { ...spec, externalTrafficPolicy })],
      }),
    );
  const everywhere = {
    'in 10.96.1.1:80/TCP': '10.244.0.1:8080 10.244.2.1:8080',
    'in node4:30080/TCP': '10.244.0.1:8080 10.244.2.1:8080',
  };
  assert.deepEqual(planOf('Local'), {
    ...everywhere,
    'out node4:30080/TCP': '10.244.0.1:8080',
    'in 192.0.2.2:30080/TCP': '10.244.2.1:8080',
    'in 192.0.2.3:30080/TCP': '',
    'in 192.0.2.4:30080/TCP': '10.244.4.1:8080',
  });
  assert.deepEqual(planOf('Cluster'), {
    ...everywhere,
    'out node4:30080/TCP': '10.244.0.1:8080 10.244.2.1:8080',
  });
});

test('a load balancer learns by the health check port where endpoints are ready', () => {
  const spec = {
    type: 'LoadBalancer',
    clusterIP: '10.96.1.1',
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: 32_000,
  };
  const check = (endpoints: readonly string[], more: JsonObject = {}) =>
    compiled({
      services: [serviceOf('web', { ...spec, ...more })],
      endpointSlices: [sliceOf('web', endpoints)],
    }).healthChecks;
  const answer = (localEndpoints: number) => [
    { port: 32_000, namespace: 'shop', service: 'web', localEndpoints },
  ];
  assert.deepEqual(check(['10.244.0.1 n1', '10.244.0.2 n1', '10.244.0.3 n2']), answer(2));
  assert.deepEqual(check(['10.244.0.1 n2']), answer(0));
  const dual = { clusterIPs: ['10.96.1.1', 'fd10:96::1'] };
  const slices = ['10.244.0.1 n1', 'fd10:244::1 n1'].map((one) => sliceOf('web', [one]));
  const both = compiled({ services: [serviceOf('web', { ...spec, ...dual })], endpointSlices: slices });
  assert.deepEqual(both.healthChecks, answer(1), 'two addresses of one endpoint');
  assert.deepEqual(check(['10.244.0.1 n1 unready serving stopping']), answer(0));
  assert.deepEqual(check(['10.244.0.1 n1'], { externalTrafficPolicy: 'Cluster' }), []);
  assert.deepEqual(check(['10.244.0.1 n1'], { type: 'NodePort' }), []);
});
