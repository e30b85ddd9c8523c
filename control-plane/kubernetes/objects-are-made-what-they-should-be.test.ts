import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeddleError } from '../../common/errors.ts';
import { silentLogger } from '../../common/log.ts';
import { seededRandom } from '../../common/random.ts';
import { refusal } from '../../test/support/fake-cluster-api.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import {
  FIGHT_BACKOFF,
  fightToldAfter,
  planGatherMs,
  Reconciler,
  type Work,
  writeSeenMs,
  writesBurstMax,
  writesInFlightMax,
  writesPerSecondMax,
} from './reconciler.ts';

leakCheck();

/** Objects that are texts; the watch may lag behind. */
function setUp() {
  const clock = new VirtualClock();
  const wanted = new Map<string, string>();
  const stored = new Map<string, { text: string; version: number }>();
  const writes: string[] = [];
  const state = {
    ...{ leads: true, lagging: false, holdMs: 0 },
    write: async (_key: string): Promise<void> => undefined,
  };
  let version = 0;
  let seen = new Map(stored);
  const put = (key: string, text: string) => stored.set(key, { text, version: ++version });
  const reconciler = new Reconciler({
    ...{ clock, random: seededRandom(1), log: silentLogger, leads: () => state.leads },
    plan() {
      if (!state.lagging) seen = new Map(stored);
      return [...wanted]
        .filter(([key, text]) => seen.get(key)?.text !== text)
        .map(
          ([key, text]): Work => ({
            ...{ key, print: text, version: String(seen.get(key)?.version ?? ''), holdMs: state.holdMs },
            async run() {
              writes.push(key);
              await state.write(key);
              put(key, text);
            },
          }),
        );
    },
  });
  return { clock, wanted, stored, writes, state, put, reconciler };
}

test('what is wanted is written once, and then nothing more', async () => {
  const { clock, wanted, writes, reconciler } = setUp();
  wanted.set('a', '1');
  reconciler.soon();
  await clock.advance(planGatherMs);
  for (let minute = 0; minute < 10; minute++) {
    reconciler.soon();
    await clock.advance(60_000);
  }
  assert.deepEqual(writes, ['a']);
  reconciler.close();
  assert.equal(clock.pendingTimers(), 0);
});

test('a replica that may not write writes nothing', async () => {
  const { clock, wanted, writes, state, reconciler } = setUp();
  state.leads = false;
  wanted.set('a', '1');
  reconciler.soon();
  await clock.advance(60_000);
  assert.deepEqual(writes, []);
  state.leads = true;
  reconciler.soon();
  await clock.advance(planGatherMs);
  assert.deepEqual(writes, ['a']);
  reconciler.close();
});

test('a write that the watch has not told of yet is not repeated, one that got lost is', async () => {
  const { clock, wanted, writes, state, reconciler } = setUp();
  wanted.set('a', '1');
  state.lagging = true;
  for (let second = 0; second < writeSeenMs / 1000 - 1; second++) {
    reconciler.soon();
    await clock.advance(1_000);
  }
  assert.equal(writes.length, 1);
  await clock.advance(2_000);
  assert.equal(writes.length, 2);
  reconciler.close();
});

test('whoever keeps changing an object back gets it back ever more seldom, and is told of', async () => {
  const { clock, wanted, writes, put, reconciler } = setUp();
  wanted.set('a', '1');
  const hours = 2;
  for (let second = 0; second < hours * 3_600; second++) {
    put('a', 'theirs');
    reconciler.soon();
    await clock.advance(1_000);
  }
  const storm = hours * 3_600;
  const bound = 10 + (hours * 3_600_000) / FIGHT_BACKOFF.maxMs;
  assert.ok(
    writes.length > fightToldAfter && writes.length <= bound,
    `${writes.length} writes in ${storm} s`,
  );
  assert.match(reconciler.problems()[0]?.message ?? '', /somebody else keeps changing it/);
  assert.equal(reconciler.problems()[0]?.object, 'a');
  // Once they stop it is over, and something new is written at once.
  await clock.advance(FIGHT_BACKOFF.maxMs);
  wanted.set('a', '2');
  const before = writes.length;
  reconciler.soon();
  await clock.advance(planGatherMs);
  assert.equal(writes.length, before + 1);
  assert.deepEqual(reconciler.problems(), []);
  reconciler.close();
});

test('bursts are cut to a rate, and few writes are under way at once', async () => {
  const { clock, wanted, writes, state, reconciler } = setUp();
  let underWay = 0;
  let most = 0;
  state.write = async () => {
    most = Math.max(most, ++underWay);
    await new Promise((resolve) => setImmediate(resolve));
    underWay--;
  };
  const count = writesBurstMax + writesPerSecondMax * 2;
  for (let index = 0; index < count; index++) wanted.set(`o${index}`, '1');
  reconciler.soon();
  let tookMs = 0;
  for (; writes.length < count && tookMs < 60_000; tookMs += 100) await clock.advance(100);
  assert.equal(writes.length, count);
  assert.ok(tookMs >= 2_000, `${tookMs} ms`);
  assert.equal(most, writesInFlightMax);
  reconciler.close();
});

test('what is held back is written only if it lasts', async () => {
  const { clock, wanted, writes, state, reconciler } = setUp();
  state.holdMs = 5_000;
  wanted.set('a', '1');
  reconciler.soon();
  await clock.advance(3_000);
  wanted.delete('a');
  reconciler.soon();
  await clock.advance(3_000);
  wanted.set('a', '1');
  reconciler.soon();
  await clock.advance(4_000);
  assert.deepEqual(writes, []);
  await clock.advance(2_000);
  assert.deepEqual(writes, ['a']);
  reconciler.close();
});

test('a conflict is tried again soon, with what is known by then', async () => {
  const { clock, wanted, stored, writes, state, reconciler } = setUp();
  wanted.set('a', '1');
  state.write = async () => {
    if (writes.length < 3) throw refusal('Conflict');
  };
  reconciler.soon();
  await clock.advance(5_000);
  assert.equal(writes.length, 3);
  assert.equal(stored.get('a')?.text, '1');
  reconciler.close();
});

test('an API server that is away is asked ever more seldom', async () => {
  const { clock, wanted, writes, state, reconciler } = setUp();
  wanted.set('a', '1');
  state.write = async () => {
    throw new HeddleError('kubernetes-unreachable', 'away');
  };
  reconciler.soon();
  await clock.advance(600_000);
  assert.ok(writes.length > 10 && writes.length < 80, `${writes.length} writes`);
  assert.deepEqual(reconciler.problems(), []);
  reconciler.close();
});

test('a refusal is told in the words of the API server, and seldom tried again', async () => {
  const { clock, wanted, writes, state, reconciler } = setUp();
  wanted.set('a', '1');
  state.write = async () => {
    throw refusal('Forbidden');
  };
  reconciler.soon();
  await clock.advance(600_000);
  assert.ok(writes.length < 15, `${writes.length} writes`);
  assert.match(reconciler.problems()[0]?.message ?? '', /can't be written: refused: Forbidden/);
  state.write = async () => undefined;
  await clock.advance(600_000);
  assert.deepEqual(reconciler.problems(), []);
  reconciler.close();
});

test('an object that went away meanwhile is no failure', async () => {
  const { clock, wanted, writes, state, reconciler } = setUp();
  wanted.set('a', '1');
  state.write = async () => {
    throw refusal('NotFound');
  };
  reconciler.soon();
  await clock.advance(10_000);
  assert.deepEqual(writes, ['a']);
  reconciler.close();
});
