import type { ClientDuplexStream, StatusObject } from '@grpc/grpc-js';
import { backoffMs } from '../../common/backoff.ts';
import { CHANNEL_OPTIONS, controlPlaneCredentials } from '../../common/ca/control-plane-tls.ts';
import { DEFAULT_TRUST_DOMAIN } from '../../common/contracts.ts';
import { AggregatedDiscoveryServiceClient } from '../../common/gen/envoy/service/discovery/v3/ads.ts';
import {
  DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { systemRandom } from '../../common/random.ts';
import { isResourceType, RESOURCE, type ResourceType, TYPE } from '../../common/wire/types.ts';
import { DEFAULT_CONFIG_LIMITS } from '../../proxy/xds/limits.ts';

type Call = ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

/** Who a sidecar is, and what its app talks to. */
export interface SidecarSpec {
  readonly nodeId: string;
  /** Destination keys, in the order of their first use. */
  readonly destinations: readonly string[];
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
}

export interface SidecarOptions {
  /** host:port. */
  readonly controlPlane: string;
  readonly rootPem: string;
  /** After each resource that came. */
  readonly onResource?: (sidecar: SimulatedSidecar, type: ResourceType, name: string) => void;
  /** After each stream that ended. */
  readonly onFailure?: (reason: string) => void;
}

/**
 * What a sidecar is to the control plane: its own connection over mTLS, the same requests in the same order, an answer to
 * each response, the same waits after a loss. What it is told is decoded as far as names and versions go.
 */
export class SimulatedSidecar {
  readonly spec: SidecarSpec;
  readonly #options: SidecarOptions;
  readonly #held = new Map<ResourceType, Map<string, string>>();
  #client: AggregatedDiscoveryServiceClient | undefined;
  #call: Call | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #closed = false;
  responses = 0;
  /** Of the resources in them. */
  bytes = 0;
  /** When its stream of now had everything. */
  configuredAtMs: number | undefined;
  connectedAtMs = 0;

  constructor(spec: SidecarSpec, options: SidecarOptions) {
    this.spec = spec;
    this.#options = options;
    for (const type of Object.values(TYPE)) this.#held.set(type, new Map());
  }

  version(type: ResourceType, name: string): string | undefined {
    return this.#of(type).get(name);
  }

  connect(): void {
    const { controlPlane, rootPem } = this.#options;
    this.configuredAtMs = undefined;
    this.connectedAtMs = nowMs();
    const credentials = controlPlaneCredentials(DEFAULT_TRUST_DOMAIN, rootPem, this.spec);
    this.#client = new AggregatedDiscoveryServiceClient(controlPlane, credentials, CHANNEL_OPTIONS);
    const call = this.#client.deltaAggregatedResources();
    this.#call = call;
    call.on('data', (response: DeltaDiscoveryResponse) => this.#receive(call, response));
    call.on('error', (error: Pick<StatusObject, 'code' | 'details'>) =>
      this.#lost(call, `${error.code} ${error.details}`),
    );
    call.on('end', () => this.#lost(call, 'ended'));
    this.#ask(TYPE.secret, [RESOURCE.trustBundle], {}, this.spec.nodeId);
    this.#again(TYPE.listener, [RESOURCE.inbound]);
    for (const type of [TYPE.cluster, TYPE.endpoints, TYPE.route]) this.#again(type, []);
    if (this.#of(TYPE.listener).size <= 1) this.#ask(TYPE.listener, this.spec.destinations);
  }

  /** Reads nothing any more: what is sent stays with the kernel and with whoever sends it. */
  hold(): void {
    this.#call?.pause();
  }

  release(): void {
    this.#call?.resume();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#drop();
  }

  #receive(call: Call, response: DeltaDiscoveryResponse): void {
    if (call !== this.#call) return;
    const { typeUrl, nonce, resources, removedResources } = response;
    this.responses++;
    if (!isResourceType(typeUrl)) throw new Error(`the control plane sent a ${typeUrl}`);
    const held = this.#of(typeUrl);
    const fresh = resources.map(({ name }) => name).filter((name) => !held.has(name));
    for (const { name, version, resource } of resources) {
      held.set(name, version);
      this.bytes += resource?.value.length ?? 0;
    }
    for (const name of removedResources) held.delete(name);
    this.#ask(typeUrl, [], {}, undefined, nonce);
    for (const { name } of resources) this.#options.onResource?.(this, typeUrl, name);
    this.#follow(typeUrl, fresh);
    this.#look();
  }

  /** A destination's listener leads to its routes, those to its cluster and endpoints. */
  #follow(type: ResourceType, names: readonly string[]): void {
    const own = names.filter((name) => name !== RESOURCE.inbound);
    if (own.length === 0) return;
    if (type === TYPE.listener) this.#ask(TYPE.route, own);
    if (type !== TYPE.route) return;
    const clusters = own.map(clusterOf);
    this.#ask(TYPE.cluster, clusters);
    this.#ask(TYPE.endpoints, clusters);
  }

  #look(): void {
    if (this.configuredAtMs !== undefined) return;
    const wanted = this.spec.destinations.length;
    if (this.#of(TYPE.secret).size === 0 || this.#of(TYPE.endpoints).size < wanted) return;
    if (this.#of(TYPE.cluster).size < wanted) return;
    this.configuredAtMs = nowMs();
    this.#failures = 0;
  }

  /** On a new stream: everything held with its version, so that only what is newer comes. */
  #again(type: ResourceType, besides: readonly string[]): void {
    const held = this.#of(type);
    const names = new Set([...besides, ...held.keys()]);
    if (names.size > 0) this.#ask(type, [...names], Object.fromEntries(held));
  }

  #ask(
    typeUrl: ResourceType,
    resourceNamesSubscribe: readonly string[],
    initialResourceVersions: Record<string, string> = {},
    nodeId?: string,
    responseNonce = '',
  ): void {
    this.#call?.write(
      DeltaDiscoveryRequest.fromPartial({
        ...(nodeId === undefined ? {} : { node: { id: nodeId, userAgentName: 'heddle' } }),
        ...{ typeUrl, initialResourceVersions, responseNonce },
        resourceNamesSubscribe: [...resourceNamesSubscribe],
      }),
    );
  }

  #lost(call: Call, reason: string): void {
    if (call !== this.#call || this.#closed) return;
    this.#options.onFailure?.(reason);
    this.#drop();
    // The trust bundle is asked for without a version: its answer says that the node was taken in.
    this.#of(TYPE.secret).clear();
    const delayMs = backoffMs(DEFAULT_CONFIG_LIMITS.reconnect, this.#failures++, systemRandom);
    this.#timer = setTimeout(() => this.connect(), delayMs);
  }

  #drop(): void {
    const call = this.#call;
    this.#call = undefined;
    call?.cancel();
    this.#client?.close();
    this.#client = undefined;
  }

  #of(type: ResourceType): Map<string, string> {
    const held = this.#held.get(type);
    if (held === undefined) throw new Error(`nothing is held of ${type}`);
    return held;
  }
}

/** The cluster that a plain destination's requests go to. */
export function clusterOf(destination: string): string {
  const at = destination.lastIndexOf(':');
  return `outbound|${destination.slice(at + 1)}||${destination.slice(0, at)}`;
}

/** CLOCK_MONOTONIC, which all processes of a machine share. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
