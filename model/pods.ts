import { ANNOTATIONS, UNCAPTURED_PORTS } from '../common/contracts.ts';
import { destinationKey } from '../common/names.ts';
import { type EndpointContext, podEndpoint } from './endpoints.ts';
import type { Workload } from './mesh.ts';
import { DEFAULT_CLUSTER_POLICY, DEFAULT_REQUEST_POLICY } from './policy-types.ts';
import { portList } from './read/meta.ts';
import { compareText } from './route/order.ts';
import type { AppProtocol, Cluster, Destination } from './snapshot.ts';

/** Whether a pod wants the bytes of a port left alone (`heddle.dev/opaque-ports`). */
export function isOpaque(workload: Workload | undefined, port: number): boolean {
  return portList(workload?.annotations[ANNOTATIONS.opaquePorts]).has(port);
}

/** Whether what comes in at a port goes to the app, or the sidecar's own answers there, without mTLS in the way. */
export function isUncaptured(workload: Workload, port: number): boolean {
  return (
    UNCAPTURED_PORTS.includes(port) || portList(workload.annotations[ANNOTATIONS.skipInboundPorts]).has(port)
  );
}

/**
 * A pod's own address with each of its TCP ports, known from its containers and from the Services that lead there: a
 * destination with one endpoint, so that identity and mTLS hold for headless Services and direct calls, too. Their
 * clusters are added to `clusters`.
 */
export function podDestinations(
  workloads: ReadonlyMap<string, Workload>,
  clusters: Map<string, Cluster>,
  context: EndpointContext,
): readonly Destination[] {
  const protocols = protocolsOfPods(clusters);
  const found = new Map<string, Destination>();
  for (const [key, workload] of [...workloads].toSorted(([a], [b]) => compareText(a, b))) {
    const known = protocols.get(key);
    for (const port of tcpPorts(workload, known)) {
      const protocol = isOpaque(workload, port) ? 'tcp' : (known?.get(port) ?? 'auto');
      for (const ip of workload.ips) {
        const address = destinationKey(ip, port);
        if (found.has(address)) continue;
        const { cluster, destination } = podPort(workload, ip, port, protocol, context);
        clusters.set(cluster.name, cluster);
        found.set(address, destination);
      }
    }
  }
  return [...found.values()];
}

/** By pod, the ports that Services lead to, with what they say is spoken there. */
function protocolsOfPods(
  clusters: ReadonlyMap<string, Cluster>,
): ReadonlyMap<string, ReadonlyMap<number, AppProtocol>> {
  const protocols = new Map<string, Map<number, AppProtocol>>();
  for (const cluster of clusters.values()) {
    for (const { pod, port } of cluster.endpoints) {
      if (pod === undefined) continue;
      const known = protocols.get(pod);
      if (known === undefined) protocols.set(pod, new Map([[port, cluster.protocol]]));
      else known.set(port, cluster.protocol);
    }
  }
  return protocols;
}

function tcpPorts(
  workload: Workload,
  known: ReadonlyMap<number, AppProtocol> | undefined,
): readonly number[] {
  const own = workload.containerPorts.filter((one) => one.protocol === 'TCP').map((one) => one.port);
  return [...new Set([...own, ...(known?.keys() ?? [])])].toSorted((a, b) => a - b);
}

/** One port of a pod, and what else it was made of. */
interface PodPort {
  readonly protocol: AppProtocol;
  readonly mode: ReturnType<EndpointContext['mode']>;
  readonly trustDomain: string;
  readonly cluster: Cluster;
  readonly destination: Destination;
}

/** Workloads never change, and most are the same in one mesh after the other. */
const ports = new WeakMap<Workload, Map<string, PodPort>>();

function podPort(
  workload: Workload,
  ip: string,
  port: number,
  protocol: AppProtocol,
  context: EndpointContext,
): PodPort {
  let own = ports.get(workload);
  if (own === undefined) {
    own = new Map();
    ports.set(workload, own);
  }
  const address = destinationKey(ip, port);
  const { trustDomain } = context;
  const mode = context.mode(workload, port);
  const known = own.get(address);
  if (known?.protocol === protocol && known.mode === mode && known.trustDomain === trustDomain) return known;
  const cluster = podCluster(workload, ip, port, protocol, context);
  const made = { protocol, mode, trustDomain, cluster, destination: podDestination(address, cluster) };
  own.set(address, made);
  return made;
}

function podCluster(
  workload: Workload,
  ip: string,
  port: number,
  protocol: AppProtocol,
  context: EndpointContext,
): Cluster {
  return {
    name: `pod|${port}||${ip}`,
    namespace: workload.namespace,
    service: workload.name,
    port,
    protocol,
    policy: DEFAULT_CLUSTER_POLICY,
    endpoints: [podEndpoint(workload, ip, port, context)],
  };
}

function podDestination(address: string, cluster: Cluster): Destination {
  const { name, namespace, service, port, protocol } = cluster;
  return {
    key: address,
    namespace,
    service,
    port,
    protocol,
    addresses: [],
    entries: [],
    defaultCluster: name,
    policy: DEFAULT_REQUEST_POLICY,
  };
}
