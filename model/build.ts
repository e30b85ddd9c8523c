import { ANNOTATIONS } from '../common/contracts.ts';
import { clusterName, destinationKey, serviceHost } from '../common/names.ts';
import { type EndpointContext, endpointsOf, podEndpoint, slicesByService } from './endpoints.ts';
import type { Mesh, MeshSettings, Workload } from './mesh.ts';
import { namespacedName, type SourcedObject } from './objects.ts';
import { type AttachedPolicies, readTrafficPolicies } from './policies/attach.ts';
import { type MtlsModes, readMtlsPolicies } from './policies/mtls.ts';
import { clusterPolicy, patchRequest } from './policies/patch.ts';
import { DEFAULT_CLUSTER_POLICY, DEFAULT_REQUEST_POLICY } from './policy-types.ts';
import { createdAtMs, portList, stringMap } from './read/meta.ts';
import { compareText, orderEntries } from './route/order.ts';
import { AttachedRoutes, attachRoute } from './routes/attach.ts';
import { readGrants } from './routes/backends.ts';
import { parseHttpRoute } from './routes/http-route.ts';
import { readServices, type ServiceInfo } from './services.ts';
import type { AppProtocol, Cluster, Destination, InboundConfig, Snapshot } from './snapshot.ts';
import { accepted, Findings } from './status.ts';
import { readWorkloads } from './workloads.ts';

const GATEWAY_GROUP = 'gateway.networking.k8s.io';
const UNSUPPORTED = new Map([
  [
    `${GATEWAY_GROUP}/GRPCRoute`,
    'GRPCRoute is not supported yet: route gRPC with an HTTPRoute that matches its paths',
  ],
  ['heddle.dev/AuthorizationPolicy', 'AuthorizationPolicy is not enforced yet, so it is refused'],
]);

/**
 * The mesh that these objects describe: the same for every order of them. Never throws; whatever is wrong is in the
 * statuses and problems of the result.
 */
export function buildMesh(objects: readonly SourcedObject[], settings: MeshSettings): Mesh {
  const findings = new Findings();
  const byKind = group(objects, findings);
  const of = (kind: string) => byKind.get(kind) ?? [];
  const zones = new Map<string, string>();
  for (const { object } of of('/Node')) {
    const zone = stringMap(object.metadata.labels).get('topology.kubernetes.io/zone');
    if (zone !== undefined) zones.set(object.metadata.name, zone);
  }
  const workloads = readWorkloads(of('/Pod'), zones, findings);
  const services = readServices(of('/Service'));
  const routes = of(`${GATEWAY_GROUP}/HTTPRoute`).map(parseHttpRoute);
  const names = new Map(
    routes.map((route) => [route.key, new Set(route.rules.map((rule) => rule.name ?? ''))] as const),
  );
  const policies = readTrafficPolicies(
    of('heddle.dev/TrafficPolicy'),
    { hasService: (key) => services.has(key), ruleNames: (key) => names.get(key) },
    findings,
  );
  const modes = readMtlsPolicies(of('heddle.dev/MTLSPolicy'), settings.mtlsMode, findings);
  const attached = new AttachedRoutes();
  const grants = readGrants(of(`${GATEWAY_GROUP}/ReferenceGrant`));
  for (const route of routes) attachRoute(route, { services, policies, grants, findings }, attached);
  for (const [kind, message] of UNSUPPORTED) {
    for (const sourced of of(kind)) refuse(sourced, message, findings);
  }
  const context: EndpointContext = {
    workloads,
    trustDomain: settings.trustDomain,
    mode: (workload, port) => modes.mode(workload, port),
  };
  const slices = slicesByService(of('discovery.k8s.io/EndpointSlice'));
  const clusters = new Map<string, Cluster>();
  for (const [key, service] of services)
    addClusters(service, slices.get(key) ?? [], policies, context, clusters);
  const pods = podDestinations(workloads, clusters, context);
  return new BuiltMesh(settings, clusters, workloads, findings, services, policies, attached, pods, modes);
}

/** Objects by `group/kind`, oldest first, then by name. A second object of one name is reported and left out. */
function group(objects: readonly SourcedObject[], findings: Findings): Map<string, SourcedObject[]> {
  const sorted = objects.toSorted(
    (a, b) =>
      createdAtMs(a.object) - createdAtMs(b.object) ||
      compareText(namespacedName(a.object), namespacedName(b.object)) ||
      compareText(a.origin.source, b.origin.source) ||
      a.origin.line - b.origin.line ||
      compareText(JSON.stringify(a.object), JSON.stringify(b.object)),
  );
  const byKind = new Map<string, SourcedObject[]>();
  const seen = new Set<string>();
  for (const sourced of sorted) {
    const { apiVersion, kind } = sourced.object;
    const slash = apiVersion.indexOf('/');
    const id = `${slash < 0 ? '' : apiVersion.slice(0, slash)}/${kind}`;
    const unique = `${id} ${namespacedName(sourced.object)}`;
    if (seen.has(unique)) {
      findings.problem(
        sourced,
        'error',
        [],
        `${kind} ${namespacedName(sourced.object)} is defined twice; this one is left out`,
      );
      continue;
    }
    seen.add(unique);
    const same = byKind.get(id);
    if (same === undefined) byKind.set(id, [sourced]);
    else same.push(sourced);
  }
  return byKind;
}

function refuse(sourced: SourcedObject, message: string, findings: Findings): void {
  const { kind } = sourced.object;
  findings.problem(sourced, 'error', [], message);
  const ref = `${kind} ${namespacedName(sourced.object)}`;
  findings.status(sourced, [{ ref, conditions: [accepted('Unsupported', message)] }]);
}

function addClusters(
  service: ServiceInfo,
  slices: readonly SourcedObject[],
  policies: AttachedPolicies,
  context: EndpointContext,
  clusters: Map<string, Cluster>,
): void {
  const policy = clusterPolicy(policies.service(`${service.namespace}/${service.name}`));
  for (const port of service.ports) {
    const name = clusterName(service.namespace, service.name, port.port);
    const endpoints = endpointsOf(service, port, slices, context);
    const opaque = endpoints.some(({ pod, port: target }) =>
      isOpaque(context.workloads.get(pod ?? ''), target),
    );
    clusters.set(name, {
      name,
      namespace: service.namespace,
      service: service.name,
      port: port.port,
      protocol: opaque ? 'tcp' : port.protocol,
      policy,
      endpoints,
    });
  }
}

function isOpaque(workload: Workload | undefined, port: number): boolean {
  return portList(workload?.annotations[ANNOTATIONS.opaquePorts]).has(port);
}

/**
 * A pod's own address with each of its TCP ports, known from its containers and from the Services that lead there: a
 * destination with one endpoint, so that identity and mTLS hold for headless Services and direct calls, too.
 */
function podDestinations(
  workloads: ReadonlyMap<string, Workload>,
  clusters: Map<string, Cluster>,
  context: EndpointContext,
): readonly Destination[] {
  const protocols = new Map<string, Map<number, AppProtocol>>();
  for (const cluster of clusters.values()) {
    for (const { pod, port } of cluster.endpoints) {
      if (pod === undefined) continue;
      const known = protocols.get(pod);
      if (known === undefined) protocols.set(pod, new Map([[port, cluster.protocol]]));
      else known.set(port, cluster.protocol);
    }
  }
  const found = new Map<string, Destination>();
  for (const [key, workload] of [...workloads].toSorted(([a], [b]) => compareText(a, b))) {
    const known = protocols.get(key);
    for (const port of tcpPorts(workload, known)) {
      const protocol = isOpaque(workload, port) ? 'tcp' : (known?.get(port) ?? 'auto');
      for (const ip of workload.ips) {
        const address = destinationKey(ip, port);
        if (found.has(address)) continue;
        const name = `pod|${port}||${ip}`;
        const { namespace, name: service } = workload;
        const endpoints = [podEndpoint(workload, ip, port, context)];
        clusters.set(name, {
          name,
          namespace,
          service,
          port,
          protocol,
          policy: DEFAULT_CLUSTER_POLICY,
          endpoints,
        });
        found.set(address, {
          key: address,
          namespace,
          service,
          port,
          protocol,
          addresses: [],
          entries: [],
          defaultCluster: name,
          policy: DEFAULT_REQUEST_POLICY,
        });
      }
    }
  }
  return [...found.values()];
}

function tcpPorts(
  workload: Workload,
  known: ReadonlyMap<number, AppProtocol> | undefined,
): readonly number[] {
  const own = workload.containerPorts.filter((one) => one.protocol === 'TCP').map((one) => one.port);
  return [...new Set([...own, ...(known?.keys() ?? [])])].toSorted((a, b) => a - b);
}

class BuiltMesh implements Mesh {
  readonly statuses: Mesh['statuses'];
  readonly problems: Mesh['problems'];
  readonly #views = new Map<string, ReadonlyMap<string, Destination>>();
  readonly #snapshots = new Map<ReadonlyMap<string, Destination>, Snapshot>();
  readonly settings: MeshSettings;
  readonly clusters: ReadonlyMap<string, Cluster>;
  readonly workloads: ReadonlyMap<string, Workload>;
  readonly #services: ReadonlyMap<string, ServiceInfo>;
  readonly #policies: AttachedPolicies;
  readonly #routes: AttachedRoutes;
  readonly #pods: ReadonlyMap<string, readonly Destination[]>;
  readonly #modes: MtlsModes;

  constructor(
    settings: MeshSettings,
    clusters: ReadonlyMap<string, Cluster>,
    workloads: ReadonlyMap<string, Workload>,
    findings: Findings,
    services: ReadonlyMap<string, ServiceInfo>,
    policies: AttachedPolicies,
    routes: AttachedRoutes,
    pods: readonly Destination[],
    modes: MtlsModes,
  ) {
    this.settings = settings;
    this.clusters = clusters;
    this.workloads = workloads;
    this.statuses = findings.statuses;
    this.problems = findings.problems;
    this.#services = services;
    this.#policies = policies;
    this.#routes = routes;
    this.#pods = Map.groupBy(pods, (pod) => `${pod.namespace}/${pod.service}`);
    this.#modes = modes;
  }

  destinationsFor(clientNamespace: string): ReadonlyMap<string, Destination> {
    // Namespaces without routes of their own see the same: they share one view.
    const view = this.#routes.hasConsumer(clientNamespace) ? clientNamespace : '';
    let destinations = this.#views.get(view);
    if (destinations === undefined) {
      destinations = this.#makeView(view);
      this.#views.set(view, destinations);
    }
    return destinations;
  }

  #makeView(clientNamespace: string): ReadonlyMap<string, Destination> {
    const view = new Map([...this.#pods.values()].flat().map((pod) => [pod.key, pod] as const));
    for (const [key, service] of this.#services) {
      const host = serviceHost(service.namespace, service.name);
      const policy = this.#policies.service(key).reduce(patchRequest, DEFAULT_REQUEST_POLICY);
      for (const { port, protocol } of service.ports) {
        const rules = this.#routes.rulesFor(key, port, clientNamespace);
        const defaultCluster = clusterName(service.namespace, service.name, port);
        const destination: Destination = {
          key: destinationKey(host, port),
          namespace: service.namespace,
          service: service.name,
          port,
          protocol: this.clusters.get(defaultCluster)?.protocol ?? protocol,
          addresses: service.clusterIps.map((ip) => destinationKey(ip, port)),
          entries: orderEntries(rules.flatMap((rule) => rule.matches.map((match) => ({ match, rule })))),
          defaultCluster,
          policy,
        };
        view.set(destination.key, destination);
      }
    }
    return view;
  }

  inboundFor(workload: string): InboundConfig | undefined {
    const pod = this.workloads.get(workload);
    if (pod === undefined) return undefined;
    const address = pod.ips[0] ?? '';
    const ports = (this.#pods.get(workload) ?? [])
      .filter((one) => one.key === destinationKey(address, one.port))
      .map(({ port, protocol }) => ({ port, protocol, mode: this.#modes.mode(pod, port) }));
    const unlisted = pod.containerPorts.filter(
      (one) => one.protocol === 'TCP' && !ports.some(({ port }) => port === one.port),
    );
    for (const { port } of unlisted) {
      ports.push({ port, protocol: isOpaque(pod, port) ? 'tcp' : 'auto', mode: this.#modes.mode(pod, port) });
    }
    return { ports, defaultMode: this.#modes.mode(pod), settings: this.settings, draining: pod.terminating };
  }

  snapshotFor(clientNamespace: string): Snapshot {
    const destinations = this.destinationsFor(clientNamespace);
    let snapshot = this.#snapshots.get(destinations);
    if (snapshot === undefined) {
      const byAddress = new Map(destinations);
      for (const destination of destinations.values()) {
        for (const address of destination.addresses) byAddress.set(address, destination);
      }
      snapshot = { destination: (key) => byAddress.get(key), cluster: (name) => this.clusters.get(name) };
      this.#snapshots.set(destinations, snapshot);
    }
    return snapshot;
  }
}
