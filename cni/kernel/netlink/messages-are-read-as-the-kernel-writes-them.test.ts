import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leakCheck } from '../../../test/support/leak-check.ts';
import {
  attribute,
  be16,
  ip,
  mac,
  nested,
  readAttributes,
  readIp,
  readMac,
  readText,
  readU32,
  text,
  u8,
  u32,
} from './attributes.ts';
import { dumpAttemptsMax, readMessages, untilWhole } from './socket.ts';

leakCheck();

function message(sequence: number, body: Buffer): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt32LE(16 + body.length, 0);
  head.writeUInt16LE(24, 4);
  head.writeUInt16LE(2, 6);
  head.writeUInt32LE(sequence, 8);
  return Buffer.concat([head, body, Buffer.alloc(-body.length & 3)]);
}

test('attributes have a length, a type and a value, padded to four bytes', () => {
  assert.equal(u8(7, 1).toString('hex'), '0500070001000000');
  assert.equal(u32(4, 0x01020304).toString('hex'), '0800040004030201');
  assert.equal(be16(15, 4789).toString('hex'), '06000f0012b50000');
  assert.equal(text(3, 'lo').toString('hex'), '070003006c6f0000');
  assert.equal(ip(1, '10.0.0.1').toString('hex'), '080001000a000001');
  assert.equal(nested(18, u8(1, 2)).toString('hex'), '0c0012800500010002000000');
});

test('what was written is read again', () => {
  const all = Buffer.concat([
    ...[text(3, 'eth0'), u32(4, 1450), ip(1, 'fd00::1'), ip(2, '192.0.2.7')],
    ...[mac(5, '02:00:0a:FF:00:01'), nested(18, u8(1, 9))],
  ]);
  const read = readAttributes(Buffer.concat([Buffer.alloc(16), all]), 16);
  assert.equal(readText(read.get(3)), 'eth0');
  assert.equal(readU32(read.get(4)), 1450);
  assert.equal(readIp(read.get(1)), 'fd00::1');
  assert.equal(readIp(read.get(2)), '192.0.2.7');
  assert.equal(readMac(read.get(5)), '02:00:0a:ff:00:01');
  assert.deepEqual([...readAttributes(read.get(18) ?? Buffer.alloc(0))], [[1, Buffer.from([9])]]);
});

test('attributes that are cut or too short end the list', () => {
  const whole = u32(1, 5);
  for (const cut of [
    attribute(2, Buffer.alloc(8)).subarray(0, 10),
    Buffer.from('0300020000000000', 'hex'),
    Buffer.alloc(3),
  ])
    assert.deepEqual([...readAttributes(Buffer.concat([whole, cut])).keys()], [1]);
});

test('text that is no MAC address is refused', () => {
  for (const wrong of ['', '02:00:00:00:00', '02:00:00:00:00:0g', '020000000001'])
    assert.throws(() => mac(1, wrong), { code: 'mac-address' }, wrong);
});

test('a datagram holds several messages; those of another request are left out', () => {
  const bodies = [Buffer.from('one'), Buffer.from('four'), Buffer.from('three')];
  const datagram = Buffer.concat(bodies.map((body, index) => message(index === 1 ? 8 : 9, body)));
  const read = readMessages(datagram, 9);
  assert.deepEqual(
    read.map(({ type, flags, body }) => [type, flags, body.toString()]),
    [
      [24, 2, 'one'],
      [24, 2, 'three'],
    ],
  );
});

test('a datagram that is cut is an error', () => {
  const whole = message(9, Buffer.alloc(8));
  assert.throws(() => readMessages(whole.subarray(0, 20), 9), { code: 'EPROTO' });
  whole.writeUInt32LE(15, 0);
  assert.throws(() => readMessages(whole, 9), { code: 'EPROTO' });
});

test(`a list that changes while it is read is read ${dumpAttemptsMax} times at most`, () => {
  let reads = 0;
  assert.equal(
    untilWhole('list', () => (++reads === dumpAttemptsMax ? reads : undefined)),
    dumpAttemptsMax,
  );
  reads = 0;
  const never = () => untilWhole('list routes', () => void reads++);
  assert.throws(never, { code: 'EINTR', message: /list routes: it changed each of 16 times/ });
  assert.equal(reads, dumpAttemptsMax);
});
