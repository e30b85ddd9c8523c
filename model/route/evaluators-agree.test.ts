import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Random } from '../../common/random.ts';
import { importMutant } from '../../test/support/mutant.ts';
import { type RouteCase, routeCases } from '../../test/support/route-cases.ts';
import { decide as realDecide } from '../decide.ts';
import type { RequestView } from '../decision-types.ts';
import { DEFAULT_CLUSTER_POLICY, DEFAULT_REQUEST_POLICY } from '../policy-types.ts';
import type { Cluster, Destination, Endpoint, RouteRule } from '../snapshot.ts';
import { idleState } from '../state.ts';
import { CompiledRoutes as RealCompiledRoutes } from './compiled.ts';
import { type Criterion, orderEntries, PRECEDENCE } from './order.ts';
import { backendPlainly, evaluatePlainly, locationPlainly, mirrorsPlainly, pathPlainly } from './plain.ts';
import * as realRewriting from './rewrite.ts';

const PORT = 8080;
const SETS = 5_000;
/** A mutant that survives this many is not noticed. */
const SETS_FOR_A_MUTANT = 20_000;

type Rewriting = Pick<typeof realRewriting, 'rewrittenPath' | 'locationOf'>;

/** What an evaluator makes of a request: a rule and a backend, or an answer. */
type Evaluate = (rules: readonly RouteRule[], request: RequestView, share: number) => string;

const plainly: Evaluate = (rules, request, share) => {
  const rule = evaluatePlainly(rules.toReversed(), request);
  if (rule === undefined) return 'no-route';
  if (rule.redirect !== undefined) {
    const { status } = rule.redirect;
    return `${rule.id} ${status} ${locationPlainly(rule, request, { host: 's.shop', port: PORT })}`;
  }
  const backend = backendPlainly(rule, share);
  if (backend === undefined || backend.invalid !== undefined) return `${rule.id} no-backend`;
  const copies = mirrorsPlainly(rule, share).map(({ cluster }) => cluster);
  const { hostname } = rule.rewrite ?? {};
  return sent(rule, backend.cluster, hostname, pathPlainly(rule, request.path), copies);
};

function sent(
  rule: RouteRule,
  cluster: string,
  hostname: string | undefined,
  path: string,
  copies: readonly string[],
): string {
  return `${rule.id} ${cluster} ${hostname ?? 'host stays'} ${path} ${copies.join('+')}`;
}

const rulePlainly: Evaluate = (rules, request) =>
  evaluatePlainly(rules.toReversed(), request)?.id ?? 'no-route';

/** By rule only: what the compiled routes find among entries in order of `precedence`. */
function byRule(CompiledRoutes: typeof RealCompiledRoutes, precedence: readonly Criterion[]): Evaluate {
  let last: { rules: readonly RouteRule[]; routes: RealCompiledRoutes } | undefined;
  return (rules, request) => {
    if (last?.rules !== rules) last = { rules, routes: new CompiledRoutes(ordered(rules, precedence)) };
    return last.routes.find(request)?.rule.id ?? 'no-route';
  };
}

/** The whole of `decide`, with clusters of one endpoint each. */
function byDecision(decide: typeof realDecide, rewriting: Rewriting = realRewriting): Evaluate {
  return (rules, request, share) => {
    const random: Random = { next: () => share, hex: () => '' };
    const destination = destinationOf(rules);
    const snapshot = { destination: () => destination, cluster: (name: string) => CLUSTERS.get(name) };
    const decision = decide(snapshot, destination.key, request, idleState(), 0, random);
    const { rule } = decision;
    if (rule === undefined) return decision.kind === 'answer' ? decision.failure.code : 'no rule';
    if (decision.kind === 'answer') return `${rule.id} ${decision.failure.code}`;
    if (decision.kind === 'redirect') {
      const [match] = rule.matches;
      assert.ok(rule.redirect !== undefined && match !== undefined);
      const location = rewriting.locationOf(rule.redirect, match, request, destination);
      if (rewriting === realRewriting) assert.equal(decision.location, location);
      return `${rule.id} ${decision.status} ${location}`;
    }
    const { match, cluster, mirrors } = decision;
    assert.equal(decision.backend?.cluster, cluster.name);
    const { hostname, path } = rule.rewrite ?? {};
    const changed =
      path === undefined || match === undefined
        ? request.path
        : rewriting.rewrittenPath(request.path, path, match);
    return sent(
      rule,
      cluster.name,
      hostname,
      changed,
      mirrors.map((mirror) => mirror.cluster.name),
    );
  };
}

const destinations = new WeakMap<readonly RouteRule[], Destination>();

function destinationOf(rules: readonly RouteRule[]): Destination {
  const known = destinations.get(rules);
  if (known !== undefined) return known;
  const destination: Destination = {
    ...{
      key: `s.shop:${PORT}`,
      namespace: 'shop',
      service: 's',
      port: PORT,
      protocol: 'http',
      addresses: [],
    },
    ...{ defaultCluster: 'c0', policy: DEFAULT_REQUEST_POLICY },
    entries: ordered(rules, PRECEDENCE),
  };
  destinations.set(rules, destination);
  return destination;
}

function ordered(rules: readonly RouteRule[], precedence: readonly Criterion[]) {
  const entries = rules.flatMap((rule) => rule.matches.map((match) => ({ match, rule })));
  return orderEntries(entries, precedence);
}

const CLUSTERS: ReadonlyMap<string, Cluster> = new Map(
  ['c0', 'c1', 'c2'].map((name): [string, Cluster] => {
    const endpoint: Endpoint = {
      ...{ key: name, address: name, port: 80, pod: undefined, node: undefined, zone: undefined },
      ...{ weight: 1, health: 'ready', mtls: false, identities: [] },
    };
    const policy = DEFAULT_CLUSTER_POLICY;
    return [
      name,
      { name, namespace: 'shop', service: name, port: 80, protocol: 'http', policy, endpoints: [endpoint] },
    ];
  }),
);

/** Runs both on generated cases; the first disagreement ends it. */
function disagreement(one: Evaluate, other: Evaluate, numRuns: number): RouteCase | undefined {
  const property = fc.property(routeCases, ({ rules, requests, share }) =>
    requests.every((request) => one(rules, request, share) === other(rules, request, share)),
  );
  const { counterexample } = fc.check(property, {
    numRuns,
    seed: 7,
    endOnFailure: numRuns === SETS_FOR_A_MUTANT,
  });
  return counterexample?.[0];
}

test(`the plain and the compiled evaluator agree on ${SETS} generated route sets`, () => {
  const found = disagreement(plainly, byDecision(realDecide), SETS);
  assert.equal(found, undefined, JSON.stringify(found));
});

test('the generated cases reach every outcome often', () => {
  const outcomes = new Map<string, number>();
  const count = (what: string) => outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
  for (const { rules, requests, share } of fc.sample(routeCases, { numRuns: 1_000, seed: 7 })) {
    for (const request of requests) {
      const outcome = plainly(rules, request, share);
      const [, what = outcome] = outcome.split(' ');
      count(/^c[0-2]$/.test(what) ? 'forward' : what);
      if (outcome.includes('new.example /')) count('host and path are rewritten');
      if (outcome.includes('+')) count('several copies');
      const matching = rules.filter((rule) => evaluatePlainly([rule], request) !== undefined);
      if (matching.length > 1) count('several rules match');
    }
  }
  const wanted = ['no-route', 'no-backend', 'forward', '301', 'several rules match'];
  for (const what of [...wanted, 'host and path are rewritten', 'several copies']) {
    assert.ok((outcomes.get(what) ?? 0) > 50, `${what}: ${outcomes.get(what)}`);
  }
});

for (let index = 0; index + 1 < PRECEDENCE.length; index++) {
  test(`swapping criteria ${index} and ${index + 1} of the precedence is noticed`, () => {
    const mutant = PRECEDENCE.slice();
    mutant.splice(index, 2, ...mutant.slice(index, index + 2).toReversed());
    const found = disagreement(rulePlainly, byRule(RealCompiledRoutes, mutant), SETS_FOR_A_MUTANT);
    assert.notEqual(found, undefined);
  });
}

const COMPILED = new URL('./compiled.ts', import.meta.url);
const COMPILED_MUTANTS: readonly (readonly [string, string, string])[] = [
  ['a prefix that matches by text', 'path.charCodeAt(prefix.length) === SLASH', 'true'],
  ['a prefix that misses the path itself', 'path.length === prefix.length ||', ''],
  [
    'a method that is not looked at',
    'entry.method !== undefined && entry.method !== request.method',
    'false',
  ],
  [
    'headers of which one is enough',
    'if (!valueHolds(named, request.header(named.name))) return false;',
    'if (valueHolds(named, request.header(named.name))) return true;',
  ],
  ['headers that are not looked at', 'of entry.headers)', 'of [] as typeof entry.headers)'],
  ['query parameters that are not looked at', 'of entry.queryParams)', 'of [] as typeof entry.queryParams)'],
  ['an absent value that counts as empty', 'if (value === undefined) return false;', "value ??= '';"],
  ['an exact value that may begin the text', 'value === named.exact', 'value.startsWith(named.exact)'],
  ['entries in reverse order', 'of entries.entries()', 'of entries.toReversed().entries()'],
  ['exact paths that never win', 'this.#exact.get(path);', 'undefined;'],
  ['the last query parameter of a name', 'let start = 0;', 'let start = query.lastIndexOf(name);'],
  ['a parameter whose name only begins so', 'if (after === end) return', 'if (after <= end) return'],
  [
    'a pattern that may match a part',
    'wholeMatcher(path.value)',
    "((text: string) => new RegExp(path.value.replace('(?i)', '')).test(text))",
  ],
  ['dot segments that stay', 'const path = matchablePath(request.path);', 'const path = request.path;'],
];
for (const [name, from, to] of COMPILED_MUTANTS) {
  test(`${name}: the disagreement is noticed`, async () => {
    const mutant = await importMutant<{ readonly CompiledRoutes: typeof RealCompiledRoutes }>(
      COMPILED,
      from,
      to,
    );
    const found = disagreement(rulePlainly, byRule(mutant.CompiledRoutes, PRECEDENCE), SETS_FOR_A_MUTANT);
    assert.notEqual(found, undefined);
  });
}

const DECIDE = new URL('../decide.ts', import.meta.url);
const DECIDE_MUTANTS: readonly (readonly [string, string, string])[] = [
  ['a weight off by one', 'if (left < 0) return backend;', 'if (left <= 0) return backend;'],
  ['weights that are not looked at', 'left -= backend.weight;', 'left -= total / backends.length;'],
  [
    'an invalid backend that is used',
    'backend === undefined || backend.invalid !== undefined',
    'backend === undefined',
  ],
  [
    'backends of weight 0 that are used',
    'if (total <= 0) return undefined;',
    'if (total <= 0) return backends[0];',
  ],
  ['a redirect that is not looked at', 'rule.redirect !== undefined', 'false'],
  ['mirrors that are not looked at', 'rule.mirrors.length === 0', 'true'],
];
for (const [name, from, to] of DECIDE_MUTANTS) {
  test(`${name}: the disagreement is noticed`, async () => {
    const mutant = await importMutant<{ readonly decide: typeof realDecide }>(DECIDE, from, to);
    const found = disagreement(plainly, byDecision(mutant.decide), SETS_FOR_A_MUTANT);
    assert.notEqual(found, undefined);
  });
}

const REWRITE = new URL('./rewrite.ts', import.meta.url);
const REWRITE_MUTANTS: readonly (readonly [string, string, string])[] = [
  ['a prefix whose last slash is kept', "prefix.endsWith('/') ? prefix.slice(0, -1) : prefix", 'prefix'],
  ['a path that may become empty', "rewritten === '' ? '/' : rewritten", 'rewritten'],
  ['dot segments that count as written', 'matchablePath(path).slice', 'path.slice'],
  ['a prefix that stays', '.slice(matched.length)', ''],
  ['a full path that is not looked at', "rewrite.kind === 'full'", 'false'],
  ['a usual port that is told', 'port === USUAL_PORT[scheme]', 'false'],
  [
    "the destination's port with another scheme",
    'redirect.scheme === undefined ? destination.port',
    'true ? destination.port',
  ],
  ['a port of its own that is not looked at', 'redirect.port ??', ''],
  ['a host with the port that it came with', '?.[1];', '?.[0];'],
  ['a host that is not looked at', 'redirect.hostname ??', ''],
  ['a query that is lost', "request.query === '' ?", 'true ?'],
];
for (const [name, from, to] of REWRITE_MUTANTS) {
  test(`${name}: the disagreement is noticed`, async () => {
    const mutant = await importMutant<Rewriting>(REWRITE, from, to);
    const found = disagreement(plainly, byDecision(realDecide, mutant), SETS_FOR_A_MUTANT);
    assert.notEqual(found, undefined);
  });
}
