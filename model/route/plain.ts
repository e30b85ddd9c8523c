import { RE2JS } from 're2js';
import type { RequestView } from '../decision-types.ts';
import type { Mirror, NamedMatch, RouteMatch, RouteRule, StringMatch, WeightedBackend } from '../snapshot.ts';

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

/** The mirrors that copy a request whose draw is `share`, a multiple of 1/1000. */
export function mirrorsPlainly(rule: RouteRule, share: number): readonly Mirror[] {
  const thousandths = Math.round(share * 1_000);
  return rule.mirrors.filter(
    ({ invalid, numerator, denominator }) =>
      invalid === undefined && thousandths * denominator < 1_000 * numerator,
  );
}

/** The path that goes on, element by element: those of the prefix go, those of its replacement come. */
export function pathPlainly(rule: RouteRule, path: string): string {
  const change = (rule.redirect ?? rule.rewrite)?.path;
  if (change === undefined || !path.startsWith('/')) return path;
  if (change.kind === 'full') return change.value;
  const elements = (text: string) => text.split('/').filter((element) => element !== '');
  const [, ...came] = withoutDots(path).split('/');
  const kept = came.slice(elements(rule.matches[0]?.path.value ?? '').length);
  return `/${[...elements(change.value), ...kept].join('/')}`;
}

/** Where a redirect leads, as the Gateway API says it of `hostname`, `scheme` and `port`. */
export function locationPlainly(
  rule: RouteRule,
  request: RequestView,
  called: { readonly host: string; readonly port: number },
): string {
  const { redirect } = rule;
  if (redirect === undefined) return '';
  const schemePorts = new Map([
    ['http', 80],
    ['https', 443],
  ]);
  const scheme = redirect.scheme ?? 'http';
  let port = redirect.port;
  if (port === undefined && redirect.scheme !== undefined) port = schemePorts.get(redirect.scheme);
  port ??= called.port;
  const host = redirect.hostname ?? hostPlainly(request.header('host')) ?? called.host;
  const authority = schemePorts.get(scheme) === port ? host : `${host}:${port}`;
  const came = request.path === '*' ? '/' : request.path.replace(/^(?!\/)/, '/');
  const url = `${scheme}://${authority}${pathPlainly(rule, came)}`;
  return request.query === '' ? url : `${url}?${request.query}`;
}

function hostPlainly(header: string | undefined): string | undefined {
  if (header === undefined || header === '' || /[\s/?#@\\]/.test(header)) return undefined;
  const colon = header.lastIndexOf(':');
  if (colon <= header.lastIndexOf(']')) return header;
  return /^[0-9]*$/.test(header.slice(colon + 1)) ? header.slice(0, colon) : undefined;
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
  // A character for each byte of its UTF-8, as texts have it.
  const bytes = encodeURI(pattern).replace(/%([0-9A-F]{2})/g, (_, hex) =>
    String.fromCharCode(Number(`0x${hex}`)),
  );
  const whole = patterns.get(pattern) ?? RE2JS.compile(`^(?:${bytes})$`);
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
