import { RE2JS } from 're2js';
import type { RequestView } from '../decision-types.ts';
import type { NamedMatch, RouteMatch, RouteRule, StringMatch } from '../snapshot.ts';
import { matchablePath } from './path.ts';

/**
 * The reference evaluator: it tries every match of every rule, in any order, and keeps the best by its own reading of the
 * Gateway API. It is slow and obvious, shares nothing with the compiled one but the notion of a path, and is what that
 * one is tested against.
 */
export function evaluatePlainly(rules: readonly RouteRule[], request: RequestView): RouteRule | undefined {
  let best: { rule: RouteRule; match: RouteMatch } | undefined;
  for (const rule of rules) {
    for (const match of rule.matches) {
      if (!holds(match, request)) continue;
      if (best === undefined || isBetter({ rule, match }, best)) best = { rule, match };
    }
  }
  return best?.rule;
}

function holds(match: RouteMatch, request: RequestView): boolean {
  return (
    pathHolds(match, matchablePath(request.path)) &&
    (match.method === undefined || match.method === request.method) &&
    match.headers.every((named) => valueHolds(named.match, request.header(named.name))) &&
    match.queryParams.every((named) => queryHolds(named, request.query))
  );
}

function pathHolds(match: RouteMatch, path: string): boolean {
  const { kind, value } = match.path;
  if (kind === 'exact') return path === value;
  if (kind === 'regex') return RE2JS.compile(value).matches(path);
  const wanted = value.split('/').filter((part, index, all) => part !== '' || index < all.length - 1);
  const actual = path.split('/');
  return wanted.every((part, index) => actual[index] === part);
}

function valueHolds(match: StringMatch, value: string | undefined): boolean {
  if (value === undefined) return false;
  return match.kind === 'exact' ? value === match.value : RE2JS.compile(match.value).matches(value);
}

function queryHolds(named: NamedMatch, query: string): boolean {
  const pair = query.split('&').find((part) => part.split('=')[0] === named.name);
  if (pair === undefined) return false;
  return valueHolds(named.match, pair.split('=').slice(1).join('='));
}

type Candidate = { rule: RouteRule; match: RouteMatch };

function isBetter(a: Candidate, b: Candidate): boolean {
  const [left, right] = [weight(a), weight(b)];
  for (const [index, value] of left.entries()) {
    const other = right[index] ?? 0;
    if (value !== other) return value > other;
  }
  if (a.rule.object !== b.rule.object) return a.rule.object < b.rule.object;
  return a.rule.ruleIndex < b.rule.ruleIndex;
}

/** More is better, the first difference decides. */
function weight({ rule, match }: Candidate): readonly number[] {
  return [
    match.path.kind === 'exact' ? 3 : match.path.kind === 'regex' ? 2 : 1,
    match.path.value.length,
    match.method === undefined ? 0 : 1,
    match.headers.length,
    match.queryParams.length,
    -rule.createdAtMs,
  ];
}
