import assert from 'node:assert/strict';
import { test } from 'node:test';
import { didYouMean, nearest } from './suggest.ts';

const words = ['pods', 'services', 'deployments', 'httproutes', 'namespaces'];

test('a letter too many, too few, wrong or swapped still finds the word', () => {
  for (const slip of ['podss', 'pds', 'pads', 'pdos', 'PODS'])
    assert.equal(nearest(slip, words), 'pods', slip);
  assert.equal(nearest('depolyment', words), 'deployments');
});

test('a word like none is answered with none', () => {
  assert.equal(nearest('zebra', words), undefined);
  assert.equal(nearest('', words), undefined);
  assert.equal(nearest('pods', []), undefined);
});

test('the nearest of several is meant', () => {
  assert.equal(nearest('catalog-v3', ['catalog', 'catalog-v1', 'cart']), 'catalog-v1');
  assert.equal(didYouMean('serivces', words), ' (did you mean "services"?)');
  assert.equal(didYouMean('outptu', ['output'], '--'), ' (did you mean "--output"?)');
  assert.equal(didYouMean('zebra', words), '');
});
