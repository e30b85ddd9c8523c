import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemRandom } from './random.ts';

test('ids have the length asked for and do not repeat over many refills', () => {
  const seen = new Set<string>();
  for (let index = 0; index < 2_000; index++) {
    const id = systemRandom.hex(16);
    assert.match(id, /^[0-9a-f]{32}$/);
    seen.add(id);
  }
  assert.equal(seen.size, 2_000);
});

test('more than the pool holds is drawn as well', () => {
  assert.match(systemRandom.hex(10_000), /^[0-9a-f]{20000}$/);
});
