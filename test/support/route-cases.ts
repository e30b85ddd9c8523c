import fc from 'fast-check';
import type { RequestView } from '../../model/decision-types.ts';
import { DEFAULT_REQUEST_POLICY } from '../../model/policy-types.ts';
import type {
  Mirror,
  NamedMatch,
  PathMatch,
  PathRewrite,
  Redirect,
  RouteMatch,
  RouteRule,
  UrlRewrite,
  WeightedBackend,
} from '../../model/snapshot.ts';

/** Generated rules and requests over small alphabets, so that they meet, overlap and tie often. */

export interface RouteCase {
  readonly rules: readonly RouteRule[];
  readonly requests: readonly RequestView[];
  /** What the draw of a backend gets, from 0 to 1. */
  readonly share: number;
}

const PREFIXES = ['/', '/a', '/a/', '/b', '/a/b', '/a/b/', '/ab', '/A', '/a%2Fb', '/a/b/c', '/..a'];
const PATTERNS = [
  '/a.*',
  '/(a|b)',
  '/a|/b',
  '/a/b',
  '.*',
  '/[ab]+/b?',
  '',
  '(?i)/a/b',
  '/%2[fF]',
  '/a$|/a/.',
];
const VALUE_PATTERNS = ['.*', '.*', '[12]', '1+', '1|2', '', '1, 2', '(?i)x'];
const SEGMENTS = ['a', 'b', 'ab', 'c', 'A', '.', '..', '...', '..a', '', '%2F', '%2e', 'a%2Fb'];
const NAMES = ['x', 'y', 'xx'];
const VALUES = ['1', '1', '2', '11', '1, 2', 'X', ''];
const QUERIES = [
  ...['', 'x', 'x=', 'x=1', 'x=2&x=1', 'y=1&x', 'y=11&x=1', 'xx=1', 'x=1&y=2&xx=11', '%78=1', 'X=1'],
  ...['x==1', 'x=1=2', '=1', '&', '&&x=1', 'x=1&', 'x&x=1', 'x=1;y=2', 'x=%31', 'ax=1', 'x=1, 2'],
];
const JUNK_PATHS = [
  '',
  '*',
  '//',
  '//a',
  '/a//b',
  '/.',
  '/..',
  '/../a',
  '/a/..',
  '/a/./b',
  '/a/b/../..',
  'a',
  'a/../b',
];

const pathMatch: fc.Arbitrary<PathMatch> = fc.oneof(
  // Half of the paths tell nothing apart, so that the later criteria get to decide.
  { weight: 3, arbitrary: fc.constant<PathMatch>({ kind: 'prefix', value: '/' }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('exact' as const, 'prefix' as const),
      value: fc.constantFrom(...PREFIXES),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('regex' as const), value: fc.constantFrom(...PATTERNS) }),
  },
);
const namedMatches: fc.Arbitrary<readonly NamedMatch[]> = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom(...NAMES),
    match: fc.oneof(
      fc.record({ kind: fc.constant('exact' as const), value: fc.constantFrom(...VALUES) }),
      fc.record({ kind: fc.constant('regex' as const), value: fc.constantFrom(...VALUE_PATTERNS) }),
    ),
  }),
  { maxLength: 3, selector: ({ name }) => name },
);
const match: fc.Arbitrary<RouteMatch> = fc.record({
  path: pathMatch,
  method: fc.constantFrom(undefined, undefined, 'GET', 'POST'),
  headers: fc.oneof(fc.constant([]), namedMatches),
  queryParams: fc.oneof(fc.constant([]), namedMatches),
});
const backends: fc.Arbitrary<readonly WeightedBackend[]> = fc.array(
  fc.record({
    cluster: fc.constantFrom('c0', 'c1', 'c2'),
    weight: fc.nat(4),
    invalid: fc.constantFrom(undefined, undefined, 'it is gone'),
    requestHeaders: fc.constant(undefined),
    responseHeaders: fc.constant(undefined),
  }),
  { maxLength: 4 },
);

const REPLACEMENTS = ['/', '/x', '/x/', '/x/y', '/a%2Fb', '/x/y/'];
const HOSTS = [undefined, 's', 's:80', 's:8080', 's:', '[::1]', '[::1]:80', 's:x', 'a b', 'a/b', ''];
const pathRewrite: fc.Arbitrary<PathRewrite | undefined> = fc.oneof(
  fc.constant(undefined),
  fc.record({ kind: fc.constant('full' as const), value: fc.constantFrom(...REPLACEMENTS) }),
  fc.record({ kind: fc.constant('prefix' as const), value: fc.constantFrom('', ...REPLACEMENTS) }),
);
const hostname = fc.constantFrom(undefined, 'new.example');
const rewrite: fc.Arbitrary<UrlRewrite> = fc.record({ hostname, path: pathRewrite });
const redirect: fc.Arbitrary<Redirect> = fc.record({
  hostname,
  path: pathRewrite,
  scheme: fc.constantFrom(undefined, 'http' as const, 'https' as const),
  port: fc.constantFrom(undefined, undefined, 80, 443, 8080),
  status: fc.constantFrom(301 as const, 302 as const, 307 as const),
});
/** Denominators that thousandths are compared with exactly. */
const mirrors: fc.Arbitrary<readonly Mirror[]> = fc.array(
  fc.record({
    cluster: fc.constantFrom('c0', 'c1', 'c2'),
    numerator: fc.nat(4),
    denominator: fc.constantFrom(1, 2, 4),
    invalid: fc.constantFrom(undefined, undefined, 'it is gone'),
  }),
  { maxLength: 2 },
);
const nothing = fc.constant(undefined);
const changes: fc.Arbitrary<Pick<RouteRule, 'redirect' | 'rewrite'>> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ redirect: nothing, rewrite: nothing }) },
  { weight: 1, arbitrary: fc.record({ redirect, rewrite: nothing }) },
  { weight: 1, arbitrary: fc.record({ redirect: nothing, rewrite }) },
);

/** A prefix can only be replaced by a rule of one match, a prefix. */
function fitting(matches: readonly RouteMatch[], change: Pick<RouteRule, 'redirect' | 'rewrite'>) {
  const [first, ...others] = matches;
  if ((change.redirect ?? change.rewrite)?.path?.kind !== 'prefix' || first === undefined) return matches;
  const prefix = [first, ...others].find(({ path: { kind } }) => kind === 'prefix');
  return [prefix ?? { ...first, path: { kind: 'prefix' as const, value: '/a' } }];
}

/** Rules of a few objects; the rules of one object share its age and are numbered in it, as in real ones. */
const rules: fc.Arbitrary<readonly RouteRule[]> = fc
  .tuple(
    fc.array(fc.nat(2), { minLength: 4, maxLength: 4 }),
    fc.array(
      fc.record({
        matches: fc.array(match, { minLength: 1, maxLength: 3 }),
        object: fc.nat(3),
        ...{ backends, changes, mirrors },
      }),
      { minLength: 1, maxLength: 8 },
    ),
  )
  .map(([ages, list]) =>
    list.map(({ matches, object, changes: change, ...of }, index): RouteRule => {
      const ruleIndex = list.slice(0, index).filter((other) => other.object === object).length;
      return {
        id: `HTTPRoute/shop/r${object}#${ruleIndex}`,
        matches: fitting(matches, change),
        requestHeaders: undefined,
        responseHeaders: undefined,
        ...change,
        mirrors: change.redirect === undefined ? of.mirrors : [],
        backends: change.redirect === undefined ? of.backends : [],
        policy: DEFAULT_REQUEST_POLICY,
        createdAtMs: ages[object] ?? 0,
        object: `shop/r${object}`,
        ruleIndex,
      };
    }),
  );

const path = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .array(fc.constantFrom(...SEGMENTS), { minLength: 1, maxLength: 4 })
      .map((parts) => `/${parts.join('/')}`),
  },
  { weight: 2, arbitrary: fc.constantFrom(...PREFIXES) },
  { weight: 1, arbitrary: fc.constantFrom(...JUNK_PATHS) },
);
const value = fc.constantFrom(undefined, ...VALUES);
const request: fc.Arbitrary<RequestView> = fc
  .record({
    path,
    method: fc.constantFrom('GET', 'POST', 'PUT', 'get', ''),
    headers: fc.tuple(value, value, value, fc.constantFrom(...HOSTS)),
    query: fc.constantFrom(...QUERIES),
  })
  .map((drawn) => ({
    path: drawn.path,
    method: drawn.method,
    query: drawn.query,
    sourceAddress: undefined,
    header: (name) => drawn.headers[name === 'host' ? 3 : NAMES.indexOf(name)],
    // A failing case is printed as JSON, which leaves functions out.
    headers: drawn.headers,
  }));

export const routeCases: fc.Arbitrary<RouteCase> = fc.record({
  rules,
  requests: fc.array(request, { minLength: 1, maxLength: 6 }),
  share: fc.integer({ min: 0, max: 999 }).map((thousandths) => thousandths / 1_000),
});
