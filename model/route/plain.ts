import { RE2JS } from 're2js';
import type { RequestView } from '../decision-types.ts';
import type { NamedMatch, RouteMatch, RouteRule, StringMatch, WeightedBackend } from '../snapshot.ts';

/**
 * The reference evaluator: it tries every match of every rule, in any order, and keeps the best by its own reading of the
 * Gateway API. It is slow and obvious, shares no code with the compiled one (types apart), and is what that one is tested
 * against.
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

/**
 * The backend at `share` (0 to 1, 1 not included) of a rule's weights laid end to end, in the order of the rule;
 * undefined where all weights are 0.
 */
export function backendPlainly(rule: RouteRule, share: number): WeightedBackend | undefined {
  const laid = rule.backends.flatMap((backend) => Array<WeightedBackend>(backend.weight).fill(backend));
  return laid[Math.floor(share * laid.length)];
}

function holds(match: RouteMatch, request: RequestView): boolean {
  return (
    pathHolds(match, withoutDots(request.path)) &&
    (match.method === undefined || match.method === request.method) &&
    match.headers.every((named) => valueHolds(named.match, request.header(named.name))) &&
    match.queryParams.every((named) => queryHolds(named, request.query))
  );
}

/** RFC 3986, section 5.2.4, step by step as it stands there. */
function withoutDots(path: string): string {
  let input = path === '' || path === '*' ? '/' : path;
  let output = '';
  while (input !== '') {
    if (input.startsWith('/./') || input === '/.') input = `/${input.slice(3)}`;
    else if (input.startsWith('/../') || input === '/..') {
      input = `/${input.slice(4)}`;
      output = output.replace(/\/[^/]*$/, '');
    } else {
      const segment = /^\/?[^/]*/.exec(input)?.[0] ?? '';
      output += segment;
      input = input.slice(segment.length);
    }
  }
  return output;
}

function pathHolds(match: RouteMatch, path: string): boolean {
  const { kind, value } = match.path;
  if (kind === 'exact') return path === value;
  if (kind === 'regex') return isWhole(value, path);
  const wanted = value.split('/').filter((part, index, all) => part !== '' || index < all.length - 1);
  const actual = path.split('/');
  return wanted.every((part, index) => actual[index] === part);
}

function valueHolds(match: StringMatch, value: string | undefined): boolean {
  if (value === undefined) return false;
  return match.kind === 'exact' ? value === match.value : isWhole(match.value, value);
}

const patterns = new Map<string, RE2JS>();

function isWhole(pattern: string, text: string): boolean {
  const whole = patterns.get(pattern) ?? RE2JS.compile(`^(?:${pattern})$`);
  patterns.set(pattern, whole);
  return whole.matcher(text).find();
}

function queryHolds(named: NamedMatch, query: string): boolean {
  const pair = query.split('&').find((part) => part.split('=')[0] === named.name);
  if (pair === undefined) return false;
  return valueHolds(named.match, pair.split('=').slice(1).join('='));
}

type Candidate = { rule: RouteRule; match: RouteMatch };

function isBetter(a: Candidate, b: Candidate): boolean {
  const [left, right] = [merit(a), merit(b)];
  for (const [index, value] of left.entries()) {
    const other = right[index] ?? 0;
    if (value !== other) return value > other;
  }
  if (a.rule.object !== b.rule.object) return a.rule.object < b.rule.object;
  return a.rule.ruleIndex < b.rule.ruleIndex;
}

/** More is better, the first difference decides. */
function merit({ rule, match }: Candidate): readonly number[] {
  return [
    match.path.kind === 'exact' ? 3 : match.path.kind === 'regex' ? 2 : 1,
    match.path.value.length,
    match.method === undefined ? 0 : 1,
    match.headers.length,
    match.queryParams.length,
    -rule.createdAtMs,
  ];
}
