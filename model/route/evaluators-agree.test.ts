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
import { backendPlainly, evaluatePlainly } from './plain.ts';

const SETS = 5_000;
/** A mutant that survives this many is not noticed. */
const SETS_FOR_A_MUTANT = 20_000;

/** What an evaluator makes of a request: a rule and a backend, or an answer. */
type Evaluate = (rules: readonly RouteRule[], request: RequestView, share: number) => string;

const plainly: Evaluate = (rules, request, share) => {
  const rule = evaluatePlainly(rules.toReversed(), request);
  if (rule === undefined) return 'no-route';
  const backend = backendPlainly(rule, share);
  return `${rule.id} ${backend === undefined || backend.invalid !== undefined ? 'no-backend' : backend.cluster}`;
};

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
function byDecision(decide: typeof realDecide): Evaluate {
  return (rules, request, share) => {
    const random: Random = { next: () => share, hex: () => '' };
    const destination = destinationOf(rules);
    const snapshot = { destination: () => destination, cluster: (name: string) => CLUSTERS.get(name) };
    const decision = decide(snapshot, destination.key, request, idleState(), 0, random);
    if (decision.kind === 'answer' && decision.rule === undefined) return decision.failure.code;
    const outcome =
      decision.kind === 'answer'
        ? decision.failure.code
        : decision.kind === 'redirect'
          ? `${decision.status} ${decision.location}`
          : decision.cluster.name;
    return `${decision.rule?.id} ${outcome}`;
  };
}

const destinations = new WeakMap<readonly RouteRule[], Destination>();

function destinationOf(rules: readonly RouteRule[]): Destination {
  const known = destinations.get(rules);
  if (known !== undefined) return known;
  const destination: Destination = {
    ...{ key: 's:80', namespace: 'shop', service: 's', port: 80, protocol: 'http', addresses: [] },
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
      count(outcome === 'no-route' ? outcome : outcome.endsWith('no-backend') ? 'no-backend' : 'forward');
      const matching = rules.filter((rule) => evaluatePlainly([rule], request) !== undefined);
      if (matching.length > 1) count('several rules match');
    }
  }
  for (const what of ['no-route', 'no-backend', 'forward', 'several rules match']) {
    assert.ok((outcomes.get(what) ?? 0) > 100, `${what}: ${outcomes.get(what)}`);
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
];
for (const [name, from, to] of DECIDE_MUTANTS) {
  test(`${name}: the disagreement is noticed`, async () => {
    const mutant = await importMutant<{ readonly decide: typeof realDecide }>(DECIDE, from, to);
    const found = disagreement(plainly, byDecision(mutant.decide), SETS_FOR_A_MUTANT);
    assert.notEqual(found, undefined);
  });
}
