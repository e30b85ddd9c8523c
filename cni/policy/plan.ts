import type { Prefix } from '../../common/address.ts';
import type { Problem } from '../../model/objects.ts';
import type { TransportName } from '../maps/constants.ts';
import type { Policy, Rule } from './policy.ts';
import type { Table } from './table.ts';

/** The set of a pod that no policy isolates in a direction. */
export const NOT_ISOLATED = 0;

export type Direction = 'ingress' | 'egress';

/** What policy can know of a pod. Two pods that agree in all of it are one peer. */
export interface Identity {
  readonly number: number;
  /** Names the identity for its whole life. */
  readonly key: string;
  readonly namespace: string;
  readonly namespaceLabels: ReadonlyMap<string, string>;
  readonly labels: ReadonlyMap<string, string>;
  /** `TCP/http` → 8080: the names that a policy may use for ports at this pod. */
  readonly namedPorts: ReadonlyMap<string, number>;
  readonly namedPortsKey: string;
}

/** One key of `policy_map`; every entry allows. */
export interface PolicyEntry {
  /** 64: any protocol; 72: any port; up to 88: the leading bits of a port. */
  readonly bits: number;
  readonly set: number;
  /** `IDENTITY.ANY`, a pod's identity, or a class of addresses with `IDENTITY.CIDR_BIT`. */
  readonly peer: number;
  /** IANA number; 0 for any. */
  readonly protocol: number;
  readonly port: number;
}

/** What one or more local pods allow in one direction. */
export interface PolicySet {
  readonly number: number;
  readonly key: string;
  readonly direction: Direction;
  /** The policies that isolate the pods, `namespace/name`, in order. */
  readonly isolatedBy: readonly string[];
  readonly rules: readonly SetRule[];
  /** The same array as in the plan before, where nothing changed. */
  readonly entries: readonly PolicyEntry[];
}

/** A rule as it holds for the pods of a set: for ingress its named ports are numbers already. */
export interface SetRule {
  readonly rule: Rule;
  readonly ports: readonly PortRange[] | 'any';
  /** Names to resolve at the peer; egress only. */
  readonly namedPorts: readonly NamedPort[];
}

export interface NamedPort {
  readonly protocol: TransportName;
  readonly name: string;
}

export interface PortRange {
  readonly protocol: TransportName;
  readonly from: number;
  readonly to: number;
}

/** Addresses whose most specific named prefix is this one. */
export interface CidrClass {
  readonly prefix: Prefix;
  /** With `IDENTITY.CIDR_BIT`. */
  readonly class: number;
  /** Of the pod that has the address, where a rule names ports of addresses; empty otherwise. */
  readonly namedPorts: ReadonlyMap<string, number>;
  readonly namedPortsKey: string;
  /** Where the addresses inside it end, in the order of the table. */
  readonly end: number;
}

/** A pod of this node, as policy has it. */
export interface LocalPodPlan {
  readonly namespace: string;
  readonly name: string;
  readonly ips: readonly string[];
  /** `IDENTITY.UNKNOWN` until its Pod is known. */
  readonly identity: number;
  readonly ingressSet: number;
  readonly egressSet: number;
}

/** Numbers in use by what they stand for, and the next to give. Plain JSON, so that an agent that starts anew goes on with them. */
export interface PolicyNumbers {
  readonly identities: Readonly<Record<string, number>>;
  readonly sets: Readonly<Record<string, number>>;
  readonly classes: Readonly<Record<string, number>>;
  readonly next: { readonly identity: number; readonly set: number; readonly class: number };
}

/** NetworkPolicies as one node enforces them: what `endpoint_map`, `policy_map` and `cidr_map` are to hold. */
export interface PolicyPlan {
  readonly identities: ReadonlyMap<number, Identity>;
  /** Address (RFC 5952 text) → identity, for every pod of the cluster that has one. */
  readonly addresses: ReadonlyMap<string, number>;
  /** That of the pods behind the cluster's DNS address. */
  readonly dnsIdentity: number;
  /** By `namespace/name`. */
  readonly localPods: ReadonlyMap<string, LocalPodPlan>;
  readonly sets: ReadonlyMap<number, PolicySet>;
  readonly cidrs: readonly CidrClass[];
  /**
   * True entries for sets, peers and classes that only one of the previous plan and this one knows. Written before
   * anything else changes and removed at the very end, they keep every packet in between from meeting a half of each.
   */
  readonly transition: readonly PolicyEntry[];
  /** In force, by `namespace/name`. */
  readonly policies: ReadonlyMap<string, Policy>;
  readonly problems: readonly Problem[];
  readonly numbers: PolicyNumbers;
  /** What the next compilation starts from. */
  readonly memory: PlanMemory;
}

export interface PlanMemory {
  /** By the key of a peer: the identities it selects. */
  readonly selected: ReadonlyMap<string, readonly Identity[]>;
  readonly identities: ReadonlyMap<string, Identity>;
  readonly sets: ReadonlyMap<string, RememberedSet>;
  /** By `namespace/name`: the last version in which every field could be used. */
  readonly sound: ReadonlyMap<string, Policy>;
  readonly table: Table;
}

export interface RememberedSet {
  readonly set: PolicySet;
  /** All that its entries were made of; the same by reference means the same entries. */
  readonly inputs: readonly unknown[];
}
