import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSpiffeId, spiffeId } from './spiffe.ts';

const WEB = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };

test('an identity is read back as it was written', () => {
  assert.equal(spiffeId(WEB), 'spiffe://cluster.local/ns/shop/sa/web');
  assert.deepEqual(parseSpiffeId(spiffeId(WEB)), WEB);
  const dotted = { trustDomain: 'a_b.example-1', namespace: 'n', serviceAccount: 'a.b-c' };
  assert.deepEqual(parseSpiffeId(spiffeId(dotted)), dotted);
});

for (const text of [
  '',
  'spiffe://cluster.local',
  'spiffe://cluster.local/ns/shop',
  'spiffe://cluster.local/ns/shop/sa/',
  'spiffe://cluster.local/ns//sa/web',
  'spiffe:///ns/shop/sa/web',
  'spiffe://cluster.local/ns/shop/sa/web/',
  'spiffe://cluster.local/ns/shop/sa/web/more',
  'spiffe://cluster.local/ns/shop/sa/web?x',
  'spiffe://cluster.local/ns/shop/sa/web#x',
  'spiffe://cluster.local/ns/shop/sa/we b',
  'spiffe://cluster.local/ns/shop/sa/web\n',
  'spiffe://cluster.local/ns/shop/sa/web, URI:spiffe://cluster.local/ns/shop/sa/other',
  'spiffe://cluster.local/ns/shop/sa/%77eb',
  'spiffe://cluster.local/ns/../sa/web',
  'spiffe://cluster.local/ns/Shop/sa/web',
  'spiffe://Cluster.local/ns/shop/sa/web',
  'spiffe://user@cluster.local/ns/shop/sa/web',
  'spiffe://cluster.local:443/ns/shop/sa/web',
  'SPIFFE://cluster.local/ns/shop/sa/web',
  ' spiffe://cluster.local/ns/shop/sa/web',
  `spiffe://cluster.local/ns/${'n'.repeat(64)}/sa/web`,
  `spiffe://cluster.local/ns/shop/sa/${'s'.repeat(254)}`,
  `spiffe://${'t'.repeat(256)}/ns/shop/sa/web`,
]) {
  test(`${JSON.stringify(text.slice(0, 90))} is nobody`, () => {
    assert.equal(parseSpiffeId(text), undefined);
  });
}
