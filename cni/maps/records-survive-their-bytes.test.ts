import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressBytes, addressText, noAddress } from '../../common/address.ts';
import { protocolName } from './constants.ts';
import { dropReason } from './drops.ts';
import * as layout from './layouts.ts';
import { decode, encode, u32 } from './struct.ts';

const mac = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 6, maxLength: 6 }).map((bytes) =>
  Buffer.from(bytes)
    .toString('hex')
    .replace(/..(?=.)/g, '$&:'),
);
const address = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes));
const record = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(fields, { noNullPrototype: true });
const word = fc.integer({ min: 0, max: 0xffff_ffff });
const port = fc.integer({ min: 0, max: 0xffff });

test('what is written is read again, for any value of every kind of field', () => {
  const endpoints = record({
    node: address,
    ...{ ifindex: word, identity: word, flags: word, ingressSet: word, egressSet: word, podId: word },
    ...{ mac, hostMac: mac },
  });
  fc.assert(
    fc.property(endpoints, (one) =>
      assert.deepEqual(decode(layout.endpoint, encode(layout.endpoint, one)), one),
    ),
  );
  const keys = record({
    frontend: record({
      address,
      port,
      protocol: fc.integer({ min: 0, max: 255 }),
      scope: fc.integer({ min: 0, max: 1 }),
    }),
    client: address,
    netnsCookie: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
  });
  fc.assert(
    fc.property(keys, (one) =>
      assert.deepEqual(decode(layout.affinityKey, encode(layout.affinityKey, one)), one),
    ),
  );
});

test('ports and addresses are in network order, other numbers little-endian', () => {
  const frontend = { address: addressBytes('10.96.0.1'), port: 443, protocol: 6, scope: 1 };
  assert.equal(encode(layout.frontend, frontend).toString('hex'), '00000000000000000000ffff0a60000101bb0601');
  const listener = { podId: 7, port: 15_001, family: 4 };
  assert.equal(encode(layout.listenerKey, listener).toString('hex'), '07000000993a0400');
  const rule = { bits: 88, set: 1, peer: 0x8000_0002, protocol: 17, port: 53 };
  assert.equal(encode(layout.policyKey, rule).toString('hex'), '580000000100000002000080110035' + '00');
});

test('what lies between fields is zero, so that equal keys have equal bytes', () => {
  const bytes = encode(layout.affinityKey, {
    frontend: { address: noAddress(), port: 0, protocol: 0, scope: 0 },
    client: noAddress(),
    netnsCookie: 0xffff_ffff_ffff_ffffn,
  });
  assert.equal(bytes.subarray(36, 40).toString('hex'), '00000000');
});

test('a record read from a buffer does not change when the buffer does', () => {
  const bytes = encode(layout.translated, { address: addressBytes('fd00::1'), port: 80 });
  const read = decode(layout.translated, bytes);
  bytes.fill(0);
  assert.equal(addressText(read.address), 'fd00::1');
});

test('too few bytes, a bad address and a bad MAC are errors that say so', () => {
  assert.throws(() => decode(u32, Buffer.alloc(3)), { code: 'map-value-size' });
  assert.throws(() => encode(layout.translated, { address: Buffer.alloc(4), port: 1 }), { code: 'address' });
  const endpoint = decode(layout.endpoint, Buffer.alloc(layout.endpoint.sizeBytes));
  assert.throws(() => encode(layout.endpoint, { ...endpoint, mac: '02:00' }), { code: 'mac-address' });
});

test('numbers of another version have a name as well', () => {
  assert.equal(protocolName(6), 'TCP');
  assert.equal(protocolName(47), '47');
  assert.equal(dropReason(1).name, 'policy');
  assert.match(dropReason(99).sentence, /another version/);
});
