import { isIPv6 } from 'node:net';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt, numberAt, textAt, textsAt } from '../kube/fields.ts';
import { matchesLabels } from '../kube/selector.ts';
import type { BalancedPort } from './load-balancer.ts';
import type { PodSpec } from './pod-spec.ts';
import { portOf } from './probes.ts';
import type { AssignedAddresses, IpFamily } from './service-addresses.ts';

/** What Services read of a pod. */
export interface ServedPod {
  readonly object: KubeObject;
  readonly node: number;
  readonly ips: readonly string[];
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed';
  readonly ready: boolean;
  readonly terminating: boolean;
  readonly spec: Pick<PodSpec, 'init' | 'containers'>;
}

function nameOf(service: KubeObject): string {
  return `${service.metadata.namespace ?? 'default'}/${service.metadata.name}`;
}

/** A Service with what the cluster fills in. */
export function serviceWithStatus(
  service: KubeObject,
  assigned: AssignedAddresses,
  published: readonly { readonly port: number; readonly publishedPort: number }[],
): KubeObject {
  const spec = typeof service.spec === 'object' && service.spec !== null ? service.spec : {};
  const { clusterIps, families, nodePorts } = assigned;
  const first = clusterIps[0];
  const withNodePort = (port: JsonValue, index: number): JsonValue => {
    const nodePort = nodePorts.get(index);
    return nodePort === undefined || !isJsonObject(port) ? port : { ...port, nodePort };
  };
  const ingress: JsonObject[] =
    published.length === 0
      ? []
      : [
          {
            // Only programs of this machine reach it: nodes must not answer for it (KEP-1860).
            ...{ ip: '127.0.0.1', ipMode: 'Proxy' },
            ports: published.map((entry) => ({ port: entry.publishedPort, protocol: 'TCP' })),
          },
        ];
  return {
    ...service,
    spec: {
      ...spec,
      ...(first === undefined
        ? {}
        : { clusterIP: first, clusterIPs: [...clusterIps], ipFamilies: [...families] }),
      ...(nodePorts.size === 0 ? {} : { ports: listAt(spec, 'ports').map(withNodePort) }),
    },
    status: { loadBalancer: ingress.length === 0 ? {} : { ingress } },
  };
}

/** Pods behind a Service. One without a selector has none: its EndpointSlices come from the manifests. */
export function selectedPods<Served extends ServedPod>(
  service: KubeObject,
  pods: readonly Served[],
): readonly Served[] {
  const selector = textsAt(service.spec, 'selector');
  if (Object.keys(selector).length === 0) return [];
  const namespace = service.metadata.namespace ?? 'default';
  return pods.filter(
    (pod) =>
      (pod.object.metadata.namespace ?? 'default') === namespace &&
      pod.ips.length > 0 &&
      pod.phase !== 'Succeeded' &&
      pod.phase !== 'Failed' &&
      matchesLabels(selector, pod.object.metadata.labels ?? {}),
  );
}

/** The number behind a Service port's `targetPort` on a pod, or undefined where the pod has no such port. */
function targetPortOf(port: JsonValue, pod: ServedPod): number | undefined {
  const target = at(port, 'targetPort');
  const ports = [...pod.spec.init, ...pod.spec.containers].flatMap((container) => container.ports);
  return target === undefined ? numberAt(port, 'port') : portOf(target, ports);
}

interface Group {
  readonly family: IpFamily;
  readonly ports: JsonObject[];
  readonly endpoints: JsonObject[];
}

/**
 * The EndpointSlices of a Service with a selector: one for each family of addresses and each set of port numbers that its
 * pods resolve to, conditions as Kubernetes sets them (`ready` false once terminating, `serving` as long as the pod is
 * ready itself).
 */
export function endpointSlices(
  service: KubeObject,
  pods: readonly ServedPod[],
  families: readonly IpFamily[] = ['IPv4'],
): readonly KubeObject[] {
  const groups = new Map<string, Group>();
  const publishNotReady = at(service.spec, 'publishNotReadyAddresses') === true;
  for (const pod of selectedPods(service, pods)) {
    const ports = listAt(service.spec, 'ports').flatMap((port): JsonObject[] => {
      const number = targetPortOf(port, pod);
      if (number === undefined) return [];
      const appProtocol = textAt(port, 'appProtocol');
      return [
        {
          ...{ name: textAt(port, 'name') ?? '', port: number, protocol: textAt(port, 'protocol') ?? 'TCP' },
          ...(appProtocol === undefined ? {} : { appProtocol }),
        },
      ];
    });
    for (const family of families) {
      const address = pod.ips.find((ip) => isIPv6(ip) === (family === 'IPv6'));
      if (address === undefined) continue;
      const key = JSON.stringify([family, ports]);
      const group = groups.get(key) ?? { family, ports, endpoints: [] };
      groups.set(key, group);
      group.endpoints.push(endpointOf(pod, address, publishNotReady));
    }
  }
  return [...groups.values()].map((group, index) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service.metadata.name}-${index + 1}`,
      namespace: service.metadata.namespace ?? 'default',
      labels: { 'kubernetes.io/service-name': service.metadata.name },
    },
    addressType: group.family,
    ports: group.ports,
    endpoints: group.endpoints,
  }));
}

function endpointOf(pod: ServedPod, address: string, publishNotReady: boolean): JsonObject {
  const { name, uid = '', namespace = 'default' } = pod.object.metadata;
  const hostname = textAt(pod.object.spec, 'hostname');
  return {
    addresses: [address],
    nodeName: nodeName(pod.node),
    // A name of its own below a headless Service (Kubernetes, "DNS for Services and Pods").
    ...(hostname === undefined ? {} : { hostname }),
    conditions: {
      ready: publishNotReady || (pod.ready && !pod.terminating),
      serving: pod.ready,
      terminating: pod.terminating,
    },
    targetRef: { ...{ kind: 'Pod', name, uid }, namespace },
  };
}

/** The ports of LoadBalancer Services by `namespace/name:port`, with the ready pods behind each. */
export function balancedPorts(
  services: readonly KubeObject[],
  pods: readonly ServedPod[],
): ReadonlyMap<string, BalancedPort> {
  const wanted = new Map<string, BalancedPort>();
  for (const service of services) {
    if (textAt(service.spec, 'type') !== 'LoadBalancer') continue;
    const ready = selectedPods(service, pods).filter((pod) => pod.ready && !pod.terminating);
    for (const port of listAt(service.spec, 'ports')) {
      const number = numberAt(port, 'port');
      if (number === undefined || (textAt(port, 'protocol') ?? 'TCP') !== 'TCP') continue;
      const backends = ready.flatMap((pod) => {
        const [host, target] = [pod.ips[0], targetPortOf(port, pod)];
        return host === undefined || target === undefined ? [] : [{ host, port: target }];
      });
      wanted.set(`${nameOf(service)}:${number}`, { port: number, backends });
    }
  }
  return wanted;
}

export function nodeName(node: number): string {
  return `node-${node + 1}`;
}
