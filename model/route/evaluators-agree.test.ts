import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RequestView } from '../decision-types.ts';
import { DEFAULT_REQUEST_POLICY } from '../policy-types.ts';
import type { RouteMatch, RouteRule } from '../snapshot.ts';
import { CompiledRoutes } from './compiled.ts';
import { type Criterion, orderEntries, PRECEDENCE } from './order.ts';
import { evaluatePlainly } from './plain.ts';

const segment = fc.constantFrom('a', 'b', 'ab', '.', '..', '');
const path = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => `/${parts.join('/')}`);
const routePath = fc.constantFrom('/', '/a', '/a/', '/b', '/a/b', '/ab');
const regex = fc.constantFrom('/a.*', '/(a|b)', '/a/b', '.*', '/[ab]+/b?');
const named = fc.array(
  fc.record({
    name: fc.constantFrom('x', 'y'),
    match: fc.oneof(
      fc.record({ kind: fc.constant('exact' as const), value: fc.constantFrom('1', '2') }),
      fc.record({ kind: fc.constant('regex' as const), value: fc.constantFrom('[12]', '1+') }),
    ),
  }),
  { maxLength: 2 },
);
const match: fc.Arbitrary<RouteMatch> = fc.record({
  path: fc.oneof(
    fc.record({ kind: fc.constantFrom('exact' as const, 'prefix' as const), value: routePath }),
    fc.record({ kind: fc.constant('regex' as const), value: regex }),
  ),
  method: fc.constantFrom(undefined, 'GET', 'POST'),
  headers: named,
  queryParams: named,
});
const rules: fc.Arbitrary<readonly RouteRule[]> = fc
  .array(fc.record({ matches: fc.array(match, { minLength: 1, maxLength: 3 }), object: fc.nat(3) }), {
    minLength: 1,
    maxLength: 8,
  })
  .map((list) =>
    list.map(({ matches, object }, index) => ({
      id: `r${index}`,
      matches,
      requestHeaders: undefined,
      responseHeaders: undefined,
      backends: [],
      policy: DEFAULT_REQUEST_POLICY,
      createdAtMs: object % 2,
      object: `shop/r${object}`,
      ruleIndex: index,
    })),
  );
const values = fc.constantFrom(undefined, '1', '2', '11');
const request: fc.Arbitrary<RequestView> = fc
  .record({
    path,
    method: fc.constantFrom('GET', 'POST', 'PUT'),
    x: values,
    y: values,
    query: fc.constantFrom('', 'x=1', 'x=2&x=1', 'y=1&x', 'y=11&x=1', 'xx=1'),
  })
  .map(({ path, method, x, y, query }) => ({
    path,
    method,
    query,
    sourceAddress: undefined,
    header: (name) => (name === 'x' ? x : name === 'y' ? y : undefined),
  }));

/** The property; `precedence` is what the compiled side is ordered by. */
function check(
  precedence: readonly Criterion[],
  numRuns: number,
): { failed: boolean; counterexample: unknown } {
  const property = fc.property(rules, fc.array(request, { minLength: 1, maxLength: 6 }), (set, requests) => {
    const entries = set.flatMap((rule) => rule.matches.map((one) => ({ match: one, rule })));
    const compiled = new CompiledRoutes(orderEntries(entries, precedence));
    return requests.every(
      (one) => compiled.find(one)?.rule.id === evaluatePlainly(set.toReversed(), one)?.id,
    );
  });
  return fc.check(property, { numRuns, seed: 7 });
}

test('the plain and the compiled evaluator choose the same rule', () => {
  const result = check(PRECEDENCE, 3_000);
  assert.equal(result.failed, false, JSON.stringify(result.counterexample));
});

for (let index = 0; index + 1 < PRECEDENCE.length; index++) {
  test(`swapping criteria ${index} and ${index + 1} of the precedence is caught`, () => {
    const mutant = PRECEDENCE.slice();
    mutant.splice(index, 2, ...mutant.slice(index, index + 2).toReversed());
    assert.equal(check(mutant, 20_000).failed, true);
  });
}
