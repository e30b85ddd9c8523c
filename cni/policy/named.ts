import { addressBytes, type Prefix, prefixText } from '../../common/address.ts';
import { type Block, blockHolds } from './block.ts';
import type { SetDefinition } from './definitions.ts';
import type { Identity, SetRule } from './plan.ts';
import type { PolicyPod } from './pods.ts';
import type { NamedPrefix } from './table.ts';

/** The blocks among the peers of rules. */
export function blocksOf(rules: readonly SetRule[]): readonly Block[] {
  return rules.flatMap(({ rule }) =>
    rule.peers === 'any' ? [] : rule.peers.flatMap((peer) => (peer.kind === 'block' ? [peer.block] : [])),
  );
}

/** How many prefixes a set needs to be told apart, before those it shares with others. */
export function prefixCount(definition: SetDefinition): number {
  return new Set(
    blocksOf(definition.rules)
      .flatMap((block) => [block.cidr, ...block.except])
      .map(prefixText),
  ).size;
}

/**
 * The prefixes that sets name; and the address of each pod that lies in a block whose rule names a port, since only there
 * the name is a number.
 */
export function namedPrefixes(
  definitions: readonly SetDefinition[],
  pods: readonly PolicyPod[],
  identityOf: (pod: string) => Identity | undefined,
): readonly NamedPrefix[] {
  const named: NamedPrefix[] = [];
  const resolving: Block[] = [];
  for (const { rules } of definitions) {
    for (const block of blocksOf(rules))
      named.push(...[block.cidr, ...block.except].map((prefix) => ({ prefix })));
    resolving.push(...blocksOf(rules.filter((rule) => rule.namedPorts.length > 0)));
  }
  const blocks = [...new Map(resolving.map((block) => [block.key, block])).values()];
  return blocks.length === 0
    ? named
    : [...named, ...pods.flatMap((pod) => pinned(pod, identityOf(pod.key), blocks))];
}

function pinned(
  pod: PolicyPod,
  identity: Identity | undefined,
  blocks: readonly Block[],
): readonly NamedPrefix[] {
  if (identity === undefined || identity.namedPorts.size === 0) return [];
  const addresses = pod.ips
    .map(addressBytes)
    .filter((address) => blocks.some((block) => blockHolds(block, address)));
  return addresses.map((address) => {
    const prefix: Prefix = { bits: 128, address };
    return { prefix, namedPorts: { ports: identity.namedPorts, key: identity.namedPortsKey } };
  });
}
