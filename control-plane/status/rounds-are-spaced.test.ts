import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonLogger, silentLogger } from '../../common/log.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { roundGatherMs, roundRestFactor, statusRounds } from './rounds.ts';

test('a burst makes one round, once it had time to gather', async () => {
  const clock = new VirtualClock();
  let rounds = 0;
  const { soon } = statusRounds({ round: () => rounds++, clock, log: silentLogger });
  for (let index = 0; index < 100; index++) soon();
  await clock.advance(roundGatherMs - 1);
  assert.equal(rounds, 0);
  await clock.advance(1);
  assert.equal(rounds, 1);
  await clock.advance(10 * roundGatherMs);
  assert.equal(rounds, 1);
});

test('a round at once takes the place of the one that was due', async () => {
  const clock = new VirtualClock();
  let rounds = 0;
  const { soon, now } = statusRounds({ round: () => rounds++, clock, log: silentLogger });
  soon();
  now();
  await clock.advance(10 * roundGatherMs);
  assert.equal(rounds, 1);
});

test('a round that took long is followed by a long rest', async () => {
  const clock = new VirtualClock();
  const tookMs = 200;
  let rounds = 0;
  let atMs = 0;
  const slow = {
    ...clock,
    now: () => atMs,
    after: clock.after.bind(clock),
    wallMs: () => 0,
    every: clock.every.bind(clock),
  };
  const { soon, now } = statusRounds({
    round: () => {
      rounds++;
      atMs += tookMs;
    },
    clock: slow,
    log: silentLogger,
  });
  now();
  soon();
  await clock.advance(roundRestFactor * tookMs - 1);
  assert.equal(rounds, 1);
  await clock.advance(1);
  assert.equal(rounds, 2);
});

test('a round that fails is logged, and the next one runs', async () => {
  const clock = new VirtualClock();
  const logged: string[] = [];
  let rounds = 0;
  const { soon, now } = statusRounds({
    round: () => {
      rounds++;
      if (rounds === 1) throw new Error('no such proxy');
    },
    clock,
    log: jsonLogger(clock, (line) => logged.push(line)),
  });
  now();
  assert.match(logged[0] ?? '', /statuses could not be told.*no such proxy/);
  soon();
  await clock.advance(roundGatherMs);
  assert.equal(rounds, 2);
});

test('once closed there are no more rounds', async () => {
  const clock = new VirtualClock();
  let rounds = 0;
  const { soon, now, close } = statusRounds({ round: () => rounds++, clock, log: silentLogger });
  soon();
  close();
  soon();
  now();
  await clock.advance(10 * roundGatherMs);
  assert.equal(rounds, 0);
});
