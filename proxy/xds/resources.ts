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
import { sameName } from '../config/reader.ts';
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

  /** Gone; `asked` where it was asked for by this name, so that this is an answer. */
  remove(name: string, asked: boolean): void {
    this.#held.delete(name);
    if (asked) this.#absent.add(name);
  }

  /** No longer subscribed: nothing is known of it any more. Returns whether something was held. */
  forget(name: string): boolean {
    this.#absent.delete(name);
    return this.#held.delete(name);
  }
}

/** Of the reasons for refusing one response. */
export const refusalLengthMax = 4096;

/** Everything received, asked for and good. A resource that can't be used leaves the one before it in place. */
export class Resources {
  readonly #isAsked: (type: ResourceType, name: string) => boolean;
  readonly listeners = new ResourceTable<KnownListener | InboundConfig>();
  readonly routes = new ResourceTable<Destination>();
  readonly clusters = new ResourceTable<ClusterWithoutEndpoints>();
  readonly endpoints = new ResourceTable<readonly Endpoint[]>();
  readonly secrets = new ResourceTable<string>();

  constructor(isAsked: (type: ResourceType, name: string) => boolean) {
    this.#isAsked = isAsked;
  }

  /** Takes a response in. Returns what to refuse it with, naming each bad resource; undefined where all is good. */
  take(response: DeltaDiscoveryResponse): string | undefined {
    const { typeUrl } = response;
    if (!isResourceType(typeUrl)) return `type ${typeUrl} was not asked for`;
    const refusals: Refusal[] = [];
    for (const resource of response.resources) {
      // What crossed the word that it is no longer wanted would stay for ever, since nobody would say it is stale.
      if (![resource.name, ...resource.aliases].some((name) => this.#isAsked(typeUrl, name))) continue;
      try {
        this.#put(typeUrl, resource);
      } catch (thrown) {
        refusals.push({ name: resource.name, reason: messageOf(thrown) });
      }
    }
    for (const name of response.removedResources) {
      // A sidecar can't do without these: while its pod goes away it serves on with the last ones.
      if (name === RESOURCE.inbound || name === RESOURCE.trustBundle) continue;
      this.table(typeUrl).remove(name, this.#isAsked(typeUrl, name));
    }
    return refusals.length === 0 ? undefined : refusalOf(shortType(typeUrl), refusals);
  }

  table(type: ResourceType): Pick<ResourceTable<unknown>, 'entries' | 'remove' | 'forget' | 'isAbsent'> {
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
        sameName(listener.name, name, 'name');
        const value =
          name === RESOURCE.inbound
            ? decodeInbound(listener)
            : { routeName: decodeListener(listener), aliases };
        this.listeners.put(name, version, Object.freeze(value));
        return;
      }
      case TYPE.route: {
        const routes = RouteConfiguration.decode(body);
        sameName(routes.name, name, 'name');
        this.routes.put(name, version, Object.freeze(decodeRoutes(routes)));
        return;
      }
      case TYPE.cluster: {
        const cluster = ClusterCodec.decode(body);
        sameName(cluster.name, name, 'name');
        this.clusters.put(name, version, decodeCluster(cluster));
        return;
      }
      case TYPE.endpoints: {
        const assignment = ClusterLoadAssignment.decode(body);
        sameName(assignment.clusterName, name, 'cluster_name');
        this.endpoints.put(name, version, Object.freeze(decodeEndpoints(assignment)));
        return;
      }
      case TYPE.secret: {
        const secret = Secret.decode(body);
        sameName(secret.name, name, 'name');
        this.secrets.put(name, version, decodeTrustBundle(secret));
        return;
      }
      default: {
        const unknown: never = type;
        throw new Error(`type ${unknown} is not known`);
      }
    }
  }
}

interface Refusal {
  readonly name: string;
  readonly reason: string;
}

/**
 * The control plane holds those resources for refused that are named in quotes, or all of the response where none is: so
 * either each has its place, or the first stands for all without quotes.
 */
function refusalOf(type: string, refusals: readonly Refusal[]): string {
  const whole = refusals.map(({ name, reason }) => `${type} "${name}": ${reason}`).join('; ');
  const [first] = refusals;
  if (whole.length <= refusalLengthMax || first === undefined) return whole;
  const told = `${refusals.length} resources can't be used, the first is ${type} ${first.name}: ${first.reason}`;
  return told.replaceAll('"', "'").slice(0, refusalLengthMax);
}
