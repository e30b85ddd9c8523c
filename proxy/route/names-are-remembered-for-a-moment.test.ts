import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { NameCache } from './name-cache.ts';

interface Question {
  readonly host: string;
  answer(address: string): void;
  fail(message: string): void;
}

let clock: VirtualClock;
let asked: Question[];
let cache: NameCache;

beforeEach(() => {
  clock = new VirtualClock();
  asked = [];
  cache = new NameCache(
    {
      resolve: (host) =>
        new Promise((resolve, reject) => {
          asked.push({ host, answer: resolve, fail: (message) => reject(new Error(message)) });
        }),
    },
    clock,
  );
});

test('many requests for one name ask once, and again when the answer is old', async () => {
  const waiting = [cache.resolve('a.example'), cache.resolve('a.example')];
  asked[0]?.answer('10.0.0.1');
  assert.deepEqual(await Promise.all(waiting), ['10.0.0.1', '10.0.0.1']);
  await clock.advance(4_900);
  assert.equal(await cache.resolve('a.example'), '10.0.0.1');
  assert.equal(asked.length, 1);
  await clock.advance(200);
  const later = cache.resolve('a.example');
  asked[1]?.answer('10.0.0.2');
  assert.equal(await later, '10.0.0.2');
});

test('a name that is not there is not asked for again at once, but soon', async () => {
  const first = cache.resolve('gone.example');
  asked[0]?.fail('ENOTFOUND');
  await assert.rejects(first, /ENOTFOUND/);
  await assert.rejects(cache.resolve('gone.example'), /ENOTFOUND/);
  assert.equal(asked.length, 1);
  await clock.advance(1_100);
  cache.resolve('gone.example').catch(() => undefined);
  assert.equal(asked.length, 2);
});

test('a resolver that does not answer is not waited for, and its answer still counts when it comes', async () => {
  const slow = cache.resolve('slow.example');
  const failed = assert.rejects(slow, /no answer from DNS within 5000 ms/);
  await clock.advance(5_100);
  await failed;
  assert.equal(clock.pendingTimers(), 0);
  asked[0]?.answer('10.0.0.1');
  await clock.advance(1_000);
  const again = cache.resolve('slow.example');
  asked[1]?.answer('10.0.0.1');
  assert.equal(await again, '10.0.0.1');
});

test('names beyond those that may be asked for at once are refused until one is answered', async () => {
  const waiting = Array.from({ length: 64 }, (_, index) => cache.resolve(`${index}.example`));
  await assert.rejects(cache.resolve('more.example'), /64 names are being looked up/);
  for (const question of asked) question.answer('10.0.0.1');
  await Promise.all(waiting);
  const more = cache.resolve('more.example');
  asked.at(-1)?.answer('10.0.0.9');
  assert.equal(await more, '10.0.0.9');
});

test('no more than 1,024 names are remembered', async () => {
  for (let index = 0; index < 1_100; index++) {
    const found = cache.resolve(`${index}.example`);
    asked.at(-1)?.answer('10.0.0.1');
    await found;
  }
  assert.equal(asked.length, 1_100);
  await cache.resolve('1099.example');
  assert.equal(asked.length, 1_100);
  cache.resolve('0.example').catch(() => undefined);
  assert.equal(asked.length, 1_101);
});
