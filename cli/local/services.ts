import { createHash } from 'node:crypto';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt, numberAt, textAt, textsAt } from '../kube/fields.ts';
import { matchesLabels } from '../kube/selector.ts';
import type { BalancedPort } from './load-balancer.ts';
import type { PodSpec } from './pod-spec.ts';
import { portOf } from './probes.ts';

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

/** Cluster IPs of 10.96.0.0/16: the one the Service asks for, else one that its name leads to, else the next free. */
export class ClusterIps {
  readonly #byService = new Map<string, string>();

  assign(services: readonly KubeObject[]): void {
    const names = new Set(services.map(nameOf));
    for (const name of this.#byService.keys()) if (!names.has(name)) this.#byService.delete(name);
    for (const service of services) {
      const wanted = textAt(service.spec, 'clusterIP');
      if (wanted !== undefined && wanted !== '') this.#byService.set(nameOf(service), wanted);
    }
    for (const service of services) {
      const name = nameOf(service);
      if (textAt(service.spec, 'type') === 'ExternalName') this.#byService.delete(name);
      else if (!this.#byService.has(name)) this.#byService.set(name, this.#free(name));
    }
  }

  /** `None` for a headless Service, undefined for an ExternalName. */
  of(service: KubeObject): string | undefined {
    return this.#byService.get(nameOf(service));
  }

  #free(name: string): string {
    const taken = new Set(this.#byService.values());
    const start = createHash('sha256').update(name).digest().readUInt16BE(0);
    for (let step = 0; step < 65_000; step++) {
      const number = (start + step) & 0xffff;
      const ip = `10.96.${number >> 8}.${number & 0xff}`;
      // 10.96.0.1 to .10 are the API server's and the DNS server's by custom.
      if (number > 10 && number < 0xffff && !taken.has(ip)) return ip;
    }
    return 'None';
  }
}

function nameOf(service: KubeObject): string {
  return `${service.metadata.namespace ?? 'default'}/${service.metadata.name}`;
}

/** A Service with what the cluster fills in. */
export function serviceWithStatus(
  service: KubeObject,
  clusterIp: string | undefined,
  published: readonly { readonly port: number; readonly publishedPort: number }[],
): KubeObject {
  const spec = typeof service.spec === 'object' && service.spec !== null ? service.spec : {};
  const ingress: JsonObject[] =
    published.length === 0
      ? []
      : [
          {
            ip: '127.0.0.1',
            ports: published.map((entry) => ({ port: entry.publishedPort, protocol: 'TCP' })),
          },
        ];
  return {
    ...service,
    spec: { ...spec, ...(clusterIp === undefined ? {} : { clusterIP: clusterIp, clusterIPs: [clusterIp] }) },
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

/**
 * The EndpointSlices of a Service with a selector: one for each set of port numbers that its pods resolve to, conditions
 * as Kubernetes sets them (`ready` false once terminating, `serving` as long as the pod is ready itself).
 */
export function endpointSlices(service: KubeObject, pods: readonly ServedPod[]): readonly KubeObject[] {
  const groups = new Map<string, { ports: JsonObject[]; endpoints: JsonObject[] }>();
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
    const key = JSON.stringify(ports);
    const group = groups.get(key) ?? { ports, endpoints: [] };
    groups.set(key, group);
    group.endpoints.push({
      addresses: [...pod.ips],
      nodeName: nodeName(pod.node),
      conditions: {
        ready: publishNotReady || (pod.ready && !pod.terminating),
        serving: pod.ready,
        terminating: pod.terminating,
      },
      targetRef: {
        ...{ kind: 'Pod', name: pod.object.metadata.name, uid: pod.object.metadata.uid ?? '' },
        namespace: pod.object.metadata.namespace ?? 'default',
      },
    });
  }
  return [...groups.values()].map((group, index) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service.metadata.name}-${index + 1}`,
      namespace: service.metadata.namespace ?? 'default',
      labels: { 'kubernetes.io/service-name': service.metadata.name },
    },
    addressType: 'IPv4',
    ports: group.ports,
    endpoints: group.endpoints,
  }));
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
