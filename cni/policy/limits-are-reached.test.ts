import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import { networkPolicy, policyPlan } from '../../test/support/policy-objects.ts';
import { blockExceptsMax } from './block.ts';
import { fitting } from './limits.ts';
import { policyRulesMax, rulePeersMax, rulePortsMax } from './policy.ts';
import { selectorExpressionsMax, selectorLabelsMax, selectorValuesMax } from './selector.ts';

const many = <T extends JsonValue>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));
const peer = (index: number): JsonObject => ({ podSelector: { matchLabels: { app: `a${index}` } } });
const from = (...peers: readonly JsonObject[]): JsonObject => ({ ingress: [{ from: [...peers] }] });
const labels = (count: number): JsonObject =>
  Object.fromEntries(many(count, (index) => `l${index}`).map((label) => [label, 'x']));
const expression = (index: number): JsonObject => ({ key: `l${index}`, operator: 'Exists' });

/** By the limit's name: a spec that has as many of the thing as it is given. */
const CASES: readonly (readonly [string, number, (count: number) => JsonObject])[] = [
  ['rules', policyRulesMax, (count) => ({ ingress: many(count, (index) => ({ from: [peer(index)] })) })],
  ['peers', rulePeersMax, (count) => from(...many(count, peer))],
  [
    'ports',
    rulePortsMax,
    (count) => ({ ingress: [{ ports: many(count, (index) => ({ port: index + 1 })) }] }),
  ],
  [
    'exceptions of a block',
    blockExceptsMax,
    (count) => {
      const except = many(count, (index) => `10.${index >> 8}.${index & 255}.0/24`);
      return from({ ipBlock: { cidr: '10.0.0.0/8', except } });
    },
  ],
  ['labels', selectorLabelsMax, (count) => from({ podSelector: { matchLabels: labels(count) } })],
  [
    'expressions',
    selectorExpressionsMax,
    (count) => from({ podSelector: { matchExpressions: many(count, expression) } }),
  ],
  [
    'values',
    selectorValuesMax,
    (count) => {
      const values = many(count, (index) => `v${index}`);
      return from({ podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values }] } });
    },
  ],
];

for (const [what, max, spec] of CASES)
  test(`a policy has as many ${what} as it may, and one more is told and allows nothing more`, () => {
    const plan = (count: number) => policyPlan([networkPolicy('p', { podSelector: {}, ...spec(count) })]);
    assert.deepEqual(plan(max).problems, []);
    const { problems, policies } = plan(max + 1);
    assert.ok(
      problems.some(({ message }) => message.includes(String(max))),
      JSON.stringify(problems.slice(0, 2)),
    );
    assert.equal(policies.get('shop/p')?.isolates.ingress, true, 'its pods stay isolated');
  });

test('of what is too much for a map the cheapest fit, and the others give way', () => {
  const costs = [7, 1, 90, 2];
  assert.deepEqual([...fitting(costs, (cost) => cost, 10)], [1, 2, 7]);
  assert.deepEqual([...fitting(costs, (cost) => cost, 100)], [1, 2, 7, 90]);
});
