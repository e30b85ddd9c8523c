import type { Identity, SetRule } from './plan.ts';
import type { Peer } from './policy.ts';

export type PodsPeer = Peer & { readonly kind: 'pods' };

/** What came and went among identities since the plan before. */
export interface IdentityChange {
  readonly all: readonly Identity[];
  readonly added: readonly Identity[];
  readonly removed: readonly Identity[];
}

export function selects(peer: PodsPeer, identity: Identity): boolean {
  if (peer.namespace !== undefined && peer.namespace !== identity.namespace) return false;
  return peer.namespaces.matches(identity.namespaceLabels) && peer.pods.matches(identity.labels);
}

/**
 * The identities that each peer of the rules selects, by its key. What an identity is never changes, so that only those
 * that came or went are looked at; a list that stays the same is the same array.
 */
export function selectedBy(
  rules: readonly SetRule[],
  before: ReadonlyMap<string, readonly Identity[]>,
  change: IdentityChange,
): ReadonlyMap<string, readonly Identity[]> {
  const selected = new Map<string, readonly Identity[]>();
  const gone = new Set(change.removed);
  for (const { rule } of rules) {
    if (rule.peers === 'any') continue;
    for (const peer of rule.peers) {
      if (peer.kind !== 'pods' || selected.has(peer.key)) continue;
      const had = before.get(peer.key);
      const matches = (identity: Identity): boolean => selects(peer, identity);
      selected.set(
        peer.key,
        had === undefined ? change.all.filter(matches) : updated(had, change, gone, matches),
      );
    }
  }
  return selected;
}

function updated(
  had: readonly Identity[],
  change: IdentityChange,
  gone: ReadonlySet<Identity>,
  matches: (identity: Identity) => boolean,
): readonly Identity[] {
  const more = change.added.filter(matches);
  const less = change.removed.some(matches);
  if (more.length === 0 && !less) return had;
  return [...(less ? had.filter((identity) => !gone.has(identity)) : had), ...more];
}

export function changeOf(
  before: ReadonlyMap<string, Identity>,
  after: ReadonlyMap<string, Identity>,
): IdentityChange {
  const all = [...after.values()];
  return {
    all,
    added: all.filter((identity) => !before.has(identity.key)),
    removed: [...before.values()].filter((identity) => !after.has(identity.key)),
  };
}
