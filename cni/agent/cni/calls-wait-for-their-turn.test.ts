import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settle } from '../../../test/support/virtual-clock.ts';
import { CniError } from './handler.ts';
import { Lanes } from './lanes.ts';

const LIMITS = { runningCallsMax: 3, waitingCallsMax: 5 };
const never = new AbortController().signal;

/** Calls that begin when it is their turn and end when told. */
class Stage {
  readonly lanes = new Lanes(LIMITS);
  readonly began: string[] = [];
  readonly #ends = new Map<string, () => void>();

  call(name: string, key: string | undefined, signal: AbortSignal = never): Promise<void> {
    return this.lanes.run(key, signal, () => {
      this.began.push(name);
      return new Promise<void>((resolve) => this.#ends.set(name, resolve));
    });
  }

  async end(name: string): Promise<void> {
    const end = this.#ends.get(name);
    assert.ok(end, `${name} has not begun`);
    end();
    await settle();
  }
}

test('calls for one container follow each other, others run beside them', async () => {
  const stage = new Stage();
  for (const [name, key] of [
    ['a1', 'a'],
    ['a2', 'a'],
    ['b1', 'b'],
    ['a3', 'a'],
  ] as const)
    void stage.call(name, key);
  assert.deepEqual(stage.began, ['a1', 'b1']);
  await stage.end('a1');
  assert.deepEqual(stage.began, ['a1', 'b1', 'a2']);
  await stage.end('a2');
  assert.deepEqual(stage.began, ['a1', 'b1', 'a2', 'a3']);
  for (const name of ['b1', 'a3']) await stage.end(name);
  assert.deepEqual(stage.lanes.counts(), { running: 0, waiting: 0 });
});

test('a call that must be alone waits for all before it, and all later ones for it', async () => {
  const stage = new Stage();
  void stage.call('a1', 'a');
  void stage.call('gc', undefined);
  void stage.call('b1', 'b');
  assert.deepEqual(stage.began, ['a1']);
  await stage.end('a1');
  assert.deepEqual(stage.began, ['a1', 'gc']);
  await stage.end('gc');
  assert.deepEqual(stage.began, ['a1', 'gc', 'b1']);
  await stage.end('b1');
});

test('no more run or wait than may', async () => {
  const stage = new Stage();
  for (let index = 0; index < 8; index++) void stage.call(`c${index}`, `c${index}`);
  assert.deepEqual(stage.lanes.counts(), { running: 3, waiting: 5 });
  await assert.rejects(
    stage.call('late', 'late'),
    (thrown) => thrown instanceof CniError && thrown.cniCode === 11,
  );
  for (let index = 0; index < 8; index++) await stage.end(`c${index}`);
  assert.equal(stage.began.length, 8);
});

test('whoever leaves before its turn holds nobody up, and whoever began is not disturbed', async () => {
  const stage = new Stage();
  const leaving = new AbortController();
  void stage.call('a1', 'a', leaving.signal);
  const waiting = assert.rejects(stage.call('gc', undefined, leaving.signal), /waited too long/);
  void stage.call('b1', 'b');
  leaving.abort();
  await waiting;
  assert.deepEqual(stage.began, ['a1', 'b1']);
  await assert.rejects(stage.call('gone', 'x', leaving.signal), /waited too long/);
  for (const name of ['a1', 'b1']) await stage.end(name);
  assert.deepEqual(stage.lanes.counts(), { running: 0, waiting: 0 });
});

test('a task that fails makes room, too', async () => {
  const lanes = new Lanes(LIMITS);
  await assert.rejects(
    lanes.run('a', never, () => Promise.reject(new Error('no'))),
    /no/,
  );
  assert.equal(await lanes.run('a', never, () => Promise.resolve(7)), 7);
});
