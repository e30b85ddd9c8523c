import { messageOf } from '../../common/errors.ts';
import { Cluster as ClusterCodec } from '../../common/gen/envoy/config/cluster/v3/cluster.ts';
import { ClusterLoadAssignment } from '../../common/gen/envoy/config/endpoint/v3/endpoint.ts';
import { Listener } from '../../common/gen/envoy/config/listener/v3/listener.ts';
import { RouteConfiguration } from '../../common/gen/envoy/config/route/v3/route.ts';
import { Secret } from '../../common/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import type {
  DeltaDiscoveryResponse,
  Resource,
} from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { isResourceType, RESOURCE, type ResourceType, shortType, TYPE } from '../../common/wire/types.ts';
import type { Destination, Endpoint, InboundConfig } from '../../model/snapshot.ts';
import { type ClusterWithoutEndpoints, decodeCluster, decodeEndpoints } from '../config/clusters.ts';
import { decodeInbound, decodeListener, decodeTrustBundle } from '../config/listeners.ts';
import { decodeRoutes } from '../config/routes.ts';

/** A listener as asked for on demand. */
export interface KnownListener {
  readonly routeName: string;
  readonly aliases: readonly string[];
}

interface Held<T> {
  readonly version: string;
  readonly value: T;
}

/** A store of one type: good resources by name, and the names that the control plane said don't exist. */
export class ResourceTable<T> {
  readonly #held = new Map<string, Held<T>>();
  readonly #absent = new Set<string>();

  get(name: string): T | undefined {
    return this.#held.get(name)?.value;
  }

  entries(): IterableIterator<[string, Held<T>]> {
    return this.#held.entries();
  }

  isAbsent(name: string): boolean {
    return this.#absent.has(name);
  }

  put(name: string, version: string, value: T): void {
    this.#absent.delete(name);
    this.#held.set(name, { version, value });
  }

  remove(name: string): void {
    this.#held.delete(name);
    this.#absent.add(name);
  }

  /** No longer subscribed: nothing is known of it any more. */
  forget(name: string): void {
    this.#held.delete(name);
    this.#absent.delete(name);
  }

  versions(): Record<string, string> {
    return Object.fromEntries([...this.#held].map(([name, { version }]) => [name, version]));
  }
}

/** Everything received and good. A resource that can't be used leaves the one before it in place. */
export class Resources {
  readonly listeners = new ResourceTable<KnownListener | InboundConfig>();
  readonly routes = new ResourceTable<Destination>();
  readonly clusters = new ResourceTable<ClusterWithoutEndpoints>();
  readonly endpoints = new ResourceTable<readonly Endpoint[]>();
  readonly secrets = new ResourceTable<string>();

  /** Takes a response in. Returns what to refuse it with, naming each bad resource; undefined where all is good. */
  take(response: DeltaDiscoveryResponse): string | undefined {
    const { typeUrl } = response;
    if (!isResourceType(typeUrl)) return `type ${typeUrl} was not asked for`;
    const refusals: string[] = [];
    for (const resource of response.resources) {
      try {
        this.#put(typeUrl, resource);
      } catch (thrown) {
        refusals.push(`${shortType(typeUrl)} "${resource.name}": ${messageOf(thrown)}`);
      }
    }
    for (const name of response.removedResources) this.table(typeUrl).remove(name);
    return refusals.length === 0 ? undefined : refusals.join('; ');
  }

  table(type: ResourceType): Pick<ResourceTable<unknown>, 'remove' | 'forget' | 'versions' | 'isAbsent'> {
    switch (type) {
      case TYPE.listener:
        return this.listeners;
      case TYPE.route:
        return this.routes;
      case TYPE.cluster:
        return this.clusters;
      case TYPE.endpoints:
        return this.endpoints;
      case TYPE.secret:
        return this.secrets;
      default:
        return type satisfies never;
    }
  }

  inbound(): InboundConfig | undefined {
    const held = this.listeners.get(RESOURCE.inbound);
    return held !== undefined && 'ports' in held ? held : undefined;
  }

  listener(name: string): KnownListener | undefined {
    const held = this.listeners.get(name);
    return held !== undefined && 'routeName' in held ? held : undefined;
  }

  #put(type: ResourceType, { name, version, aliases, resource }: Resource): void {
    if (resource === undefined) throw new Error('has no body');
    if (resource.typeUrl !== type) throw new Error(`is of type ${resource.typeUrl}`);
    const body = resource.value;
    switch (type) {
      case TYPE.listener: {
        const listener = Listener.decode(body);
        const value =
          name === RESOURCE.inbound
            ? decodeInbound(listener)
            : { routeName: decodeListener(listener), aliases };
        this.listeners.put(name, version, Object.freeze(value));
        return;
      }
      case TYPE.route:
        this.routes.put(name, version, Object.freeze(decodeRoutes(RouteConfiguration.decode(body))));
        return;
      case TYPE.cluster:
        this.clusters.put(name, version, decodeCluster(ClusterCodec.decode(body)));
        return;
      case TYPE.endpoints:
        this.endpoints.put(name, version, Object.freeze(decodeEndpoints(ClusterLoadAssignment.decode(body))));
        return;
      case TYPE.secret:
        this.secrets.put(name, version, decodeTrustBundle(Secret.decode(body)));
        return;
      default: {
        const unknown: never = type;
        throw new Error(`type ${unknown} is not known`);
      }
    }
  }
}
