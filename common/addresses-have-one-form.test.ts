import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  addressBytes,
  addressText,
  anyAddress,
  isMapped,
  isNoAddress,
  masked,
  noAddress,
  parsePrefix,
  prefixHolds,
  prefixText,
} from './address.ts';

const forms: readonly (readonly [string, string, string])[] = [
  ['10.244.1.3', '00000000000000000000ffff0af40103', '10.244.1.3'],
  ['0.0.0.0', '00000000000000000000ffff00000000', '0.0.0.0'],
  ['::ffff:10.0.0.1', '00000000000000000000ffff0a000001', '10.0.0.1'],
  ['::', '00000000000000000000000000000000', '::'],
  ['::1', '00000000000000000000000000000001', '::1'],
  ['FD10:0244:0:0::3', 'fd100244000000000000000000000003', 'fd10:244::3'],
  ['2001:db8:0:1:1:1:1:1', '20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '20010000000000010000000000000001', '2001:0:0:1::1'],
  ['2001:db8::1:0:0:1', '20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
  ['1::', '00010000000000000000000000000000', '1::'],
];
for (const [text, hex, canonical] of forms) {
  test(`${text} is ${hex} in maps and ${canonical} for people`, () => {
    assert.equal(addressBytes(text).toString('hex'), hex);
    assert.equal(addressText(Buffer.from(hex, 'hex')), canonical);
  });
}

test('any address is the same after it was text', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc
      .array(fc.constantFrom(0, 0, 0, 1, 0xff), { minLength: 16, maxLength: 16 })
      .map((all) => Uint8Array.from(all)),
    fc.ipV4().map((text) => addressBytes(text)),
  );
  fc.assert(fc.property(bytes, (one) => assert.deepEqual([...addressBytes(addressText(one))], [...one])));
});

test('what is no address, or names a zone, is refused', () => {
  for (const text of [
    '',
    '10.0.0',
    '10.0.0.256',
    '010.0.0.1',
    'fe80::1%eth0',
    ':::',
    '1:2:3:4:5:6:7:8:9',
    'web',
  ])
    assert.throws(() => addressBytes(text), { code: 'address' });
});

test('a range loses the bits behind its length and is written as it was', () => {
  assert.equal(prefixText(parsePrefix('10.1.2.3/8')), '10.0.0.0/8');
  assert.deepEqual(parsePrefix('10.0.0.0/8').bits, 104);
  assert.equal(prefixText(parsePrefix('fd00:1::ffff/33')), 'fd00:1::/33');
  assert.equal(prefixText(parsePrefix('0.0.0.0/0')), '0.0.0.0/0');
  assert.equal(prefixText(parsePrefix('::/0')), '::/0');
});

test('what is no range is refused', () => {
  for (const text of [
    '10.0.0.0',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '/8',
    'a/8',
  ])
    assert.throws(() => parsePrefix(text), { code: 'cidr' });
});

test('a range holds what Node says it holds', () => {
  const v4 = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }), fc.constant('ipv4' as const));
  const v6 = fc.tuple(fc.ipV6(), fc.integer({ min: 1, max: 128 }), fc.constant('ipv6' as const));
  const flips = fc.integer({ min: 0, max: 127 });
  fc.assert(
    fc.property(fc.oneof(v4, v6), flips, ([text, bits, family], flip) => {
      const near = Buffer.from(addressBytes(text));
      const at = family === 'ipv4' ? 96 + (flip % 32) : flip;
      near[at >> 3] = (near[at >> 3] ?? 0) ^ (0x80 >> (at & 7));
      // Flipping a bit may make an IPv6 address look like an IPv4 one.
      fc.pre(isMapped(near) === (family === 'ipv4') && isMapped(addressBytes(text)) === (family === 'ipv4'));
      const list = new BlockList();
      list.addSubnet(text, bits, family);
      const prefix = parsePrefix(`${text}/${bits}`);
      assert.equal(prefixHolds(prefix, addressBytes(text)), true);
      assert.equal(prefixHolds(prefix, near), list.check(addressText(near), family));
      assert.ok(masked(near, prefix.bits).equals(prefix.address) === prefixHolds(prefix, near));
    }),
    { numRuns: 500 },
  );
});

test('none and any are told apart by family, and nobody else changes them', () => {
  assert.equal(addressText(anyAddress(4)), '0.0.0.0');
  assert.equal(addressText(anyAddress(6)), '::');
  assert.ok(isNoAddress(noAddress()));
  assert.ok(!isNoAddress(anyAddress(4)));
  noAddress().fill(1);
  anyAddress(4).fill(1);
  assert.ok(isNoAddress(noAddress()));
  assert.equal(addressText(anyAddress(4)), '0.0.0.0');
});
