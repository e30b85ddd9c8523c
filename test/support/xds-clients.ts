import {
  DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  DiscoveryRequest,
  type DiscoveryResponse,
} from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { type ResourceType, shortType } from '../../common/wire/types.ts';
import { type ClientView, translate, translationCache } from '../../control-plane/translate/translator.ts';
import { DeltaSession } from '../../control-plane/xds/delta.ts';
import { DEFAULT_XDS_LIMITS, type XdsLimits } from '../../control-plane/xds/limits.ts';
import { StateOfTheWorldSession } from '../../control-plane/xds/state-of-the-world.ts';
import { DeliveryTracker } from '../../control-plane/xds/tracker.ts';
import { meshOf, SHOP } from './small-mesh.ts';
import { VirtualClock } from './virtual-clock.ts';

export type DeltaRequest = Parameters<typeof DeltaDiscoveryRequest.fromPartial>[0];
type StateRequest = Parameters<typeof DiscoveryRequest.fromPartial>[0];

const CLIENT = { namespace: 'shop', pod: 'web', bind: {} };
const NODE = { nodeId: 'n', identity: 'spiffe://cluster.local/ns/shop/sa/web', client: CLIENT };

/** Pod `shop/web` as a client of the control plane, as far as the protocol goes: no stream, no wire. */
class Client {
  readonly clock = new VirtualClock();
  readonly tracker: DeliveryTracker;
  readonly #cache = translationCache();
  /** The mesh that the control plane has at this moment. */
  objects: readonly object[] = SHOP;

  constructor(protocol: 'delta' | 'state-of-the-world') {
    this.tracker = new DeliveryTracker(NODE, protocol, this.clock);
  }

  view(): ClientView {
    return translate(meshOf(this.objects), 'PEM', this.#cache).view(CLIENT);
  }
}

export class DeltaClient extends Client {
  readonly session: DeltaSession;

  constructor(limits: Partial<XdsLimits> = {}) {
    super('delta');
    this.session = new DeltaSession(this.tracker, { ...DEFAULT_XDS_LIMITS, ...limits });
  }

  ask(type: ResourceType, request: DeltaRequest = {}): boolean {
    return this.session.request(DeltaDiscoveryRequest.fromPartial({ typeUrl: type, ...request }));
  }

  subscribe(type: ResourceType, ...names: string[]): void {
    this.ask(type, { resourceNamesSubscribe: names });
  }

  unsubscribe(type: ResourceType, ...names: string[]): void {
    this.ask(type, { resourceNamesUnsubscribe: names });
  }

  collect(): DeltaDiscoveryResponse[] {
    return this.session.collect(this.view());
  }

  /** What is due, in short: `Cluster +a`, `Cluster -b`; acknowledged at once. */
  turn(): string[] {
    return this.collect().map((response) => {
      this.ask(response.typeUrl as ResourceType, { responseNonce: response.nonce });
      const added = response.resources.map(({ name }) => `+${name}`);
      const removed = response.removedResources.map((name) => `-${name}`);
      return [shortType(response.typeUrl), ...added, ...removed].join(' ');
    });
  }

  /** What is due, as the versions it was sent with. */
  versions(): Record<string, string> {
    const sent = this.collect().flatMap(({ resources }) => resources);
    return Object.fromEntries(sent.map(({ name, version }) => [name, version]));
  }
}

/** Speaks state-of-the-world: each request names everything that is wanted of a type. */
export class StateClient extends Client {
  readonly session: StateOfTheWorldSession;
  readonly #wanted = new Map<ResourceType, readonly string[]>();

  constructor(limits: Partial<XdsLimits> = {}) {
    super('state-of-the-world');
    this.session = new StateOfTheWorldSession(this.tracker, { ...DEFAULT_XDS_LIMITS, ...limits });
  }

  ask(type: ResourceType, request: StateRequest = {}): boolean {
    return this.session.request(DiscoveryRequest.fromPartial({ typeUrl: type, ...request }));
  }

  want(type: ResourceType, ...names: string[]): void {
    this.#wanted.set(type, names);
    this.ask(type, { resourceNames: names });
  }

  collect(): DiscoveryResponse[] {
    return this.session.collect(this.view());
  }

  acknowledge(response: DiscoveryResponse): void {
    const type = response.typeUrl as ResourceType;
    this.ask(type, {
      resourceNames: [...(this.#wanted.get(type) ?? [])],
      responseNonce: response.nonce,
      versionInfo: response.versionInfo,
    });
  }

  /** What is due, in short: `Cluster 3`; acknowledged at once. */
  turn(): string[] {
    return this.collect().map((response) => {
      this.acknowledge(response);
      return `${shortType(response.typeUrl)} ${response.resources.length}`;
    });
  }
}
