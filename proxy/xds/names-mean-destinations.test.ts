import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namesFor } from './subscriptions.ts';

const CATALOG = 'catalog.shop.svc.cluster.local:80';

const CASES: readonly (readonly [host: string, names: readonly string[]])[] = [
  ['catalog', [CATALOG]],
  ['CATALOG.Shop', [CATALOG]],
  ['catalog.shop.svc', [CATALOG]],
  ['catalog.shop.svc.cluster.local', [CATALOG]],
  ['catalog.shop.svc.cluster.local.', [CATALOG]],
  ['pod-0.catalog.shop.svc.cluster.local', ['pod-0.catalog.shop.svc.cluster.local:80']],
  ['10.96.0.1', ['10.96.0.1:80']],
  // One IPv6 address has many spellings; a destination has one name.
  ['[fd10:96::1]', ['[fd10:96::1]:80']],
  ['fd10:96::1', ['[fd10:96::1]:80']],
  ['FD10:0096:0:0::1', ['[fd10:96::1]:80']],
  ['fe80::1%eth0', ['[fe80::1]:80']],
  ['::ffff:10.96.0.1', ['10.96.0.1:80']],
  ['[::FFFF:0a60:1]', ['10.96.0.1:80']],
  // Outside the mesh by their form.
  ['', []],
  ['localhost', []],
  ['catalog.', []],
  ['example.com.', []],
  ['www.example.com', []],
  ['a.b.c.d.e', []],
  ['catalog.shop.svc.cluster.local..', []],
  // No name that DNS could carry: the control plane is not even asked.
  ['cat alog', []],
  ['catalog#', []],
  ['catalog/..', []],
  ['cat"alog', []],
  ['catalog\n', []],
  ['*', []],
  ['-catalog', []],
  ['catalog-', []],
  ['.svc.cluster.local', []],
  ['..svc.cluster.local', []],
  ['bücher', []],
  ['ca\u0000talog', []],
  ['[::1', []],
  ['a'.repeat(64), []],
  [`${'a.'.repeat(120)}svc.cluster.local`, []],
];

for (const [host, names] of CASES) {
  test(`${JSON.stringify(host.slice(0, 50))} means ${names[0] ?? 'nothing of the mesh'}`, () => {
    assert.deepEqual(namesFor(host, 80, 'shop'), names);
  });
}

test('an internationalised name is taken in the form that goes over the wire', () => {
  assert.deepEqual(namesFor('xn--bcher-kva', 80, 'shop'), ['xn--bcher-kva.shop.svc.cluster.local:80']);
});
