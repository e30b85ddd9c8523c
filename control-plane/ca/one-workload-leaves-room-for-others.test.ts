import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { Pace } from './pace.ts';

test('a workload gets so many a minute, and the same again in the next', async () => {
  const clock = new VirtualClock();
  const pace = new Pace(clock, { requestsPerMinuteMax: 3, workloadsMax: 10 });
  const taken = () => [1, 2, 3, 4].map(() => pace.take('shop/web'));
  assert.deepEqual(taken(), [true, true, true, false]);
  await clock.advance(59_999);
  assert.equal(pace.take('shop/web'), false);
  await clock.advance(1);
  assert.deepEqual(taken(), [true, true, true, false]);
});

test('one that asks without end takes nothing from another', () => {
  const pace = new Pace(new VirtualClock(), { requestsPerMinuteMax: 3, workloadsMax: 10 });
  for (let index = 0; index < 1_000; index++) pace.take('shop/web');
  assert.equal(pace.take('shop/catalog'), true);
});

test('so many workloads are watched, the oldest are forgotten', async () => {
  const clock = new VirtualClock();
  const pace = new Pace(clock, { requestsPerMinuteMax: 1, workloadsMax: 10 });
  for (let index = 0; index < 100; index++) pace.take(`shop/${index}`);
  assert.equal(pace.watched, 10);
  assert.equal(pace.take('shop/99'), false);
  assert.equal(pace.take('shop/0'), true);
  await clock.advance(60_000);
  pace.take('shop/new');
  assert.equal(pace.watched, 1);
});
