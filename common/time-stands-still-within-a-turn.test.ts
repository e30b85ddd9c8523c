import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualClock } from '../test/support/virtual-clock.ts';
import { systemClock, turnClock } from './clock.ts';

/** Counts how often the clock behind is read. */
function counted() {
  let readings = 0;
  const clock = turnClock({
    ...systemClock,
    now: () => {
      readings++;
      return readings;
    },
  });
  return { clock, readings: () => readings };
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test('within one callback the clock is read once', () => {
  const { clock, readings } = counted();
  const first = clock.now();
  for (let index = 0; index < 10; index++) assert.equal(clock.now(), first);
  assert.equal(readings(), 1);
});

test('the next callback reads it anew', async () => {
  const { clock, readings } = counted();
  const first = clock.now();
  await nextTurn();
  assert.equal(clock.now(), first + 1);
  await nextTurn();
  assert.equal(clock.now(), first + 2);
  assert.equal(readings(), 3);
});

test('timers and the time of day are those of the clock behind', async () => {
  const behind = new VirtualClock();
  const clock = turnClock(behind);
  const ran: string[] = [];
  clock.after(10, () => ran.push('after'));
  const timer = clock.every(4, () => ran.push('every'));
  await behind.advance(10);
  assert.deepEqual(ran, ['every', 'every', 'after']);
  timer.cancel();
  assert.equal(clock.wallMs(), behind.wallMs());
});
