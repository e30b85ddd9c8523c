import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hello, records } from '../../test/support/client-hello.ts';
import { readClientHello } from './client-hello.ts';

test('a hello is told by its marker, in one record or many, whole or byte by byte', () => {
  for (const [protocols, expected] of [
    [['heddle', 'http/1.1'], 'mesh'],
    [['h2', 'http/1.1'], 'foreign'],
    [['heddle-tcp'], 'foreign'],
    [[], 'foreign'],
  ] as const) {
    for (const size of [1, 3, 7, 40, 4_000]) {
      const bytes = records(hello(protocols), size);
      for (let length = 0; length < bytes.length; length++) {
        const verdict = readClientHello(bytes.subarray(0, length));
        if (typeof verdict === 'number') assert.ok(verdict > length && verdict <= bytes.length, `${verdict}`);
        else assert.equal(verdict, expected);
      }
      assert.equal(readClientHello(bytes), expected);
    }
  }
});

test('a mangled hello never reads beyond its bytes', () => {
  const bytes = records(hello(['heddle', 'http/1.1']), 4_000);
  for (let at = 0; at < bytes.length; at++) {
    for (const value of [0, 1, 127, 255]) {
      const mangled = Buffer.from(bytes);
      mangled[at] = value;
      const verdict = readClientHello(mangled);
      assert.ok(typeof verdict === 'number' || ['mesh', 'foreign', 'invalid'].includes(verdict));
    }
  }
});
