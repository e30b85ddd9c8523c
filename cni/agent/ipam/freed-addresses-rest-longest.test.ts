import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressNumber, numberText, readBlock } from './block.ts';
import { AddressPool, freedAddressesMax } from './pool.ts';

function give(pool: AddressPool): string | undefined {
  const address = pool.peek();
  if (address === undefined) return undefined;
  pool.take(address);
  return numberText(address);
}

test('addresses never given come first, then the one freed longest ago', () => {
  const pool = new AddressPool(readBlock('10.0.0.0/29'));
  assert.deepEqual([give(pool), give(pool), give(pool)], ['10.0.0.2', '10.0.0.3', '10.0.0.4']);
  pool.release(addressNumber('10.0.0.3'));
  pool.release(addressNumber('10.0.0.2'));
  assert.deepEqual([give(pool), give(pool)], ['10.0.0.5', '10.0.0.6']);
  assert.deepEqual([give(pool), give(pool), give(pool)], ['10.0.0.3', '10.0.0.2', undefined]);
});

test('the order outlives a restart', () => {
  const pool = new AddressPool(readBlock('10.0.0.0/29'));
  for (let count = 0; count < 5; count++) give(pool);
  for (const address of ['10.0.0.4', '10.0.0.2', '10.0.0.6']) pool.release(addressNumber(address));
  const again = new AddressPool(readBlock('10.0.0.0/29'));
  const { next, freed } = pool.memory();
  again.recall(next, freed);
  for (const address of ['10.0.0.3', '10.0.0.5']) again.take(addressNumber(address));
  assert.deepEqual([give(again), give(again), give(again)], ['10.0.0.4', '10.0.0.2', '10.0.0.6']);
});

test('an address that was found in use is passed over, one outside the block is not counted', () => {
  const pool = new AddressPool(readBlock('10.0.0.0/29'));
  for (const address of ['10.0.0.2', '10.0.0.4', '10.9.9.9']) pool.take(addressNumber(address));
  assert.equal(pool.given(), 2);
  assert.deepEqual(
    [give(pool), give(pool), give(pool), give(pool)],
    ['10.0.0.3', '10.0.0.5', '10.0.0.6', undefined],
  );
});

test('a /64 costs memory for what was given only, and forgets what was freed long ago', () => {
  const pool = new AddressPool(readBlock('fd10::/64'));
  for (let count = 0; count < freedAddressesMax + 10; count++) {
    const address = pool.peek();
    assert.ok(address !== undefined);
    pool.take(address);
    pool.release(address);
  }
  assert.equal(pool.given(), 0);
  assert.equal(pool.memory().freed.length, freedAddressesMax);
  assert.equal(give(pool), numberText(addressNumber('fd10::2') + BigInt(freedAddressesMax + 10)));
});

test('a block of which more was freed than is remembered is still given whole', () => {
  const block = { ...readBlock('10.0.0.0/15') };
  const pool = new AddressPool(block);
  const all = Number(block.usable);
  for (let count = 0; count < all; count++) pool.take(block.first + BigInt(count));
  for (let count = 0; count < all; count++) pool.release(block.first + BigInt(count));
  const given = new Set<bigint>();
  for (let address = pool.peek(); address !== undefined; address = pool.peek()) {
    assert.ok(!given.has(address));
    given.add(address);
    pool.take(address);
  }
  assert.equal(given.size, all);
});
