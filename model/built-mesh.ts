import { clusterName, destinationKey, serviceHost } from '../common/names.ts';
import type { EndpointContext } from './endpoints.ts';
import type { Mesh, MeshSettings, Workload } from './mesh.ts';
import { isOpaque } from './pods.ts';
import type { AttachedPolicies } from './policies/attach.ts';
import type { MtlsModes } from './policies/mtls.ts';
import { patchRequest } from './policies/patch.ts';
import { DEFAULT_REQUEST_POLICY } from './policy-types.ts';
import { orderEntries } from './route/order.ts';
import type { AttachedRoutes } from './routes/attached.ts';
import { kept } from './same.ts';
import type { ServiceInfo, Services } from './services.ts';
import type { Cluster, Destination, InboundConfig, RouteEntry, Snapshot } from './snapshot.ts';
import type { Findings } from './status.ts';

/** What `buildMesh` made of the objects. */
export interface MeshParts {
  readonly settings: MeshSettings;
  readonly clusters: ReadonlyMap<string, Cluster>;
  readonly workloads: ReadonlyMap<string, Workload>;
  readonly findings: Findings;
  readonly services: Services;
  readonly policies: AttachedPolicies;
  readonly routes: AttachedRoutes;
  readonly pods: readonly Destination[];
  readonly modes: MtlsModes;
  readonly endpoints: EndpointContext;
}

type View = ReadonlyMap<string, Destination>;

/** For clients without routes of their own. */
const COMMON_VIEW = '';

/** A mesh whose views, one for each namespace that has routes of its own, are made when they are first asked for. */
export class BuiltMesh implements Mesh {
  readonly statuses: Mesh['statuses'];
  readonly problems: Mesh['problems'];
  readonly settings: MeshSettings;
  readonly clusters: ReadonlyMap<string, Cluster>;
  readonly workloads: ReadonlyMap<string, Workload>;
  readonly #parts: MeshParts;
  readonly #pods: ReadonlyMap<string, readonly Destination[]>;
  readonly #views = new Map<string, View>();
  readonly #snapshots = new Map<View, Snapshot>();
  /** Views of the mesh before this one: destinations that say the same stay the same objects. */
  readonly #before: ReadonlyMap<string, View>;

  constructor(parts: MeshParts, before: BuiltMesh | undefined) {
    this.#parts = parts;
    this.settings = parts.settings;
    this.clusters = parts.clusters;
    this.workloads = parts.workloads;
    this.statuses = parts.findings.statuses;
    this.problems = parts.findings.problems;
    this.#before = before === undefined ? new Map() : new Map(before.#views);
    this.#pods = Map.groupBy(parts.pods, (pod) => `${pod.namespace}/${pod.service}`);
  }

  destinationsFor(clientNamespace: string): View {
    const name = this.#parts.routes.hasConsumer(clientNamespace) ? clientNamespace : COMMON_VIEW;
    let view = this.#views.get(name);
    if (view === undefined) {
      view = this.#makeView(name);
      this.#views.set(name, view);
    }
    return view;
  }

  #makeView(name: string): View {
    const view = new Map<string, Destination>();
    const [before, common] = [this.#before.get(name), this.#views.get(COMMON_VIEW)];
    const add = (now: Destination) => {
      const shared = common === undefined ? now : kept(common.get(now.key), now);
      view.set(now.key, shared === now ? kept(before?.get(now.key), now) : shared);
    };
    for (const pod of this.#parts.pods) add(pod);
    for (const [key, service] of this.#parts.services.entries()) {
      const policy = this.#parts.policies.service(key).reduce(patchRequest, DEFAULT_REQUEST_POLICY);
      for (const { port } of service.ports) add(this.#destination(key, service, port, name, policy));
    }
    return view;
  }

  #destination(
    key: string,
    service: ServiceInfo,
    port: number,
    clientNamespace: string,
    policy: Destination['policy'],
  ): Destination {
    const { namespace, name, clusterIps } = service;
    const rules = this.#parts.routes.rulesFor(key, port, clientNamespace);
    const entries = rules.flatMap((rule) => rule.matches.map((match): RouteEntry => ({ match, rule })));
    const defaultCluster = clusterName(namespace, name, port);
    return {
      key: destinationKey(serviceHost(namespace, name), port),
      namespace,
      service: name,
      port,
      protocol: this.clusters.get(defaultCluster)?.protocol ?? 'auto',
      addresses: clusterIps.map((ip) => destinationKey(ip, port)),
      entries: orderEntries(entries),
      defaultCluster,
      policy,
    };
  }

  inboundFor(workload: string): InboundConfig | undefined {
    const pod = this.workloads.get(workload);
    if (pod === undefined) return undefined;
    const { modes, endpoints } = this.#parts;
    const address = pod.ips[0] ?? '';
    const ports = (this.#pods.get(workload) ?? [])
      .filter((one) => one.key === destinationKey(address, one.port))
      .map(({ port, protocol }) => ({ port, protocol, mode: endpoints.mode(pod, port) }));
    const unlisted = pod.containerPorts.filter(
      (one) => one.protocol === 'TCP' && !ports.some(({ port }) => port === one.port),
    );
    for (const { port } of unlisted) {
      ports.push({ port, protocol: isOpaque(pod, port) ? 'tcp' : 'auto', mode: endpoints.mode(pod, port) });
    }
    return { ports, defaultMode: modes.mode(pod), settings: this.settings, draining: pod.terminating };
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
