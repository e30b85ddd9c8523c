import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatDuration, parseDurationMs } from './duration.ts';

test('every duration that can be written is read back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 99_999 * 3_600_000 }), (durationMs) => {
      assert.equal(parseDurationMs(formatDuration(durationMs)), durationMs);
    }),
    { numRuns: 1_000 },
  );
});

test('the forms of the Gateway API are read', () => {
  for (const [text, durationMs] of [
    ['0s', 0],
    ['250ms', 250],
    ['1h30m', 5_400_000],
    ['1m1ms', 60_001],
    ['1h1m1s1ms', 3_661_001],
    ['99999h', 359_996_400_000],
    ['00010s', 10_000],
  ] as const) {
    assert.equal(parseDurationMs(text), durationMs, text);
  }
});

test('anything else is none', () => {
  for (const text of [
    ...['', '0', '10', 's', 'ms', '1.5s', '-1s', '+1s', '1 s', ' 1s', '1s\n', '1S', '1d', '1us', '1sm'],
    ...['100000s', '1h1m1s1ms1s', '1e3s', '१s', `${'1s'.repeat(100_000)}`],
  ]) {
    assert.equal(parseDurationMs(text), undefined, JSON.stringify(text.slice(0, 20)));
  }
});

test('what is no whole number of milliseconds is rounded, and nothing is less than nothing', () => {
  assert.equal(formatDuration(0.4), '0s');
  assert.equal(formatDuration(1_000.6), '1s1ms');
  assert.equal(formatDuration(-5), '0s');
});
