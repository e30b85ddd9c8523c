import assert from 'node:assert/strict';
import { test } from 'node:test';
import { budgetIntervalsMax, RetryWindows } from './retry-budget.ts';

const budget = (intervalMs: number) => ({ percent: 20, minPerSecond: 0, intervalMs });

test('budgets over different times count the same requests, and do not start each other anew', () => {
  const windows = new RetryWindows();
  windows.allows(budget(20_000), 0);
  for (let index = 0; index < 100; index++) windows.countRequest(index);
  let retries = 0;
  while (windows.allows(budget(10_000), 200) && windows.allows(budget(20_000), 200) && retries < 1_000) {
    windows.countRetry(200);
    retries++;
  }
  assert.equal(retries, 20);
});

test('a window forgets what is older than its interval', () => {
  const windows = new RetryWindows();
  windows.allows(budget(20_000), 0);
  for (let index = 0; index < 100; index++) windows.countRequest(0);
  for (let index = 0; index < 20; index++) windows.countRetry(0);
  for (let index = 0; index < 10; index++) windows.countRequest(11_000);
  assert.equal(
    windows.allows(budget(10_000), 11_000),
    true,
    'ten seconds on, nothing of the first burst counts',
  );
  assert.equal(windows.allows(budget(20_000), 11_000), true, '20 retries of 110 requests');
  windows.countRetry(11_000);
  windows.countRetry(11_000);
  assert.equal(windows.allows(budget(10_000), 11_000), false, 'two of ten requests');
  assert.equal(windows.allows(budget(20_000), 11_000), false, '22 of 110');
});

test('a destination keeps a bounded number of windows: the oldest goes', () => {
  const windows = new RetryWindows();
  for (let index = 0; index < 20; index++) windows.countRetry(0);
  assert.equal(windows.allows(budget(10_000), 0), false);
  for (let extra = 1; extra < budgetIntervalsMax; extra++) windows.allows(budget(10_000 + extra * 1_000), 0);
  windows.countRequest(0);
  assert.equal(windows.allows(budget(10_000), 0), false, 'still the window that saw the retries');
  windows.allows(budget(100_000), 0);
  for (let index = 0; index < 5; index++) windows.countRequest(0);
  assert.equal(windows.allows(budget(10_000), 0), false, 'a new window, which has seen no request');
  windows.countRequest(0);
  assert.equal(windows.allows(budget(10_000), 0), true, 'and no retry');
});

test('what a budget says at the moment is known once it was asked', () => {
  const windows = new RetryWindows();
  assert.equal(windows.allowsNow(0), undefined);
  windows.allows({ percent: 0, minPerSecond: 1, intervalMs: 10_000 }, 0);
  assert.equal(windows.allowsNow(0), true);
  for (let index = 0; index < 10; index++) windows.countRetry(0);
  assert.equal(windows.allowsNow(0), false);
});
