import { PORTS } from '../../common/contracts.ts';
import { RESOURCE, type ResourceType, TYPE } from '../../common/wire/types.ts';
import type { Mesh } from '../../model/mesh.ts';
import { kept } from '../../model/same.ts';
import type { Cluster, Destination, InboundConfig } from '../../model/snapshot.ts';
import { clusterResource } from './cluster.ts';
import { destinationListener, destinationRoutes } from './destination.ts';
import type { EncodedResource } from './encoding.ts';
import { endpointsResource } from './endpoints.ts';
import { type BindAddress, inboundListener, outboundListener } from './listener.ts';
import type { HashKeyOf } from './route.ts';
import { trustBundleSecret } from './secret.ts';
import { wildcardRoutes } from './wildcard.ts';

/** Whom resources are for: an authenticated pod, and what its bootstrap asked for. */
export interface Client {
  readonly namespace: string;
  readonly pod: string;
  /** Where a stock Envoy's outbound listener binds; the pod's own address and 15001 unless its metadata says. */
  readonly bind: Partial<BindAddress>;
}

/** A mesh as one client may see it, in xDS. Encoded on first use and kept for as long as the mesh is in force. */
export interface ClientView {
  /** A resource by name, or a listener by one of its aliases; undefined where the client knows nothing of that name. */
  get(type: ResourceType, name: string): EncodedResource | undefined;
  /** What a client gets that asks for everything of a type. Endpoints and routes are only given by name. */
  all(type: ResourceType): readonly EncodedResource[];
}

export interface Translation {
  readonly mesh: Mesh;
  readonly trustBundlePem: string;
  view(client: Client): ClientView;
}

/** Encoded parts that outlive a mesh, for as long as the model's objects do: unchanged parts aren't encoded twice. */
export interface TranslationCache {
  readonly clusters: WeakMap<Cluster, EncodedResource>;
  readonly endpoints: WeakMap<Cluster, EncodedResource>;
  readonly listeners: WeakMap<Destination, EncodedResource>;
  readonly routes: WeakMap<Destination, { readonly hashes: string; readonly resource: EncodedResource }>;
  /** What was made of pods' own listeners for the mesh before. */
  inbound: ReadonlyMap<string, Inbound>;
}

/** A pod's own listener, and what it was made of. */
interface Inbound {
  readonly podIp: string;
  readonly config: InboundConfig;
  readonly resource: EncodedResource;
}

export function translationCache(): TranslationCache {
  return {
    clusters: new WeakMap(),
    endpoints: new WeakMap(),
    listeners: new WeakMap(),
    routes: new WeakMap(),
    inbound: new Map(),
  };
}

function remember<K extends object, V>(cache: WeakMap<K, V>, key: K, make: () => V): V {
  const known = cache.get(key);
  if (known !== undefined) return known;
  const made = make();
  cache.set(key, made);
  return made;
}

/** A mesh and a trust bundle (PEM) as xDS resources. Lazy: only what clients ask for is made. */
export function translate(mesh: Mesh, trustBundlePem: string, cache: TranslationCache): Translation {
  const hashKeyOf: HashKeyOf = (name) => mesh.clusters.get(name)?.policy.loadBalancer.hash;
  const secret = trustBundleSecret(trustBundlePem);
  const outboundRoutes = new Map<string, EncodedResource>();
  const routesMade = new Map<Destination, EncodedResource>();
  const inboundBefore = cache.inbound;
  const inboundMade = new Map<string, Inbound>();
  cache.inbound = inboundMade;
  const aliases = new Map<string, ReadonlyMap<string, Destination>>();
  let allClusters: readonly EncodedResource[] | undefined;

  const cluster = (found: Cluster) => remember(cache.clusters, found, () => clusterResource(found));
  const endpoints = (found: Cluster) => remember(cache.endpoints, found, () => endpointsResource(found));
  const routes = (destination: Destination) => {
    const made = routesMade.get(destination) ?? routesOf(destination, hashKeyOf, cache);
    routesMade.set(destination, made);
    return made;
  };
  const wildcard = (namespace: string) => {
    let made = outboundRoutes.get(namespace);
    if (made === undefined) {
      made = wildcardRoutes(mesh.destinationsFor(namespace).values(), namespace, hashKeyOf);
      outboundRoutes.set(namespace, made);
    }
    return made;
  };
  const byAlias = (namespace: string) => {
    let made = aliases.get(namespace);
    if (made === undefined) {
      made = aliasIndex(mesh.destinationsFor(namespace).values());
      aliases.set(namespace, made);
    }
    return made;
  };

  const listenerFor = (client: Client, name: string): EncodedResource | undefined => {
    if (name === RESOURCE.outbound) return outboundListener(bindOf(mesh, client));
    if (name === RESOURCE.inbound) {
      const workload = `${client.namespace}/${client.pod}`;
      const made = inboundMade.get(workload) ?? inboundOf(mesh, workload, inboundBefore.get(workload));
      if (made !== undefined) inboundMade.set(workload, made);
      return made?.resource;
    }
    const { namespace } = client;
    const destination = mesh.destinationsFor(namespace).get(name) ?? byAlias(namespace).get(name);
    return destination === undefined
      ? undefined
      : remember(cache.listeners, destination, () => destinationListener(destination));
  };
  const routesFor = (client: Client, name: string): EncodedResource | undefined => {
    if (name === RESOURCE.outbound) return wildcard(client.namespace);
    const destination = mesh.destinationsFor(client.namespace).get(name);
    return destination === undefined ? undefined : routes(destination);
  };

  const get = (client: Client, type: ResourceType, name: string): EncodedResource | undefined => {
    const found = mesh.clusters.get(name);
    switch (type) {
      case TYPE.secret:
        return name === RESOURCE.trustBundle ? secret : undefined;
      case TYPE.cluster:
        return found === undefined ? undefined : cluster(found);
      case TYPE.endpoints:
        return found === undefined ? undefined : endpoints(found);
      case TYPE.listener:
        return listenerFor(client, name);
      case TYPE.route:
        return routesFor(client, name);
      default:
        return type satisfies never;
    }
  };
  const all = (client: Client, type: ResourceType): readonly EncodedResource[] => {
    if (type === TYPE.cluster) {
      allClusters ??= [...mesh.clusters.values()].map(cluster);
      return allClusters;
    }
    return type === TYPE.listener ? [outboundListener(bindOf(mesh, client))] : [];
  };
  return {
    ...{ mesh, trustBundlePem },
    view: (client) => ({
      get: (type, name) => get(client, type, name),
      all: (type) => all(client, type),
    }),
  };
}

function aliasIndex(destinations: Iterable<Destination>): ReadonlyMap<string, Destination> {
  const index = new Map<string, Destination>();
  for (const destination of destinations) {
    for (const address of destination.addresses) index.set(address, destination);
  }
  return index;
}

function bindOf(mesh: Mesh, client: Client): BindAddress {
  const podIp = mesh.workloads.get(`${client.namespace}/${client.pod}`)?.ips[0];
  return {
    address: client.bind.address ?? podIp ?? '127.0.0.1',
    port: client.bind.port ?? PORTS.proxyOutbound,
  };
}

function inboundOf(mesh: Mesh, workload: string, before: Inbound | undefined): Inbound | undefined {
  const config = mesh.inboundFor(workload);
  const podIp = mesh.workloads.get(workload)?.ips[0];
  if (config === undefined || podIp === undefined) return undefined;
  if (before?.podIp === podIp && kept(before.config, config) === before.config) return before;
  return { podIp, config, resource: inboundListener(podIp, config) };
}

/** Envoy's routes carry the hash keys of their backends' balancers: those may change under a destination that doesn't. */
function routesOf(destination: Destination, hashKeyOf: HashKeyOf, cache: TranslationCache): EncodedResource {
  const hashes = JSON.stringify(
    destination.entries.map(({ rule }) => rule.backends.map((backend) => hashKeyOf(backend.cluster))),
  );
  const known = cache.routes.get(destination);
  if (known !== undefined && known.hashes === hashes) return known.resource;
  const resource = destinationRoutes(destination, hashKeyOf);
  cache.routes.set(destination, { hashes, resource });
  return resource;
}
