import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { der, OID, octets, oid, parseDer, pem, sequence, set, tagged, time } from './der.ts';

test('a value comes back byte for byte', () => {
  const value = sequence(
    oid(OID.p256),
    set(octets('\0\xff')),
    tagged(6, 'spiffe://a'),
    tagged(0, [sequence()]),
  );
  assert.deepEqual(der(parseDer(der(value))), der(value));
});

test('bytes left over, cut off or made up are errors, never more', () => {
  const bytes = der(sequence(octets('abc')));
  assert.throws(() => parseDer(Buffer.concat([bytes, Buffer.from([0])])));
  for (let cut = 0; cut < bytes.length; cut++) assert.throws(() => parseDer(bytes.subarray(0, cut)));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (random) => {
      try {
        parseDer(Buffer.from(random));
      } catch (thrown) {
        assert.ok(thrown instanceof Error);
      }
    }),
  );
});

test('nesting without end is an error', () => {
  let bytes = Buffer.alloc(0);
  for (let level = 0; level < 20_000; level++) {
    const length = bytes.length;
    const head =
      length < 0x80 ? [0x30, length] : [0x30, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff];
    bytes = Buffer.concat([Buffer.from(head), bytes]);
  }
  assert.throws(() => parseDer(bytes));
});

test('years from 2050 on are written in full', () => {
  assert.match(der(time(Date.UTC(2049, 11, 31, 23, 59, 59))).toString('latin1'), /491231235959Z$/);
  assert.match(der(time(Date.UTC(2050, 0, 1))).toString('latin1'), /20500101000000Z$/);
});

test('PEM has lines of 64 characters', () => {
  const text = pem('CERTIFICATE', Buffer.alloc(100, 7));
  const lines = text.trimEnd().split('\n');
  assert.equal(lines[0], '-----BEGIN CERTIFICATE-----');
  assert.deepEqual(
    lines.slice(1, -1).map((line) => line.length),
    [64, 64, 8],
  );
  assert.equal(pem('X', Buffer.alloc(0)), '-----BEGIN X-----\n\n-----END X-----\n');
});
