import { createHash } from 'node:crypto';
import { HeddleError } from '../../common/errors.ts';
import type {
  DiscoveryRequest,
  DiscoveryResponse,
} from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { DiscoveryResponse as ResponseCodec } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { isResourceType, type ResourceType, TYPE, TYPES_IN_ORDER } from '../../common/wire/types.ts';
import type { EncodedResource } from '../translate/encoding.ts';
import type { ClientView } from '../translate/translator.ts';
import type { XdsLimits } from './limits.ts';
import type { DeliveryTracker } from './tracker.ts';

interface Watch {
  names: ReadonlySet<string>;
  /** Everything is asked for by naming nothing, as long as nothing was ever named. */
  unnamed: boolean;
  nonce: string;
  /** Hash of everything sent last; undefined where an answer is due whatever it holds. */
  version: string | undefined;
  resources: ReadonlyMap<string, EncodedResource>;
}

const WILDCARD = '*';
const WILDCARD_TYPES: readonly ResourceType[] = [TYPE.listener, TYPE.cluster];

/** After which type's update a client asks for, or waits on, another (Envoy warms clusters and listeners). */
const FOLLOWED_BY: Partial<Record<ResourceType, ResourceType>> = {
  [TYPE.cluster]: TYPE.endpoints,
  [TYPE.listener]: TYPE.route,
};

/** One state-of-the-world stream's state, without any I/O. As stock Envoy speaks it by default. */
export class StateOfTheWorldSession {
  readonly #tracker: DeliveryTracker;
  readonly #limits: XdsLimits;
  readonly #watches = new Map<ResourceType, Watch>();

  constructor(tracker: DeliveryTracker, limits: XdsLimits) {
    this.#tracker = tracker;
    this.#limits = limits;
  }

  /**
   * Takes a request in. True where it asks for something, false where it only answers. Throws `HeddleError` where it
   * breaks a limit; then the stream ends.
   */
  request(request: DiscoveryRequest): boolean {
    const { typeUrl, responseNonce: nonce } = request;
    if (!isResourceType(typeUrl)) return false;
    const watch = this.#watches.get(typeUrl);
    if (nonce !== '') {
      if (request.errorDetail !== undefined) this.#tracker.nacked(nonce, request.errorDetail.message);
      else this.#tracker.acked(nonce);
    }
    // An answer to a response before the last one says nothing about what is wanted now.
    if (watch !== undefined && nonce !== '' && nonce !== watch.nonce) return false;
    const names = new Set(request.resourceNames);
    this.#check(typeUrl, names);
    if (watch === undefined) {
      const unnamed = WILDCARD_TYPES.includes(typeUrl) && names.size === 0;
      this.#watches.set(typeUrl, { names, unnamed, nonce: '', version: undefined, resources: new Map() });
      return true;
    }
    if (names.size === watch.names.size && [...names].every((name) => watch.names.has(name))) return false;
    watch.names = names;
    watch.unnamed &&= names.size === 0;
    watch.version = undefined;
    return true;
  }

  /** A response of this protocol holds everything of its type: whatever changes may be part of one. */
  isTouched(): boolean {
    return true;
  }

  /** The responses due now, clusters before what refers to them. What left the mesh leaves the client last. */
  collect(view: ClientView): DiscoveryResponse[] {
    const responses: DiscoveryResponse[] = [];
    const leaving: ResourceType[] = [];
    for (const type of TYPES_IN_ORDER) {
      const watch = this.#watches.get(type);
      if (watch === undefined) continue;
      const wanted = this.#wanted(type, watch, view);
      const version = versionOf(wanted.values());
      if (version === watch.version) continue;
      const kept = new Map(wanted);
      if (type === TYPE.cluster && watch.version !== undefined) {
        for (const [name, resource] of watch.resources) if (!kept.has(name)) kept.set(name, resource);
        if (kept.size > wanted.size) leaving.push(type);
      }
      responses.push(this.#response(type, watch, kept));
      const follower = this.#watches.get(FOLLOWED_BY[type] ?? type);
      if (follower !== undefined && follower !== watch) follower.version = undefined;
    }
    for (const type of leaving) {
      const watch = this.#watches.get(type);
      if (watch !== undefined) responses.push(this.#response(type, watch, this.#wanted(type, watch, view)));
    }
    return responses;
  }

  #check(type: ResourceType, names: ReadonlySet<string>): void {
    let total = names.size;
    for (const [other, watch] of this.#watches) if (other !== type) total += watch.names.size;
    if (total > this.#limits.subscriptionsMax) {
      throw new HeddleError(
        'limit',
        `more than ${this.#limits.subscriptionsMax} subscriptions on one stream`,
      );
    }
    for (const name of names) {
      if (Buffer.byteLength(name) > this.#limits.nameBytesMax) {
        throw new HeddleError('limit', `a resource name is longer than ${this.#limits.nameBytesMax} bytes`);
      }
    }
  }

  #wanted(type: ResourceType, watch: Watch, view: ClientView): Map<string, EncodedResource> {
    const wanted = new Map<string, EncodedResource>();
    const everything = watch.unnamed || watch.names.has(WILDCARD);
    if (everything) for (const resource of view.all(type)) wanted.set(resource.name, resource);
    for (const name of watch.names) {
      const resource = view.get(type, name);
      if (resource !== undefined) wanted.set(resource.name, resource);
    }
    return wanted;
  }

  #response(
    type: ResourceType,
    watch: Watch,
    resources: ReadonlyMap<string, EncodedResource>,
  ): DiscoveryResponse {
    const version = versionOf(resources.values());
    for (const name of watch.resources.keys()) if (!resources.has(name)) this.#tracker.forget(type, name);
    const versions = new Map([...resources.values()].map((resource) => [resource.name, resource.version]));
    watch.version = version;
    watch.resources = resources;
    const bytes = resources.values().reduce((sum, { body }) => sum + body.value.length, 0);
    watch.nonce = this.#tracker.sent(type, versions, bytes);
    return ResponseCodec.fromPartial({
      typeUrl: type,
      versionInfo: version,
      nonce: watch.nonce,
      resources: [...resources.values()].map(({ body }) => body),
    });
  }
}

function versionOf(resources: Iterable<EncodedResource>): string {
  const hash = createHash('sha256');
  for (const { name, version } of resources) hash.update(`${name}\0${version}\n`);
  return hash.digest('base64url').slice(0, 16);
}
