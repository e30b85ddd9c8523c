import type { Problem } from '../../model/objects.ts';
import type { SetDefinition } from './definitions.ts';
import type { PolicySet } from './plan.ts';

/** Half of `policy_map`: while one plan takes the other's place the entries of both stand there. */
const policyEntriesMax = 131_072;
/** Half of `cidr_map`, for the same reason. */
const cidrPrefixesMax = 32_768;

export interface Limits {
  readonly policyEntriesMax: number;
  readonly cidrPrefixesMax: number;
}

export const DEFAULT_LIMITS: Limits = { policyEntriesMax, cidrPrefixesMax };

/**
 * Those whose costs fit into the limit together, the cheapest first, so that one that asks for too much isn't paid for by
 * the others.
 */
export function fitting<T>(all: readonly T[], costOf: (one: T) => number, max: number): ReadonlySet<T> {
  const kept = new Set<T>();
  let left = max;
  for (const one of all.toSorted((a, b) => costOf(a) - costOf(b))) {
    left -= costOf(one);
    if (left < 0) break;
    kept.add(one);
  }
  return kept;
}

/** Why a set allows nothing. */
export function tooLarge(
  set: Pick<SetDefinition | PolicySet, 'isolatedBy' | 'direction'>,
  what: string,
): Problem {
  const [first = '', ...others] = set.isolatedBy;
  const names = others.length === 0 ? first : `${first} and ${others.length} others`;
  return {
    severity: 'error',
    source: 'cni',
    line: 0,
    object: `NetworkPolicy ${first}`,
    message:
      `${set.direction} of the pods that ${names} isolate needs ${what}, more than are left on this node: ` +
      'nothing is allowed there until the policies name fewer peers or ports',
  };
}
