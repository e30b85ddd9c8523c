import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressNumber, numberText, readBlock } from './block.ts';

const CASES = [
  ['10.244.1.0/24', '10.244.1.2', '10.244.1.254', 253n],
  ['10.244.1.77/24', '10.244.1.2', '10.244.1.254', 253n],
  ['10.244.0.0/16', '10.244.0.2', '10.244.255.254', 65_533n],
  ['10.0.0.0/30', '10.0.0.2', '10.0.0.2', 1n],
  ['10.0.0.0/31', '10.0.0.0', '10.0.0.1', 2n],
  ['10.0.0.9/32', '10.0.0.9', '10.0.0.9', 1n],
  ['fd10:244:0:1::/64', 'fd10:244:0:1::2', 'fd10:244:0:1:ffff:ffff:ffff:ff7f', (1n << 64n) - 130n],
  ['fd10::/112', 'fd10::2', 'fd10::ff7f', 65_406n],
  ['fd10::/120', 'fd10::2', 'fd10::ff', 254n],
  ['fd10::/127', 'fd10::', 'fd10::1', 2n],
  ['fd10::1/128', 'fd10::1', 'fd10::1', 1n],
] as const;

test("networks', routers', broadcast and anycast addresses are given to nobody", () => {
  for (const [cidr, first, last, usable] of CASES) {
    const block = readBlock(cidr);
    assert.deepEqual(
      [numberText(block.first), numberText(block.last), block.usable],
      [first, last, usable],
      cidr,
    );
  }
});

test('addresses survive being numbers', () => {
  for (const text of ['0.0.0.0', '255.255.255.255', '10.244.1.2', '::', '::1', 'fd10:244::ffff'])
    assert.equal(numberText(addressNumber(text)), text);
});

test('what is no block is refused by name', () => {
  for (const text of ['', '10.0.0.0', '10.0.0.0/33', 'fd10::/129', '10.0.0/24', 'x/8'])
    assert.throws(() => readBlock(text), new RegExp(`"${text.replace('/', '\\/')}" is no CIDR`));
});
