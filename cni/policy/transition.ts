import { entriesOf } from './entries.ts';
import { blocksOf } from './named.ts';
import type { Identity, PolicyEntry, PolicyPlan, PolicySet } from './plan.ts';
import { type IdentityChange, selects } from './select.ts';
import { classesOf, type Table, unionOf } from './table.ts';

interface After {
  readonly sets: ReadonlyMap<number, PolicySet>;
  readonly table: Table;
  readonly change: IdentityChange;
}

/**
 * What the sets that go say of peers and classes that come, and what those that come say of those that go. Between two plans a
 * packet may meet such a pair; with these entries the answer is that of the set.
 */
export function transitionOf(before: PolicyPlan, after: After): readonly PolicyEntry[] {
  const going = [...before.sets.values()].filter((set) => !after.sets.has(set.number));
  const coming = [...after.sets.values()].filter((set) => !before.sets.has(set.number));
  if (going.length === 0 && coming.length === 0) return [];
  const both = unionOf(before.memory.table, after.table);
  return [
    ...going.flatMap((set) => pairs(set, after.change.added, both, before.memory.table)),
    ...coming.flatMap((set) => pairs(set, after.change.removed, both, after.table)),
  ];
}

/** Entries of a set for some identities, and for the classes of `table` that its own doesn't have. */
function pairs(
  set: PolicySet,
  identities: readonly Identity[],
  table: Table,
  own: Table,
): readonly PolicyEntry[] {
  const known = new Set(own.classes.map((one) => one.class));
  const moved = blocksOf(set.rules).length > 0 && table !== own;
  if (identities.length === 0 && !moved) return [];
  return entriesOf(set.number, set.rules, {
    anybody: false,
    identities: (peer) => identities.filter((identity) => selects(peer, identity)),
    named: identities,
    classes: (peer) => (moved ? classesOf(table, peer.block).filter((one) => !known.has(one.class)) : []),
  });
}
