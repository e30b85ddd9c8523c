import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostsRememberedMax, NamesLately } from './names-lately.ts';
import { namesFor } from './subscriptions.ts';

test('what is remembered is what would be found out anew, for each port', () => {
  const names = new NamesLately('shop');
  const asked = ['catalog', 'catalog.shop', '10.0.0.1', '[::1]', 'example.com', 'Catalog'];
  for (let round = 0; round < 2; round++) {
    for (const host of asked)
      for (const port of [80, 8080]) assert.deepEqual(names.for(host, port), namesFor(host, port, 'shop'));
  }
  assert.equal(names.for('catalog', 80), names.for('catalog', 80));
});

test('hosts without end fill nothing', () => {
  const names = new NamesLately('shop');
  for (let index = 0; index < hostsRememberedMax * 2 + 10; index++) names.for(`name-${index}`, 80);
  assert.ok(names.size <= hostsRememberedMax);
});
