import { clusterName } from '../common/names.ts';
import { BuiltMesh } from './built-mesh.ts';
import { type EndpointContext, endpointsOf, slicesByService } from './endpoints.ts';
import { type ByKind, groupByKind } from './kinds.ts';
import type { Mesh, MeshSettings } from './mesh.ts';
import type { SourcedObject } from './objects.ts';
import { isOpaque, isUncaptured, podDestinations } from './pods.ts';
import { type AttachedPolicies, readTrafficPolicies } from './policies/attach.ts';
import { readMtlsPolicies } from './policies/mtls.ts';
import { clusterPolicy } from './policies/patch.ts';
import { stringMap } from './read/meta.ts';
import { attachRoute } from './routes/attach.ts';
import { AttachedRoutes } from './routes/attached.ts';
import { readGrants } from './routes/backends.ts';
import { type ParsedRoute, parseHttpRoute } from './routes/http-route.ts';
import { kept } from './same.ts';
import { type ServiceInfo, Services } from './services.ts';
import type { AppProtocol, Cluster } from './snapshot.ts';
import { Findings } from './status.ts';
import { readWorkloads, workloadsByAddress } from './workloads.ts';

/**
 * The mesh that these objects describe: the same for every order of them. Never throws; whatever is wrong is in the
 * statuses and problems of the result. Clusters and destinations that say the same in the mesh `before` are the same
 * objects in this one, so that what is cached for them stays good; apart from that `before` changes nothing.
 */
export function buildMesh(objects: readonly SourcedObject[], settings: MeshSettings, before?: Mesh): Mesh {
  const findings = new Findings();
  const byKind = groupByKind(objects, findings);
  const of = (kind: string) => byKind.get(kind) ?? [];
  const workloads = readWorkloads(of('/Pod'), zonesOf(byKind), findings);
  const services = new Services(of('/Service'), findings);
  const parsed = of('gateway.networking.k8s.io/HTTPRoute').map(parseHttpRoute);
  const names = ruleNames(parsed);
  const policies = readTrafficPolicies(
    of('heddle.dev/TrafficPolicy'),
    { services, ruleNames: (key) => names.get(key) },
    findings,
  );
  const modes = readMtlsPolicies(of('heddle.dev/MTLSPolicy'), settings.mtlsMode, findings);
  const context: EndpointContext = {
    workloads,
    byAddress: workloadsByAddress(workloads),
    trustDomain: settings.trustDomain,
    mode: (workload, port) => (isUncaptured(workload, port) ? 'DISABLE' : modes.mode(workload, port)),
  };
  const slices = slicesByService(of('discovery.k8s.io/EndpointSlice'), findings);
  const clusters = new Map<string, Cluster>();
  for (const [key, service] of services.entries()) {
    addClusters(service, slices.get(key) ?? [], policies, context, clusters);
  }
  const pods = podDestinations(workloads, clusters, context);
  keepClusters(clusters, before);

  const routes = new AttachedRoutes();
  const grants = readGrants(of('gateway.networking.k8s.io/ReferenceGrant'), findings);
  const protocolOf = (key: string, port: number) => protocolIn(clusters, services.get(key), port);
  for (const route of parsed) {
    attachRoute(route, { services, policies, grants, findings, protocolOf }, routes);
  }
  return new BuiltMesh(
    { settings, clusters, workloads, findings, services, policies, routes, pods, modes, endpoints: context },
    before instanceof BuiltMesh ? before : undefined,
  );
}

/** Zones by node name. */
function zonesOf(byKind: ByKind): ReadonlyMap<string, string> {
  const zones = new Map<string, string>();
  for (const { object } of byKind.get('/Node') ?? []) {
    const zone = stringMap(object.metadata.labels).get('topology.kubernetes.io/zone');
    if (zone !== undefined) zones.set(object.metadata.name, zone);
  }
  return zones;
}

function ruleNames(routes: readonly ParsedRoute[]): ReadonlyMap<string, ReadonlySet<string>> {
  return new Map(
    routes.map((route) => [
      route.key,
      new Set((route.lastGood ?? route).rules.flatMap(({ name }) => (name === undefined ? [] : [name]))),
    ]),
  );
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

function keepClusters(clusters: Map<string, Cluster>, before: Mesh | undefined): void {
  if (before === undefined) return;
  for (const [name, cluster] of clusters) clusters.set(name, kept(before.clusters.get(name), cluster));
}

function protocolIn(
  clusters: ReadonlyMap<string, Cluster>,
  service: ServiceInfo | undefined,
  port: number,
): AppProtocol | undefined {
  if (service === undefined) return undefined;
  return clusters.get(clusterName(service.namespace, service.name, port))?.protocol;
}
