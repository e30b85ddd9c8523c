import { IDENTITY, POLICY_BITS } from '../maps/constants.ts';
import type { CidrClass, Identity, PolicyEntry, PortRange, SetRule } from './plan.ts';
import type { Peer } from './policy.ts';
import { ANY_PORT, covers, mergeRanges, type PortKey, portKeys } from './ports.ts';

/** Who may be a peer: all that is asked for entries of. */
export interface Candidates {
  /** Whether the entries for anybody are wanted as well. */
  readonly anybody: boolean;
  identities(peer: Peer & { readonly kind: 'pods' }): readonly Identity[];
  /** For ports that are named, and for peers that are anybody. */
  readonly named: readonly Identity[];
  classes(peer: Peer & { readonly kind: 'block' }): readonly CidrClass[];
}

interface PeerRules {
  readonly peer: number;
  readonly namedPorts: ReadonlyMap<string, number>;
  readonly namedPortsKey: string;
  readonly rules: number[];
}

/**
 * The entries of a set: for each peer the union of what the rules that hold it allow, as few keys as there can be, without
 * what anybody may do anyway. Peers that the same rules hold are worked out once.
 */
export function entriesOf(
  set: number,
  rules: readonly SetRule[],
  candidates: Candidates,
): readonly PolicyEntry[] {
  const anybody = unionOf(rules.filter((one) => one.rule.peers === 'any').map((one) => one.ports));
  const entries: PolicyEntry[] = candidates.anybody
    ? keysOf(anybody).map((key) => ({ set, peer: IDENTITY.ANY, ...key }))
    : [];
  if (anybody === 'any') return entries;
  const known = new Map<string, readonly PortKey[]>();
  for (const held of holdersOf(rules, candidates).values()) {
    const signature = `${held.rules.join(',')} ${held.namedPortsKey}`;
    let keys = known.get(signature);
    if (keys === undefined) {
      const ports = held.rules.flatMap((at) => rules[at] ?? []).map((one) => portsAt(one, held.namedPorts));
      keys = keysOf(without(unionOf(ports), anybody));
      known.set(signature, keys);
    }
    for (const { bits, protocol, port } of keys) entries.push({ set, peer: held.peer, bits, protocol, port });
  }
  return entries;
}

/** What a rule allows at a peer whose ports have these names. */
export function portsAt(rule: SetRule, names: ReadonlyMap<string, number>): readonly PortRange[] | 'any' {
  if (rule.ports === 'any' || rule.namedPorts.length === 0) return rule.ports;
  const resolved = rule.namedPorts.flatMap(({ protocol, name }) => {
    const port = names.get(`${protocol}/${name}`);
    return port === undefined ? [] : [{ protocol, from: port, to: port }];
  });
  return [...rule.ports, ...resolved];
}

/** By peer the rules that hold it, by their places. */
function holdersOf(rules: readonly SetRule[], candidates: Candidates): ReadonlyMap<number, PeerRules> {
  const holders = new Map<number, PeerRules>();
  const hold = (at: number, peer: number, one: Identity | CidrClass): void => {
    const held = holders.get(peer);
    if (held === undefined) {
      const { namedPorts, namedPortsKey } = one;
      holders.set(peer, { peer, namedPorts, namedPortsKey, rules: [at] });
    } else if (held.rules.at(-1) !== at) held.rules.push(at);
  };
  for (const [at, { rule, namedPorts }] of rules.entries()) {
    if (rule.peers === 'any') {
      if (namedPorts.length > 0) for (const one of candidates.named) hold(at, one.number, one);
      continue;
    }
    for (const peer of rule.peers) {
      if (peer.kind === 'pods') for (const one of candidates.identities(peer)) hold(at, one.number, one);
      else for (const one of candidates.classes(peer)) hold(at, one.class, one);
    }
  }
  return holders;
}

function unionOf(ports: readonly (readonly PortRange[] | 'any')[]): readonly PortRange[] | 'any' {
  const ranges: PortRange[] = [];
  for (const one of ports) {
    if (one === 'any') return 'any';
    ranges.push(...one);
  }
  return mergeRanges(ranges);
}

function without(
  ports: readonly PortRange[] | 'any',
  anybody: readonly PortRange[],
): readonly PortRange[] | 'any' {
  return ports === 'any' ? ports : ports.filter((range) => !covers(anybody, range));
}

function keysOf(ports: readonly PortRange[] | 'any'): readonly PortKey[] {
  return ports === 'any' ? ANY_PORT : portKeys(ports);
}

/** What makes two entries one. */
export function entryKey({ bits, set, peer, protocol, port }: PolicyEntry): string {
  return bits === POLICY_BITS.ANY_PROTOCOL ? `${set}/${peer}` : `${set}/${peer}/${protocol}/${port}/${bits}`;
}
