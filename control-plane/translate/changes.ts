import { RESOURCE, type ResourceType, TYPE } from '../../common/wire/types.ts';
import type { Cluster, Destination } from '../../model/snapshot.ts';
import type { Translation } from './translator.ts';

/**
 * What differs between one translation and the one after it, by name: most streams see at once that nothing of theirs does.
 * The model keeps the objects that say the same, so that comparing them is comparing references.
 */
export interface Changes {
  /**
   * Whether what a client of this namespace gets for one of these names may be something else than before. Of its own
   * listeners, which are made for it alone, nothing is known here.
   */
  touches(namespace: string, type: ResourceType, names: ReadonlySet<string>): boolean;
}

type View = ReadonlyMap<string, Destination>;

/** Where nothing is known of the state before. */
export const EVERYTHING: Changes = { touches: () => true };

export function changesBetween(before: Translation, after: Translation): Changes {
  if (before.trustBundlePem !== after.trustBundlePem) return EVERYTHING;
  const clusters = new Set<string>();
  for (const [name, was, is] of pairs(before.mesh.clusters, after.mesh.clusters)) {
    if (was === is) continue;
    clusters.add(name);
    // Routes carry the hash keys of their backends' balancers.
    if (hashOf(was) !== hashOf(is)) return EVERYTHING;
  }
  // Views are shared by all namespaces without routes of their own.
  const byView = new Map<View, { readonly old: View; readonly names: ReadonlySet<string> }>();
  const destinations = (namespace: string): ReadonlySet<string> => {
    const [old, view] = [before.mesh.destinationsFor(namespace), after.mesh.destinationsFor(namespace)];
    const known = byView.get(view);
    if (known?.old === old) return known.names;
    const names = changedDestinations(old, view);
    byView.set(view, { old, names });
    return names;
  };
  return {
    touches(namespace, type, names) {
      switch (type) {
        case TYPE.secret:
          return false;
        case TYPE.cluster:
        case TYPE.endpoints:
          return overlap(clusters, names);
        case TYPE.listener:
        case TYPE.route:
          return names.has(RESOURCE.outbound) || overlap(destinations(namespace), names);
        default:
          return type satisfies never;
      }
    },
  };
}

function hashOf(cluster: Cluster | undefined): string {
  return JSON.stringify(cluster?.policy.loadBalancer.hash ?? null);
}

/** Keys and addresses of destinations that came, went or changed. */
function changedDestinations(before: View, after: View): ReadonlySet<string> {
  const names = new Set<string>();
  for (const [key, was, is] of pairs(before, after)) {
    if (was === is) continue;
    names.add(key);
    for (const address of [...(was?.addresses ?? []), ...(is?.addresses ?? [])]) names.add(address);
  }
  return names;
}

function* pairs<V>(
  before: ReadonlyMap<string, V>,
  after: ReadonlyMap<string, V>,
): Generator<readonly [string, V | undefined, V | undefined]> {
  for (const [key, is] of after) yield [key, before.get(key), is];
  for (const [key, was] of before) if (!after.has(key)) yield [key, was, undefined];
}

function overlap(changed: ReadonlySet<string>, names: ReadonlySet<string>): boolean {
  for (const name of changed) if (names.has(name)) return true;
  return false;
}
