import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import { matchesLabels, selects } from './selector.ts';

const labels = { app: 'web', tier: 'front' };
const expression = (operator: string, key: string, ...values: string[]): JsonValue => ({
  matchExpressions: [{ key, operator, values }],
});

test('labels must all match', () => {
  assert.equal(matchesLabels({ app: 'web' }, labels), true);
  assert.equal(matchesLabels({ app: 'web', tier: 'back' }, labels), false);
  assert.equal(matchesLabels({}, labels), true);
});

test('an empty selector selects everything', () => {
  assert.equal(selects({}, labels), true);
  assert.equal(selects(undefined, {}), true);
});

const cases: readonly [JsonValue, boolean][] = [
  [expression('In', 'app', 'web', 'api'), true],
  [expression('In', 'app', 'api'), false],
  [expression('In', 'zone', 'a'), false],
  [expression('NotIn', 'app', 'api'), true],
  [expression('NotIn', 'app', 'web'), false],
  [expression('NotIn', 'zone', 'a'), true],
  [expression('Exists', 'tier'), true],
  [expression('Exists', 'zone'), false],
  [expression('DoesNotExist', 'zone'), true],
  [expression('DoesNotExist', 'tier'), false],
  [expression('Near', 'app', 'web'), false],
];
for (const [selector, expected] of cases)
  test(`${JSON.stringify(selector)} ${expected ? 'selects' : 'leaves out'} app=web,tier=front`, () => {
    assert.equal(selects(selector, labels), expected);
  });

test('labels and expressions hold together', () => {
  const both = { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] };
  assert.equal(selects(both, labels), false);
  assert.equal(selects(both, { app: 'web' }), true);
});
