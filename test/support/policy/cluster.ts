import type { JsonObject } from '../../../common/json.ts';
import type { KubeObject } from '../../../model/objects.ts';

/** A pod of the truth table. Its addresses are given by whoever runs it. */
export interface CasePod {
  readonly namespace: string;
  readonly name: string;
  readonly node: 1 | 2;
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly { readonly name: string; readonly protocol: string; readonly port: number }[];
  /** Whether the ports are those of a sidecar among the init containers. */
  readonly sidecar?: true;
}

/** Who has which address. */
export interface CaseCluster {
  /** `namespace/name` → IPv4 and IPv6. */
  readonly addresses: ReadonlyMap<string, readonly [string, string]>;
  /** Of programs that are no pods. */
  readonly world: readonly string[];
}

const CASE_NAMESPACES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  x: { team: 'red', env: 'prod' },
  y: { team: 'blue', env: 'prod' },
  z: { team: 'red' },
};

const HTTP = (port: number) => ({ name: 'http', protocol: 'TCP', port });

export const CASE_PODS: readonly CasePod[] = [
  { namespace: 'x', name: 'a', node: 1, labels: { app: 'a', tier: 'front' }, ports: [HTTP(80)] },
  {
    namespace: 'x',
    name: 'b',
    node: 2,
    labels: { app: 'b', tier: 'back', env: 'prod' },
    ports: [HTTP(8080)],
  },
  {
    ...{ namespace: 'x', name: 'c', node: 1, labels: { app: 'c', env: 'dev' } },
    ports: [HTTP(81), { name: 'dns', protocol: 'UDP', port: 80 }],
  },
  { namespace: 'y', name: 'a', node: 2, labels: { app: 'a', tier: 'back' }, ports: [HTTP(8080)] },
  {
    namespace: 'y',
    name: 'b',
    node: 1,
    labels: { app: 'b' },
    ports: [{ name: 'dns', protocol: 'UDP', port: 81 }],
  },
  { namespace: 'y', name: 'c', node: 2, labels: { app: 'c', tier: 'front', env: 'dev' }, ports: [HTTP(80)] },
  { namespace: 'z', name: 'a', node: 1, labels: { app: 'a', env: 'prod' }, ports: [HTTP(81)] },
  {
    ...{ namespace: 'z', name: 'b', node: 2, labels: { app: 'b', tier: 'front' } },
    ports: [{ name: 'sig', protocol: 'SCTP', port: 8080 }, HTTP(80)],
  },
  { namespace: 'z', name: 'c', node: 1, labels: { app: 'c' }, sidecar: true, ports: [HTTP(8080)] },
  { namespace: 'z', name: 'd', node: 2, labels: {}, ports: [] },
];

/** Addresses for a comparison without packets. */
export const PAPER_CLUSTER: CaseCluster = {
  addresses: new Map(
    CASE_PODS.map(({ namespace, name, node }, at) => [
      `${namespace}/${name}`,
      [`10.244.${node}.${at + 2}`, `fd10:244:0:${node}::${(at + 2).toString(16)}`],
    ]),
  ),
  world: ['203.0.113.7', '198.51.100.9', '2001:db8:1::7'],
};

export function namespaceObjects(): readonly KubeObject[] {
  return Object.entries(CASE_NAMESPACES).map(([name, labels]) => ({
    ...{ apiVersion: 'v1', kind: 'Namespace' },
    metadata: { name, labels: { ...labels, 'kubernetes.io/metadata.name': name } },
  }));
}

export function podObjects(cluster: CaseCluster): readonly KubeObject[] {
  return CASE_PODS.map((pod) => {
    const ports = pod.ports.map(({ name, protocol, port }) => ({ name, protocol, containerPort: port }));
    const container: JsonObject = { name: 'app', image: 'app', ports: pod.sidecar ? [] : ports };
    const sidecar: JsonObject = { name: 'helper', image: 'helper', restartPolicy: 'Always', ports };
    const ips = cluster.addresses.get(`${pod.namespace}/${pod.name}`) ?? [];
    return {
      ...{ apiVersion: 'v1', kind: 'Pod' },
      metadata: { name: pod.name, namespace: pod.namespace, labels: pod.labels },
      spec: {
        nodeName: `n${pod.node}`,
        containers: [container],
        ...(pod.sidecar ? { initContainers: [sidecar] } : {}),
      },
      status: { phase: 'Running', podIP: ips[0] ?? '', podIPs: ips.map((ip) => ({ ip })) },
    };
  });
}
