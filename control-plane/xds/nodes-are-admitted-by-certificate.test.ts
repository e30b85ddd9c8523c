import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerCertificate } from 'node:tls';
import type { Node } from '../../common/gen/envoy/config/core/v3/base.ts';
import { Node as NodeCodec } from '../../common/gen/envoy/config/core/v3/base.ts';
import { meshOf, SHOP } from '../../test/support/small-mesh.ts';
import { admit } from './admission.ts';

const NOW_MS = Date.UTC(2026, 0, 1);
const ID = 'sidecar~10.244.0.1~web.shop~shop.svc.cluster.local';
const WEB = 'URI:spiffe://cluster.local/ns/shop/sa/web';
const MESH = meshOf(SHOP);

interface Case {
  readonly names?: string;
  readonly id?: string;
  readonly validTo?: string;
  readonly metadata?: unknown;
  readonly node?: 'none';
}

function admission({
  names = WEB,
  id = ID,
  validTo = 'Jan  2 00:00:00 2026 GMT',
  metadata,
  node,
}: Case = {}) {
  const peer = { subjectaltname: names, valid_to: validTo } as PeerCertificate;
  const said: Node = NodeCodec.fromPartial({
    id,
    ...(metadata === undefined ? {} : { metadata: { 'heddle.dev': metadata } }),
  });
  return admit(node === 'none' ? undefined : said, peer, MESH, NOW_MS);
}

test('a certificate and the id of a pod of its account are let in, until the certificate ends', () => {
  assert.deepEqual(admission(), {
    kind: 'admitted',
    expiresAtMs: NOW_MS + 24 * 3_600_000,
    node: {
      nodeId: ID,
      identity: 'spiffe://cluster.local/ns/shop/sa/web',
      client: { namespace: 'shop', pod: 'web', bind: {} },
    },
  });
});

const id = (pod: string, namespace = 'shop') =>
  `sidecar~10.244.0.1~${pod}.${namespace}~${namespace}.svc.cluster.local`;

const REFUSED: readonly (readonly [string, Case, RegExp])[] = [
  ['expired', { validTo: 'Jan  1 00:00:00 2026 GMT' }, /expired/],
  ['without a time', { validTo: '' }, /expired/],
  ['without names', { names: '' }, /no SPIFFE ID/],
  ['with a DNS name only', { names: 'DNS:web' }, /no SPIFFE ID/],
  ['with two identities', { names: `${WEB}, ${WEB.replace('web', 'catalog')}` }, /no SPIFFE ID/],
  ['with an identity in quotes', { names: `"${WEB}, x"` }, /no SPIFFE ID/],
  ['with another URI', { names: 'URI:https://cluster.local/ns/shop/sa/web' }, /no SPIFFE ID/],
  ['of another trust domain', { names: WEB.replace('cluster.local', 'elsewhere') }, /trust domain/],
  ['of another namespace', { names: WEB.replace('/shop/', '/bank/') }, /may not act for sidecar~/],
  [
    'of another account',
    { id: id('catalog') },
    /may not act for pod shop\/catalog of service account catalog/,
  ],
  ['with no node', { node: 'none' }, /must name the node/],
  [
    'with an id in another form',
    { id: 'router~10.244.0.1~web.shop~shop.svc.cluster.local' },
    /node id must be/,
  ],
  ['with an id of two namespaces', { id: 'sidecar~1~web.shop~bank.svc.cluster.local' }, /node id must be/],
  ['with an id that is too long', { id: id('w'.repeat(600)) }, /node id must be/],
  ['with an empty id', { id: '' }, /node id must be/],
  ['with metadata that is a word', { metadata: 'x' }, /must be an object/],
  ['with metadata that is a list', { metadata: [1] }, /must be an object/],
  ['with unknown metadata', { metadata: { inboundPort: 1 } }, /inboundPort is not known/],
  ['with a host name to bind', { metadata: { outboundAddress: 'localhost' } }, /must be an IP address/],
  ['with a number to bind', { metadata: { outboundAddress: 7 } }, /must be an IP address/],
  ['with a port beyond all', { metadata: { outboundPort: 65_536 } }, /must be a port number/],
  ['with half a port', { metadata: { outboundPort: 1.5 } }, /must be a port number/],
  ['with a port in words', { metadata: { outboundPort: '80' } }, /must be a port number/],
];

for (const [what, refused, reason] of REFUSED) {
  test(`refused: a client ${what}`, () => {
    const result = admission(refused);
    assert.equal(result.kind, 'refused');
    assert.match(result.kind === 'refused' ? result.reason : '', reason);
  });
}

test('a pod that is not known yet may become known', () => {
  const result = admission({ id: id('web-2') });
  assert.deepEqual(result, { kind: 'unknown-pod', reason: 'pod shop/web-2 is not known' });
});

test('a stock Envoy says where its outbound listener binds', () => {
  const bind = (metadata: object) => {
    const result = admission({ metadata });
    return result.kind === 'admitted' ? result.node.client.bind : result.reason;
  };
  assert.deepEqual(bind({ outboundAddress: '127.0.0.1', outboundPort: 0 }), {
    address: '127.0.0.1',
    port: 0,
  });
  assert.deepEqual(bind({ outboundAddress: 'fd00::1' }), { address: 'fd00::1' });
  assert.deepEqual(bind({}), {});
});
