import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs } from './backoff.ts';
import { type Random, seededRandom } from './random.ts';

const LIMITS = { baseMs: 500, maxMs: 15_000 };

function fixed(value: number): Random {
  return { next: () => value, hex: () => '' };
}

test('the longest wait doubles with each failure up to its limit, and stays there', () => {
  const waits = [0, 1, 2, 3, 4, 5, 6, 1_000, Number.MAX_SAFE_INTEGER].map((failures) =>
    backoffMs(LIMITS, failures, fixed(1)),
  );
  assert.deepEqual(waits, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000, 15_000]);
});

test('jitter takes the whole range, so that many who lost the same server come back apart', () => {
  assert.equal(backoffMs(LIMITS, 3, fixed(0)), 0);
  const random = seededRandom(1);
  const waits = Array.from({ length: 1_000 }, () => backoffMs(LIMITS, 3, random));
  for (const quarter of [0, 1, 2, 3]) {
    const inside = waits.filter((wait) => wait >= quarter * 1_000 && wait < (quarter + 1) * 1_000).length;
    assert.ok(inside > 200 && inside < 300, `${inside} of 1,000 in quarter ${quarter}`);
  }
});
