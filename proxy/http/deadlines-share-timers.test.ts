import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../common/random.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { Deadline, Deadlines } from './deadlines.ts';

test('every deadline fires once, never early and at most a tick late, however it was moved', async () => {
  const clock = new VirtualClock();
  const deadlines = new Deadlines(clock);
  const random = seededRandom(7);
  const fired: number[] = [];
  const due: (number | undefined)[] = [];
  const all = Array.from(
    { length: 60 },
    (_entry, index) =>
      new Deadline(() => {
        fired[index] = clock.now();
      }),
  );
  for (let step = 0; step < 300; step++) {
    const index = Math.floor(random.next() * all.length);
    const deadline = all[index];
    if (deadline === undefined) continue;
    const choice = random.next();
    if (choice < 0.15) {
      deadline.cancel();
      due[index] = undefined;
    } else if (choice < 0.3) {
      deadline.park();
      due[index] = undefined;
    } else {
      const delayMs = random.next() < 0.5 ? random.next() * 200 : random.next() * 12_000;
      deadlines.arm(deadline, delayMs);
      due[index] = clock.now() + delayMs;
      delete fired[index];
    }
    await clock.advance(random.next() * 40);
    for (const [other, atMs] of due.entries()) {
      const firedMs = fired[other];
      if (atMs === undefined || firedMs === undefined) continue;
      assert.ok(firedMs >= atMs && firedMs <= atMs + 501, `due ${atMs}, fired ${firedMs}`);
      due[other] = undefined;
      delete fired[other];
    }
    assert.equal(Object.keys(fired).length, 0, 'nothing fires that is not due');
    for (const atMs of due) assert.ok(atMs === undefined || atMs + 501 > clock.now(), 'nothing is forgotten');
  }
  deadlines.close();
});

test('a deadline beyond the ring waits its turns', async () => {
  const clock = new VirtualClock();
  const deadlines = new Deadlines(clock);
  let firedMs = 0;
  deadlines.arm(
    new Deadline(() => {
      firedMs = clock.now();
    }),
    900_000,
  );
  await clock.advance(899_000);
  assert.equal(firedMs, 0);
  await clock.advance(2_000);
  assert.ok(firedMs >= 900_000);
});
