import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt } from '../kube/fields.ts';
import { podSpecOf } from './pod-spec.ts';
import type { AssignedAddresses } from './service-addresses.ts';
import {
  balancedPorts,
  endpointSlices,
  type ServedPod,
  selectedPods,
  serviceWithStatus,
} from './services.ts';

const service = (name: string, spec: JsonValue, namespace = 'shop'): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace },
  spec,
});
const PORTS = [
  { name: 'http', containerPort: 8080 },
  { name: 'admin', containerPort: 9090 },
];

function pod(
  name: string,
  part: Partial<ServedPod> & { labels?: Record<string, string>; ports?: JsonValue } = {},
) {
  const { labels = { app: 'web' }, ports = PORTS, ...rest } = part;
  const object: KubeObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', uid: `uid-${name}`, labels },
    spec: { containers: [{ name: 'app', ports }] },
  };
  const served: ServedPod = {
    ...{ object, node: 0, ips: ['127.244.0.1'], phase: 'Running', ready: true, terminating: false },
    spec: podSpecOf(object),
    ...rest,
  };
  return served;
}
const web = (ports: JsonValue, more: Record<string, JsonValue> = {}) =>
  service('web', { selector: { app: 'web' }, ports, ...more });

test('named and numbered target ports are looked up in each pod', () => {
  const ports = [
    { name: 'http', port: 80, targetPort: 'http', appProtocol: 'http' },
    { name: 'admin', port: 81, targetPort: 9090 },
    { port: 8080 },
  ];
  const [slice, ...others] = endpointSlices(web(ports), [pod('a')]);
  assert.equal(others.length, 0);
  assert.deepEqual(slice?.ports, [
    { name: 'http', port: 8080, protocol: 'TCP', appProtocol: 'http' },
    { name: 'admin', port: 9090, protocol: 'TCP' },
    { name: '', port: 8080, protocol: 'TCP' },
  ]);
  assert.equal(slice?.metadata.labels?.['kubernetes.io/service-name'], 'web');
});

test('pods whose named ports differ stand in slices of their own', () => {
  const other = pod('b', { ports: [{ name: 'http', containerPort: 8081 }], ips: ['127.244.0.2'] });
  const slices = endpointSlices(web([{ name: 'http', port: 80, targetPort: 'http' }]), [pod('a'), other]);
  assert.deepEqual(
    slices.map((slice) => [
      slice.metadata.name,
      at(slice, 'ports', 0, 'port'),
      at(slice, 'endpoints', 0, 'addresses', 0),
    ]),
    [
      ['web-1', 8080, '127.244.0.1'],
      ['web-2', 8081, '127.244.0.2'],
    ],
  );
});

test('a pod that is not ready, and one that ends, are told as Kubernetes tells them', () => {
  const conditions = (served: ServedPod, more: Record<string, JsonValue> = {}) =>
    at(endpointSlices(web([{ port: 80 }], more), [served])[0], 'endpoints', 0, 'conditions');
  assert.deepEqual(conditions(pod('a')), { ready: true, serving: true, terminating: false });
  assert.deepEqual(conditions(pod('a', { ready: false })), {
    ready: false,
    serving: false,
    terminating: false,
  });
  assert.deepEqual(conditions(pod('a', { terminating: true })), {
    ready: false,
    serving: true,
    terminating: true,
  });
  assert.deepEqual(conditions(pod('a', { ready: false }), { publishNotReadyAddresses: true }), {
    ready: true,
    serving: false,
    terminating: false,
  });
});

test('pods without an address, ended ones and those of other namespaces stay out', () => {
  const selected = selectedPods(web([{ port: 80 }]), [
    pod('a'),
    pod('no-ip', { ips: [] }),
    pod('done', { phase: 'Succeeded' }),
    pod('failed', { phase: 'Failed' }),
    pod('other', { labels: { app: 'api' } }),
  ]);
  assert.deepEqual(
    selected.map((one) => one.object.metadata.name),
    ['a'],
  );
  assert.deepEqual(selectedPods(service('web', { selector: { app: 'web' } }, 'elsewhere'), [pod('a')]), []);
  assert.deepEqual(selectedPods(service('web', { ports: [] }), [pod('a')]), []);
});

test('a pod without the named port is an endpoint without ports', () => {
  const [slice] = endpointSlices(web([{ port: 80, targetPort: 'grpc' }]), [pod('a')]);
  assert.deepEqual(slice?.ports, []);
});

test('a slice holds addresses of one family', () => {
  const dual = pod('a', { ips: ['10.244.1.2', 'fd10:244:0:1::2'] });
  const single = pod('b', { ips: ['10.244.1.3'] });
  const slices = endpointSlices(web([{ port: 80 }]), [dual, single], ['IPv6', 'IPv4']);
  const told = slices.map((slice) => [
    at(slice, 'addressType'),
    listAt(slice, 'endpoints').map((endpoint) => at(endpoint, 'addresses')),
  ]);
  assert.deepEqual(told, [
    ['IPv6', [['fd10:244:0:1::2']]],
    ['IPv4', [['10.244.1.2'], ['10.244.1.3']]],
  ]);
});

test('a LoadBalancer gets its ready pods only, by every TCP port', () => {
  const balanced = web(
    [
      { port: 8080, targetPort: 'http' },
      { port: 53, protocol: 'UDP' },
    ],
    { type: 'LoadBalancer' },
  );
  const pods = [
    pod('a'),
    pod('b', { ready: false, ips: ['127.244.0.2'] }),
    pod('c', { terminating: true, ips: ['127.244.0.3'] }),
  ];
  assert.deepEqual(
    [...balancedPorts([balanced, service('plain', { ports: [{ port: 1 }] })], pods)],
    [['shop/web:8080', { port: 8080, backends: [{ host: '127.244.0.1', port: 8080 }] }]],
  );
});

test('a published Service shows where', () => {
  const assigned: AssignedAddresses = {
    ...{ clusterIps: ['10.96.1.1'], families: ['IPv4'], nodePorts: new Map([[0, 30_001]]) },
  };
  const shown = serviceWithStatus(web([{ port: 80 }]), assigned, [{ port: 80, publishedPort: 10_080 }]);
  assert.equal(at(shown.spec, 'clusterIP'), '10.96.1.1');
  assert.equal(at(shown.spec, 'ports', 0, 'nodePort'), 30_001);
  const ingress = at(shown.status, 'loadBalancer', 'ingress', 0);
  assert.equal(at(ingress, 'ports', 0, 'port'), 10_080);
  assert.equal(at(ingress, 'ipMode'), 'Proxy', 'nodes leave it alone');
  const none = { clusterIps: [], families: [], nodePorts: new Map<number, number>() };
  assert.deepEqual(serviceWithStatus(web([]), none, []).status, { loadBalancer: {} });
  assert.deepEqual(serviceWithStatus(web([]), none, []).spec, web([]).spec);
});
