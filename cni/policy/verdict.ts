import { addressBytes } from '../../common/address.ts';
import { IDENTITY, POLICY_BITS, PROTOCOL, type TransportName } from '../maps/constants.ts';
import { blockHolds } from './block.ts';
import { entryKey, portsAt } from './entries.ts';
import {
  type Direction,
  type Identity,
  NOT_ISOLATED,
  type PolicyPlan,
  type PolicySet,
  type SetRule,
} from './plan.ts';
import { canonical } from './pods.ts';
import { selects } from './select.ts';
import { classAt } from './table.ts';

/** Where a connection begins or ends. Addresses of nodes stand for themselves: policy selects them by ipBlock only. */
export interface Probe {
  readonly from: string;
  readonly to: string;
  /** Undefined: neither TCP, UDP nor SCTP, such as an ICMP echo. */
  readonly protocol: TransportName | undefined;
  /** Destination port. */
  readonly port: number;
}

export interface Verdict {
  readonly allowed: boolean;
  /** For each end that is a pod of this node. */
  readonly egress: DirectionVerdict | undefined;
  readonly ingress: DirectionVerdict | undefined;
}

export interface DirectionVerdict {
  readonly allowed: boolean;
  readonly set: number;
  /** The policies that isolate the pod, `namespace/name`; empty where none does. */
  readonly isolatedBy: readonly string[];
  /** The rules that allow it. */
  readonly allowedBy: readonly { readonly policy: string; readonly rule: number }[];
  /** For people: `allowed by NetworkPolicy shop/web, ingress rule 0`. */
  readonly reason: string;
}

/**
 * What the node would do with a new connection, worked out from the plan's maps as the eBPF programs do; the rules are only asked for
 * the reason. A pod always reaches itself. Throws `address` for an end that isn't an IP address.
 */
export function verdict(plan: PolicyPlan, probe: Probe): Verdict {
  const from = canonical(probe.from);
  const to = canonical(probe.to);
  if (from === to) return { allowed: true, egress: undefined, ingress: undefined };
  const sender = localPodAt(plan, from);
  const receiver = localPodAt(plan, to);
  const egress = sender && judge(plan, 'egress', sender.egressSet, to, probe);
  const ingress = receiver && judge(plan, 'ingress', receiver.ingressSet, from, probe);
  return { allowed: egress?.allowed !== false && ingress?.allowed !== false, egress, ingress };
}

function judge(
  plan: PolicyPlan,
  direction: Direction,
  number: number,
  peer: string,
  probe: Probe,
): DirectionVerdict {
  const set = plan.sets.get(number);
  if (number === NOT_ISOLATED || set === undefined)
    return {
      allowed: true,
      set: number,
      isolatedBy: [],
      allowedBy: [],
      reason: `no policy isolates its ${direction}`,
    };
  const allowed = isAllowed(plan, set, peer, probe);
  const allowedBy = set.rules
    .filter((rule) => ruleAllows(plan, rule, peer, probe))
    .map(({ rule }) => ({ policy: rule.policy, rule: rule.index }));
  const names = set.isolatedBy.join(', ');
  const [first] = allowedBy;
  const reason =
    allowed && first !== undefined
      ? `allowed by NetworkPolicy ${first.policy}, ${direction} rule ${first.rule}`
      : `isolated by NetworkPolicy ${names}; no ${direction} rule allows it`;
  return { allowed, set: number, isolatedBy: set.isolatedBy, allowedBy, reason };
}

/** The look-ups of a packet: by identity, by class of the address, by anybody; the longest key of `policy_map` that fits. */
function isAllowed(plan: PolicyPlan, set: PolicySet, peer: string, probe: Probe): boolean {
  const identity = identityAt(plan, peer)?.number ?? IDENTITY.WORLD;
  const known = keysOf(set);
  const group = classAt(plan.memory.table, addressBytes(peer))?.class;
  const peers = [identity, ...(group === undefined ? [] : [group]), IDENTITY.ANY];
  return peers.some((one) => holdsKey(known, set.number, one, probe));
}

function holdsKey(known: ReadonlySet<string>, set: number, peer: number, { protocol, port }: Probe): boolean {
  if (known.has(entryKey({ bits: POLICY_BITS.ANY_PROTOCOL, set, peer, protocol: 0, port: 0 }))) return true;
  if (protocol === undefined) return false;
  for (let free = 0; free <= 16; free++) {
    const bits = POLICY_BITS.ONE_PORT - free;
    const front = Math.floor(port / 2 ** free) * 2 ** free;
    if (known.has(entryKey({ bits, set, peer, protocol: PROTOCOL[protocol], port: front }))) return true;
  }
  return false;
}

function ruleAllows(plan: PolicyPlan, rule: SetRule, peer: string, { protocol, port }: Probe): boolean {
  const identity = identityAt(plan, peer);
  const { peers } = rule.rule;
  const held =
    peers === 'any' ||
    peers.some((one) =>
      one.kind === 'pods'
        ? identity !== undefined && selects(one, identity)
        : blockHolds(one.block, addressBytes(peer)),
    );
  if (!held) return false;
  const ports = portsAt(rule, identity?.namedPorts ?? new Map());
  if (ports === 'any') return true;
  return ports.some((range) => range.protocol === protocol && range.from <= port && port <= range.to);
}

function identityAt(plan: PolicyPlan, ip: string): Identity | undefined {
  const number = plan.addresses.get(ip);
  return number === undefined ? undefined : plan.identities.get(number);
}

function localPodAt(plan: PolicyPlan, ip: string): ReturnType<PolicyPlan['localPods']['get']> {
  return byAddress(plan).get(ip);
}

type LocalByAddress = Map<string, ReturnType<PolicyPlan['localPods']['get']>>;

const indexes = new WeakMap<PolicyPlan, LocalByAddress>();
const keySets = new WeakMap<PolicySet, ReadonlySet<string>>();

function byAddress(plan: PolicyPlan): LocalByAddress {
  const known = indexes.get(plan);
  if (known !== undefined) return known;
  const index: LocalByAddress = new Map();
  for (const pod of plan.localPods.values()) for (const ip of pod.ips) index.set(ip, pod);
  indexes.set(plan, index);
  return index;
}

function keysOf(set: PolicySet): ReadonlySet<string> {
  const known = keySets.get(set);
  if (known !== undefined) return known;
  const keys = new Set(set.entries.map(entryKey));
  keySets.set(set, keys);
  return keys;
}
