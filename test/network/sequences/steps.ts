import fc from 'fast-check';
import { ANNOTATIONS } from '../../../common/contracts.ts';
import type { JsonObject, JsonValue } from '../../../common/json.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { randomCases } from '../../support/policy/random-policies.ts';

/** One change to a cluster; undefined takes away what there is. */
export type Step =
  | { readonly kind: 'pod'; readonly name: string; readonly pod: LocalPodStep | undefined }
  | { readonly kind: 'labels'; readonly name: string; readonly labels: Labels }
  | { readonly kind: 'restart'; readonly signal: NodeJS.Signals }
  | { readonly kind: 'object'; readonly key: ObjectKey; readonly object: Content | undefined };

export type Labels = Readonly<Record<string, string>>;

export interface LocalPodStep {
  readonly namespace: string;
  readonly labels: Labels;
  readonly meshed: boolean;
  readonly annotations: Readonly<Record<string, string>>;
  readonly ports: readonly JsonObject[];
}

export interface ObjectKey {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
}

/** What stands beside kind and name. */
export interface Content extends JsonObject {
  readonly labels?: Labels;
}

const POD_NAMES = ['p0', 'p1', 'p2', 'p3', 'p4', 'p5'];
const NAMESPACES = ['x', 'y', 'z'];
/** Kept by no pod of the node for long: those of fresh leases, of pods elsewhere, and one that nobody has. */
const ENDPOINTS = ['10.244.1.2', '10.244.1.3', '10.244.1.5', '10.244.7.2', '10.244.9.9', 'fd10:244:0:1::3'];

const labels: fc.Arbitrary<Labels> = fc.record({
  app: fc.constantFrom('a', 'b', 'c'),
  tier: fc.constantFrom('front', 'back'),
});
const namespace = fc.constantFrom(...NAMESPACES);
const maybe = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined, freq: 3 });

const podPorts = fc.constantFrom<readonly JsonObject[]>(
  [],
  [{ name: 'http', protocol: 'TCP', containerPort: 80 }],
  [{ name: 'http', protocol: 'TCP', containerPort: 8080, hostPort: 8090 }],
  [{ name: 'dns', protocol: 'UDP', containerPort: 81, hostPort: 8091 }],
);
const annotations = fc.constantFrom<LocalPodStep['annotations']>(
  {},
  { [ANNOTATIONS.skipInboundPorts]: '9000-9003', [ANNOTATIONS.skipOutboundPorts]: '3306' },
  { [ANNOTATIONS.skipOutboundCidrs]: '203.0.113.0/24, 2001:db8:1::/48' },
);
const pod: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('pod'),
  name: fc.constantFrom(...POD_NAMES),
  pod: maybe(fc.record({ namespace, labels, meshed: fc.boolean(), annotations, ports: podPorts })),
});
const relabelled: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('labels'),
  name: fc.constantFrom(...POD_NAMES),
  labels,
});
const restart: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('restart'),
  signal: fc.constantFrom('SIGTERM' as const, 'SIGKILL' as const),
});

function objects(key: fc.Arbitrary<ObjectKey>, content: fc.Arbitrary<Content>): fc.Arbitrary<Step> {
  return fc.record({ kind: fc.constant('object'), key, object: maybe(content) });
}

const namespaceStep = objects(
  namespace.map((name) => ({ apiVersion: 'v1', kind: 'Namespace', name })),
  fc
    .record({ team: fc.constantFrom('red', 'blue'), env: fc.constantFrom('prod', 'dev') })
    .map((all) => ({ labels: all })),
);

const farPod = objects(
  fc
    .tuple(namespace, fc.constantFrom('far0', 'far1', 'far2'))
    .map(([space, name]) => ({ apiVersion: 'v1', kind: 'Pod', name, namespace: space })),
  fc
    .record({
      labels,
      ports: podPorts,
      nodeName: fc.constantFrom('far-node', 'other-node', 'unknown-node'),
      ip: fc.constantFrom('10.244.7.2', '10.244.7.3', '10.244.8.4'),
      phase: fc.constantFrom('Running', 'Running', 'Succeeded', 'Pending'),
      hostNetwork: fc.constantFrom(false, false, true),
    })
    .map(({ labels: own, ports, nodeName, ip, phase, hostNetwork }) => ({
      labels: own,
      spec: { nodeName, hostNetwork, containers: [{ name: 'app', ports: [...ports] }] },
      status: { phase, podIP: ip, podIPs: [{ ip }] },
    })),
);

const farNode = objects(
  fc.constantFrom('far-node', 'other-node').map((name) => ({ apiVersion: 'v1', kind: 'Node', name })),
  fc
    .record({
      block: fc.constantFrom('10.244.7.0/24', '10.244.8.0/24'),
      addresses: fc.constantFrom(['192.0.2.77'], ['192.0.2.78', '2001:db8::78'], []),
    })
    .map(({ block, addresses }) => ({
      spec: { podCIDR: block, podCIDRs: [block] },
      status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) },
    })),
);

const serviceName = fc.constantFrom('web', 'api');
const service = objects(
  serviceName.map((name) => ({ apiVersion: 'v1', kind: 'Service', name, namespace: 'x' })),
  fc
    .record({
      type: fc.constantFrom('ClusterIP', 'NodePort', 'LoadBalancer'),
      clusterIP: fc.constantFrom('10.96.1.1', '10.96.1.2', 'fd10:96::11', 'None'),
      port: fc.constantFrom(80, 81),
      nodePort: fc.constantFrom(30_080, 30_081),
      policy: fc.constantFrom('Cluster', 'Local'),
      sessionAffinity: fc.constantFrom('None', 'ClientIP'),
      externalIPs: fc.subarray(['198.51.100.1', '198.51.100.2']),
    })
    .map(({ port, nodePort, policy, type, ...rest }) => ({
      spec: {
        ...{ ...rest, type, externalTrafficPolicy: policy, internalTrafficPolicy: policy },
        ports: [{ port, ...(type === 'ClusterIP' ? {} : { nodePort }) }],
      },
    })),
);

const slice = objects(
  fc.tuple(serviceName, fc.constantFrom(1, 2)).map(([name, number]) => ({
    ...{
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      namespace: 'x',
      name: `${name}-${number}`,
    },
  })),
  fc
    .tuple(serviceName, fc.subarray(ENDPOINTS), fc.boolean(), fc.constantFrom('node-1', 'far-node'))
    .map(([name, addresses, ready, nodeName]): Content => {
      const six = addresses[0]?.includes(':') === true;
      const own = addresses.filter((one) => one.includes(':') === six);
      const endpoints = own.map((one): JsonValue => ({ addresses: [one], conditions: { ready }, nodeName }));
      return {
        ...{ labels: { 'kubernetes.io/service-name': name }, addressType: six ? 'IPv6' : 'IPv4' },
        ...{ endpoints, ports: [{ port: 8080 }] },
      };
    }),
);

/** Specs as the truth table has them, under a few names. */
function policies(seed: number): fc.Arbitrary<Step> {
  const specs = randomCases(100, seed).flatMap((one) => one.policies.map(({ spec }) => spec));
  return objects(
    fc.tuple(namespace, fc.constantFrom('one', 'two', 'three')).map(([space, name]) => ({
      ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', namespace: space, name },
    })),
    fc.constantFrom(...specs).map((spec) => ({ spec: spec ?? {} })),
  );
}

/** The same steps for the same seed. */
export function randomSteps(count: number, seed: number): readonly Step[] {
  const step = fc.oneof(
    { weight: 6, arbitrary: pod },
    { weight: 3, arbitrary: relabelled },
    { weight: 3, arbitrary: namespaceStep },
    { weight: 4, arbitrary: farPod },
    { weight: 2, arbitrary: farNode },
    { weight: 3, arbitrary: service },
    { weight: 4, arbitrary: slice },
    { weight: 6, arbitrary: policies(seed) },
    { weight: 1, arbitrary: restart },
  );
  return fc.sample(step, { numRuns: count, seed });
}

/** A cluster for which every map has something to hold. */
export const FULL: readonly Step[] = [
  {
    ...{ kind: 'pod', name: 'p0' },
    pod: {
      ...{ namespace: 'x', labels: { app: 'a' }, meshed: true, ports: [] },
      annotations: {
        [ANNOTATIONS.skipInboundPorts]: '9000',
        [ANNOTATIONS.skipOutboundCidrs]: '203.0.113.0/24',
      },
    },
  },
  {
    ...{ kind: 'object', key: { apiVersion: 'v1', kind: 'Service', name: 'web', namespace: 'x' } },
    object: { spec: { clusterIP: '10.96.1.1', ports: [{ port: 80 }] } },
  },
  {
    kind: 'object',
    key: { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', name: 'web-1', namespace: 'x' },
    object: {
      ...{ labels: { 'kubernetes.io/service-name': 'web' }, addressType: 'IPv4' },
      ...{ endpoints: [{ addresses: ['10.244.1.2'] }], ports: [{ port: 8080 }] },
    },
  },
  {
    kind: 'object',
    key: { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', name: 'one', namespace: 'x' },
    object: { spec: { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: '10.244.0.0/16' } }] }] } },
  },
];

/** As a manifest has it. */
export function objectOf(
  { apiVersion, kind, name, namespace: space }: ObjectKey,
  content: Content,
): KubeObject {
  const { labels: own = {}, ...rest } = content;
  return {
    ...{ apiVersion, kind, ...rest },
    metadata: { name, ...(space === undefined ? {} : { namespace: space }), labels: own },
  };
}
