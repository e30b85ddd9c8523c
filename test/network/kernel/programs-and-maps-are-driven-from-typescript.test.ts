import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type BpfObject, openObject, RingReader } from '../../../cni/kernel/libbpf.ts';
import { netnsCookie, sameNetns } from '../../../cni/kernel/netns.ts';
import { compileBpf } from '../../support/network/compile-bpf.ts';

const SOURCE = fileURLToPath(new URL('fixtures/kernel.bpf.c', import.meta.url));
const REFUSED = fileURLToPath(new URL('fixtures/refused.bpf.c', import.meta.url));
const path = compileBpf(SOURCE);

const filesBefore = openFiles();
after(() => assert.equal(openFiles(), filesBefore));

function openFiles(): number {
  return readdirSync('/proc/self/fd').length;
}

function u32(...numbers: number[]): Buffer {
  const bytes = Buffer.alloc(numbers.length * 4);
  for (const [index, number] of numbers.entries()) bytes.writeUInt32LE(number, index * 4);
  return bytes;
}

function u64(number: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(number);
  return bytes;
}

function loaded(): BpfObject {
  return openObject(path).load();
}

const PACKET = Buffer.alloc(64, 0xaa);

test('a program runs on a packet: what it returns, what it writes, what its maps hold', () => {
  using object = openObject(path)
    .setRodata({ wanted_bytes: Buffer.from([9, 8, 7, 6]) })
    .load();
  const run = object.program('packets').testRun({ data: PACKET, repeat: 3 });
  assert.equal(run.returned, 2);
  assert.equal(run.data.length, PACKET.length);
  assert.equal(run.data[14], 9);
  const counts = object.map('a_counter').lookupPerCpu(u32(0)) ?? [];
  assert.equal(
    counts.reduce((sum, bytes) => sum + bytes.readUInt32LE(0), 0),
    3,
  );
});

test('a lookup program is asked with a context alone', () => {
  using object = loaded();
  const context = (port: number) => {
    const bytes = Buffer.alloc(72);
    bytes.writeUInt32LE(2, 8);
    bytes.writeUInt32LE(6, 12);
    bytes.writeUInt32LE(port, 60);
    return bytes;
  };
  const lookup = object.program('lookup');
  assert.equal(lookup.testRun({ context: context(7777) }).returned, 0);
  assert.equal(lookup.testRun({ context: context(7776) }).returned, 1);
});

test('records of a ring come in order, and none twice', () => {
  using object = loaded();
  const lengths: number[] = [];
  using ring = new RingReader(object.map('a_ring'), (record) => lengths.push(record.readUInt32LE(0)));
  for (const bytes of [60, 70, 80]) object.program('packets').testRun({ data: Buffer.alloc(bytes) });
  ring.poll();
  ring.poll();
  assert.deepEqual(lengths, [60, 70, 80]);
});

test('a hash takes many entries at once, shows all of them and forgets what it is told to', () => {
  using object = loaded();
  const map = object.map('a_hash_with_a_long_name');
  const entries = Array.from({ length: 5_000 }, (_, n) => [u32(n, 1), u64(BigInt(n))] as const);
  map.updateBatch(entries);
  assert.equal(map.entries().length, 5_000);
  assert.deepEqual(map.lookup(u32(77, 1)), u64(77n));
  assert.equal(map.delete(u32(77, 1)), true);
  assert.equal(map.delete(u32(77, 1)), false);
  assert.equal(map.lookup(u32(77, 1)), undefined);
  assert.equal(map.keys().length, 4_999);
});

test('a trie finds the longest prefix and is walked whole', () => {
  using object = loaded();
  const trie = object.map('a_trie');
  trie.update(u32(8, 0x0a), u32(1));
  trie.update(u32(16, 0x010a), u32(2));
  trie.update(u32(0, 0), u32(3));
  assert.deepEqual(trie.lookup(u32(32, 0x0000010a)), u32(2));
  assert.deepEqual(trie.lookup(u32(32, 0x0000020a)), u32(1));
  assert.deepEqual(trie.lookup(u32(32, 0x0b)), u32(3));
  assert.equal(trie.entries().length, 3);
});

test('a full map says so, and so does a key of the wrong size', () => {
  using object = openObject(path).setMaxEntries('a_hash_with_a_long_name', 4).load();
  const map = object.map('a_hash_with_a_long_name');
  for (let n = 0; n < 4; n++) map.update(u32(n, 0), u64(0n));
  assert.throws(() => map.update(u32(9, 0), u64(0n)), /E2BIG/);
  assert.throws(() => map.update(u32(9), u64(0n)), /key/);
});

test('maps are shared between objects', () => {
  using first = loaded();
  using second = openObject(path).reuseMaps(first.maps.entries()).load();
  second.map('an_array').update(u32(1), u32(42));
  assert.deepEqual(first.map('an_array').lookup(u32(1)), u32(42));
});

test('a program that the verifier refuses is an error with its reason', () => {
  assert.throws(
    () => openObject(compileBpf(REFUSED)).load(),
    (error: Error & { code?: string }) => /invalid|R\d/.test(error.message) && error.code === 'EACCES',
  );
});

test('constants and programs that are not there are told by name', () => {
  using open = openObject(path);
  assert.throws(() => open.setRodata({ nothing: u32(1) }), /has no constant nothing/);
  assert.throws(() => open.setRodata({ wanted_mark: Buffer.alloc(2) }), /has 4 bytes, not 2/);
  assert.throws(() => openObject('/nowhere.o'), /ENOENT/);
});

test('a namespace has one cookie, and is known again', () => {
  assert.equal(netnsCookie(undefined), netnsCookie('/proc/self/ns/net'));
  assert.notEqual(netnsCookie(undefined), 0n);
  assert.equal(sameNetns(undefined, '/proc/self/ns/net'), true);
});
