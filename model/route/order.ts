import type { PathMatch, RouteEntry } from '../snapshot.ts';

/** Negative where `a` goes first, 0 where this criterion doesn't tell them apart. */
export type Criterion = (a: RouteEntry, b: RouteEntry) => number;

/**
 * Exact before regular expression before prefix. The Gateway API leaves the place of regular expressions open; a pattern
 * is more deliberate than a prefix, and behind the usual prefix `/` it would never be reached.
 */
const PATH_RANK: Record<PathMatch['kind'], number> = { exact: 0, regex: 1, prefix: 2 };

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Precedence between matches (Gateway API, HTTPRouteRule `matches`), most important first. */
export const PRECEDENCE: readonly Criterion[] = [
  (a, b) => PATH_RANK[a.match.path.kind] - PATH_RANK[b.match.path.kind],
  (a, b) => b.match.path.value.length - a.match.path.value.length,
  (a, b) => Number(a.match.method === undefined) - Number(b.match.method === undefined),
  (a, b) => b.match.headers.length - a.match.headers.length,
  (a, b) => b.match.queryParams.length - a.match.queryParams.length,
  (a, b) => a.rule.createdAtMs - b.rule.createdAtMs,
  (a, b) => compareText(a.rule.object, b.rule.object),
  (a, b) => a.rule.ruleIndex - b.rule.ruleIndex,
];

/** The entries in order of precedence; equals stay in the order they came. */
export function orderEntries(
  entries: readonly RouteEntry[],
  precedence: readonly Criterion[] = PRECEDENCE,
): readonly RouteEntry[] {
  return entries.toSorted((a, b) => {
    for (const criterion of precedence) {
      const order = criterion(a, b);
      if (order !== 0) return order;
    }
    return 0;
  });
}
