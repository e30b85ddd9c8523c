import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostsReadMax, parseAuthority, parseHost } from './authority.ts';

test('a host that was read before means what it meant', () => {
  for (const text of ['catalog', 'catalog:8080', '[::1]:81', 'catalog:', '10.0.0.1', 'a:0', 'a b', '']) {
    const expected = parseAuthority(text, 80);
    for (let round = 0; round < 2; round++) assert.deepEqual(parseHost(text), expected, text);
  }
});

test('more hosts than are remembered are read all the same', () => {
  for (let round = 0; round < 2; round++) {
    for (let index = 0; index < hostsReadMax + 10; index++)
      assert.deepEqual(parseHost(`host-${index}:8080`), { host: `host-${index}`, port: 8080 });
  }
});
