import { HeddleError } from '../../common/errors.ts';
import type {
  DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
} from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { DeltaDiscoveryResponse as ResponseCodec } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import {
  isResourceType,
  RESOURCE,
  type ResourceType,
  TYPE,
  TYPES_IN_ORDER,
} from '../../common/wire/types.ts';
import type { Changes } from '../translate/changes.ts';
import type { EncodedResource } from '../translate/encoding.ts';
import type { ClientView } from '../translate/translator.ts';
import type { XdsLimits } from './limits.ts';
import type { DeliveryTracker } from './tracker.ts';

/** What a stream watches of one type, and what the client holds as far as was sent. */
interface Watch {
  readonly names: Set<string>;
  wildcard: boolean;
  started: boolean;
  /** Versions the client holds, by resource name. */
  readonly held: Map<string, string>;
  /** Subscribed names that the client was told don't exist. */
  readonly absent: Set<string>;
  /** What a subscribed alias turned out to be. */
  readonly canonical: Map<string, string>;
  /** Names asked for on a stream that runs already: to be answered whatever the client seems to hold. */
  readonly again: Set<string>;
}

interface Difference {
  readonly changed: EncodedResource[];
  readonly removed: Set<string>;
}

const WILDCARD = '*';
const NOTHING: ReadonlySet<string> = new Set();
const WILDCARD_TYPES: readonly ResourceType[] = [TYPE.listener, TYPE.cluster];

/**
 * One delta stream's state, without any I/O: requests go in, `collect` compares what the client holds with its view and
 * gives the responses that make up the difference. However many changes came in between, a slow client gets one.
 */
export class DeltaSession {
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
  request(request: DeltaDiscoveryRequest): boolean {
    const { typeUrl, resourceNamesSubscribe, resourceNamesUnsubscribe } = request;
    // A type that this server doesn't have stays without answer, as for any type without resources.
    if (!isResourceType(typeUrl)) return false;
    if (request.responseNonce !== '') {
      if (request.errorDetail !== undefined) {
        this.#tracker.nacked(request.responseNonce, request.errorDetail.message);
      } else {
        this.#tracker.acked(request.responseNonce);
      }
    }
    const watch = this.#watch(typeUrl);
    const first = !watch.started;
    if (first) this.#start(typeUrl, watch, request);
    this.#subscribe(watch, resourceNamesSubscribe, first);
    this.#unsubscribe(typeUrl, watch, resourceNamesUnsubscribe);
    return first || resourceNamesSubscribe.length > 0 || resourceNamesUnsubscribe.length > 0;
  }

  /**
   * Whether anything may be due that wasn't before these changes. Where it says no, `collect` would have nothing to give,
   * at many times the cost.
   */
  isTouched(changes: Changes, namespace: string, view: ClientView): boolean {
    for (const [type, watch] of this.#watches) {
      if (watch.wildcard || changes.touches(namespace, type, watch.names)) return true;
      if (type !== TYPE.listener || !watch.names.has(RESOURCE.inbound)) continue;
      const own = view.get(TYPE.listener, RESOURCE.inbound);
      if (own?.version !== watch.held.get(RESOURCE.inbound)) return true;
    }
    return false;
  }

  /** The responses due now: additions in order, then removals in the reverse order. */
  collect(view: ClientView): DeltaDiscoveryResponse[] {
    const differences: (readonly [ResourceType, Difference])[] = [];
    // A client that takes a changed cluster in waits for its endpoints once more (Envoy warms it with them).
    let warming = NOTHING;
    for (const type of TYPES_IN_ORDER) {
      const difference = this.#difference(type, view, type === TYPE.endpoints ? warming : NOTHING);
      differences.push([type, difference]);
      if (type === TYPE.cluster) warming = new Set(difference.changed.map(({ name }) => name));
    }
    const responses: DeltaDiscoveryResponse[] = [];
    for (const [type, difference] of differences) {
      for (const batch of this.#batches(difference.changed)) responses.push(this.#response(type, batch, []));
    }
    for (const [type, difference] of differences.toReversed()) {
      if (difference.removed.size > 0) responses.push(this.#response(type, [], [...difference.removed]));
    }
    return responses;
  }

  #start(type: ResourceType, watch: Watch, request: DeltaDiscoveryRequest): void {
    watch.started = true;
    // A first request that names nothing asks for everything (xDS protocol, "How the client specifies what resources").
    watch.wildcard = WILDCARD_TYPES.includes(type) && request.resourceNamesSubscribe.length === 0;
    const versions = Object.entries(request.initialResourceVersions);
    if (versions.length > this.#limits.subscriptionsMax) throw tooMany(this.#limits);
    for (const [name, version] of versions) {
      watch.held.set(name, version);
      this.#tracker.held(type, name, version);
    }
  }

  #subscribe(watch: Watch, names: readonly string[], first: boolean): void {
    for (const name of names) {
      if (name === WILDCARD) watch.wildcard = true;
      else if (Buffer.byteLength(name) > this.#limits.nameBytesMax) {
        throw new HeddleError('limit', `a resource name is longer than ${this.#limits.nameBytesMax} bytes`);
      } else {
        watch.names.add(name);
        // Whoever asks for what it has may have forgotten it; also for what doesn't exist, the answer is given again.
        if (!first) watch.again.add(name);
        watch.absent.delete(name);
      }
    }
    let total = 0;
    for (const { names: watched } of this.#watches.values()) total += watched.size;
    if (total > this.#limits.subscriptionsMax) throw tooMany(this.#limits);
  }

  #unsubscribe(type: ResourceType, watch: Watch, names: readonly string[]): void {
    const left: string[] = [];
    for (const name of names) {
      if (name === WILDCARD) watch.wildcard = false;
      if (!watch.names.delete(name)) continue;
      left.push(watch.canonical.get(name) ?? name);
      watch.absent.delete(name);
      watch.canonical.delete(name);
      watch.again.delete(name);
    }
    if (left.length === 0) return;
    const wanted = new Set([...watch.names, ...watch.canonical.values()]);
    for (const name of left) {
      if (wanted.has(name)) continue;
      // Under a wildcard the client has dropped what it is still to have: no version counts as held, so it is told again.
      if (watch.wildcard && watch.held.has(name)) watch.held.set(name, '');
      else {
        watch.held.delete(name);
        this.#tracker.forget(type, name);
      }
    }
  }

  #difference(type: ResourceType, view: ClientView, warming: ReadonlySet<string>): Difference {
    const watch = this.#watches.get(type);
    const changed = new Map<string, EncodedResource>();
    const removed = new Set<string>();
    if (watch === undefined) return { changed: [], removed };
    const wanted = new Set<string>();
    const offer = (resource: EncodedResource, anyway: boolean) => {
      wanted.add(resource.name);
      if (anyway || watch.held.get(resource.name) !== resource.version) changed.set(resource.name, resource);
    };
    if (watch.wildcard) for (const resource of view.all(type)) offer(resource, false);
    for (const name of watch.names) {
      const resource = view.get(type, name);
      if (resource !== undefined) {
        watch.absent.delete(name);
        if (resource.name !== name) watch.canonical.set(name, resource.name);
        offer(resource, watch.again.has(name) || warming.has(name));
      } else if (!watch.absent.has(name)) {
        watch.absent.add(name);
        removed.add(name);
      }
    }
    watch.again.clear();
    for (const name of watch.held.keys()) if (!wanted.has(name)) removed.add(name);
    for (const name of removed) {
      watch.held.delete(name);
      watch.canonical.delete(name);
      this.#tracker.forget(type, name);
    }
    for (const resource of changed.values()) watch.held.set(resource.name, resource.version);
    return { changed: [...changed.values()], removed };
  }

  #batches(resources: readonly EncodedResource[]): EncodedResource[][] {
    const batches: EncodedResource[][] = [];
    let bytes = Number.POSITIVE_INFINITY;
    for (const resource of resources) {
      const size = resource.body.value.length;
      if (bytes + size > this.#limits.responseBytesMax) {
        batches.push([]);
        bytes = 0;
      }
      batches.at(-1)?.push(resource);
      bytes += size;
    }
    return batches;
  }

  #response(
    type: ResourceType,
    batch: readonly EncodedResource[],
    removed: string[],
  ): DeltaDiscoveryResponse {
    const versions = new Map(batch.map(({ name, version }) => [name, version]));
    const bytes = batch.reduce((sum, { body }) => sum + body.value.length, 0);
    return ResponseCodec.fromPartial({
      typeUrl: type,
      nonce: this.#tracker.sent(type, versions, bytes),
      resources: batch.map(({ name, aliases, version, body }) => ({
        name,
        aliases: [...aliases],
        version,
        resource: body,
      })),
      removedResources: removed,
    });
  }

  #watch(type: ResourceType): Watch {
    let watch = this.#watches.get(type);
    if (watch === undefined) {
      watch = {
        names: new Set(),
        wildcard: false,
        started: false,
        held: new Map(),
        absent: new Set(),
        canonical: new Map(),
        again: new Set(),
      };
      this.#watches.set(type, watch);
    }
    return watch;
  }
}

function tooMany(limits: XdsLimits): HeddleError {
  return new HeddleError('limit', `more than ${limits.subscriptionsMax} subscriptions on one stream`);
}
