import type { AddressBytes } from '../../common/address.ts';
import type { Problem, SourcedObject } from '../../model/objects.ts';
import type { TransportName } from '../maps/constants.ts';
import type { OtherNode } from './choose.ts';

/** Key of `service_map`. */
export interface FrontendKey {
  readonly address: AddressBytes;
  readonly port: number;
  /** IANA number. */
  readonly protocol: number;
  /** SCOPE. */
  readonly scope: number;
}

/** Value of `service_map`. */
export interface FrontendValue {
  /** Of its backends; 0 where it has none. */
  readonly id: number;
  readonly count: number;
  /** SERVICE. */
  readonly flags: number;
  /** Seconds; 0 without session affinity. */
  readonly affinityS: number;
}

/** By rank: of two that ask for one address and port the earlier kind has it. */
export const FRONTEND_KINDS = [
  'dns',
  'cluster-ip',
  'host-port',
  'node-port',
  'load-balancer',
  'external-ip',
  'remote-node-port',
] as const;
export type FrontendKind = (typeof FRONTEND_KINDS)[number];

export interface PlannedFrontend {
  readonly key: FrontendKey;
  readonly value: FrontendValue;
  readonly kind: FrontendKind;
  /** `Service shop/catalog`, or `Pod shop/web-1` of a hostPort. */
  readonly owner: string;
  /** `10.244.1.3:8080`, in the order of the slots. */
  readonly backends: readonly string[];
}

export interface PlannedBackend {
  readonly key: { readonly serviceId: number; readonly slot: number };
  readonly value: { readonly address: AddressBytes; readonly port: number };
}

/**
 * A port of this node on which load balancers ask whether it has endpoints of a Service (HTTP; Service, field
 * `healthCheckNodePort`): 200 where `localEndpoints` isn't 0, else 503.
 */
export interface HealthCheck {
  readonly port: number;
  readonly namespace: string;
  readonly service: string;
  /** Ready ones on this node. */
  readonly localEndpoints: number;
}

/** Numbers of backend lists by their content, and the next to give. */
export interface ServiceNumbers {
  readonly ids: ReadonlyMap<string, number>;
  readonly next: number;
}

/** Services as one node serves them: what `service_map` and `backend_map` are to hold. */
export interface ServicePlan {
  readonly frontends: readonly PlannedFrontend[];
  readonly backends: readonly PlannedBackend[];
  /** By port. */
  readonly healthChecks: readonly HealthCheck[];
  readonly problems: readonly Problem[];
  readonly numbers: ServiceNumbers;
  /** What the next compilation starts from. */
  readonly memory: ServiceMemory;
}

/** Offers of Services by `namespace/name`, with what they were made of: the same by reference means the same. */
export type ServiceMemory = ReadonlyMap<
  string,
  { readonly inputs: readonly unknown[]; readonly result: ServiceOffers }
>;

/** A pod's port at its node's own address (CNI capability `portMappings`, container field `hostPort`). */
export interface HostPortMapping {
  /** Undefined: the pod is of the node that is planned for. Another node's serve callers of this node alone. */
  readonly nodeAddresses?: readonly string[];
  readonly namespace: string;
  readonly pod: string;
  readonly podIps: readonly string[];
  /** Undefined, `0.0.0.0`, `::`: every address of the node. */
  readonly hostIp: string | undefined;
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: TransportName;
}

export interface ServiceInput {
  readonly services: readonly SourcedObject[];
  readonly endpointSlices: readonly SourcedObject[];
  /** For the zone of this one (label `topology.kubernetes.io/zone`). */
  readonly nodes: readonly SourcedObject[];
  /** The node that is planned for, and its own addresses. */
  readonly node: { readonly name: string; readonly addresses: readonly string[] };
  /** Where node ports of traffic policy Local lead to the endpoints of that node alone. */
  readonly otherNodes: readonly OtherNode[];
  readonly hostPorts: readonly HostPortMapping[];
  /** Where the node's DNS process answers: port 53 there is nobody else's. */
  readonly dnsAddresses: readonly string[];
}

export interface ServiceLimits {
  readonly backendsPerServiceMax: number;
  readonly frontendsMax: number;
  /** Old and new lists stand side by side for a moment: much less than `backend_map` holds. */
  readonly backendsMax: number;
}

export const DEFAULT_SERVICE_LIMITS: ServiceLimits = {
  backendsPerServiceMax: 4_096,
  frontendsMax: 60_000,
  backendsMax: 130_000,
};

export interface BackendAddress {
  /** As text, for lists and comparisons. */
  readonly text: string;
  readonly address: AddressBytes;
  readonly port: number;
}

/** One frontend as its owner would have it, before addresses that several ask for are given to one. */
export interface Offer {
  readonly kind: FrontendKind;
  readonly owner: string;
  /** Path of the field that asks for it, for the problem where somebody else has it. */
  readonly field: readonly (string | number)[];
  readonly key: FrontendKey;
  readonly flags: number;
  readonly affinityS: number;
  readonly backends: readonly BackendAddress[];
}

export interface ServiceOffers {
  readonly offers: readonly Offer[];
  readonly healthCheck: HealthCheck | undefined;
  readonly problems: readonly Problem[];
}
