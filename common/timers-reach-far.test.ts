import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { leakCheck } from '../test/support/leak-check.ts';
import { VirtualClock } from '../test/support/virtual-clock.ts';
import { sleep, systemClock } from './clock.ts';

leakCheck();

const DAY_MS = 24 * 3_600_000;

test('a timer of a month runs after a month, not at once', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    let ran = 0;
    systemClock.after(60 * DAY_MS, () => ran++);
    mock.timers.tick(1);
    for (let day = 1; day < 60; day++) mock.timers.tick(DAY_MS);
    assert.equal(ran, 0);
    // The mock begins each of the parts where the tick before it ended.
    for (let day = 0; day < 4; day++) mock.timers.tick(DAY_MS);
    assert.equal(ran, 1);
  } finally {
    mock.timers.reset();
  }
});

test('a timer of a month can be cancelled at any time', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    let ran = 0;
    const timer = systemClock.after(60 * DAY_MS, () => ran++);
    for (let day = 0; day < 30; day++) mock.timers.tick(DAY_MS);
    timer.cancel();
    for (let day = 0; day < 60; day++) mock.timers.tick(DAY_MS);
    assert.equal(ran, 0);
  } finally {
    mock.timers.reset();
  }
});

test('a sleep ends in time, or with the reason that it is given up for', async () => {
  const clock = new VirtualClock();
  let over = false;
  const whole = sleep(clock, 1_000).then(() => {
    over = true;
  });
  await clock.advance(999);
  assert.equal(over, false);
  await clock.advance(1);
  await whole;
  const reason = new Error('enough');
  const controller = new AbortController();
  const cut = sleep(clock, 1_000, controller.signal);
  controller.abort(reason);
  await assert.rejects(cut, reason);
  assert.equal(clock.pendingTimers(), 0);
  await assert.rejects(sleep(clock, 1_000, AbortSignal.abort(reason)), reason);
});
