import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '../../model/objects.ts';
import { sourcePod } from './source-pod.ts';
import { isOutside, unknownHost } from './unknown-host.ts';

function pod(
  namespace: string,
  deployment: string,
  suffix: string,
  more: { meshed?: boolean; ready?: boolean } = {},
): KubeObject {
  const { meshed = true, ready = true } = more;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...{ name: `${deployment}-abc123-${suffix}`, namespace, labels: { app: deployment } },
      annotations: meshed ? { 'heddle.dev/injected': 'default' } : {},
      ownerReferences: [{ kind: 'ReplicaSet', name: `${deployment}-abc123` }],
    },
    status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
  };
}
const service = (namespace: string, name: string): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace } },
  spec: { ports: [{ name: 'http', port: 80 }, { port: 9090 }] },
});
const WORLD = [
  pod('shop', 'web', 'one', { ready: false }),
  pod('shop', 'web', 'two'),
  pod('shop', 'web-admin', 'one'),
  pod('plain', 'tool', 'one', { meshed: false }),
  service('shop', 'catalog'),
  service('bank', 'ledger'),
];
const refusal = (text: string) => {
  try {
    sourcePod(text, WORLD);
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : '';
  }
  return assert.fail(`${text} was found`);
};

test('a pod is found by its name, its Deployment and its app label, a ready one first', () => {
  assert.equal(sourcePod('shop/web-abc123-one', WORLD).pod, 'web-abc123-one');
  assert.equal(sourcePod('shop/web', WORLD).pod, 'web-abc123-two');
  assert.equal(sourcePod('pod/shop/web', WORLD).pod, 'web-abc123-two');
  assert.equal(sourcePod('shop/web-admin', WORLD).pod, 'web-admin-abc123-one');
  assert.deepEqual(sourcePod('shop', WORLD), { namespace: 'shop', pod: undefined });
});

test('an unknown namespace or pod is told with what there is and may be meant', () => {
  assert.match(
    refusal('shpo/web'),
    /no namespace "shpo" \(did you mean "shop"\?\); there are bank, plain, shop/,
  );
  assert.match(refusal('web'), /no namespace "web" \(did you mean "shop\/web"\?\)/);
  assert.match(
    refusal('shop/wbe'),
    /no pod "wbe" in namespace shop \(did you mean "web"\?\); it has pods of web, web-admin/,
  );
  assert.match(refusal('bank/x'), /it has no pods/);
  assert.match(refusal('a/b/c'), /NAMESPACE\/POD/);
});

test('a pod without a sidecar is refused with the reason', () => {
  assert.match(refusal('plain/tool'), /plain\/tool-abc123-one has no sidecar/);
});

const hosts = (url: string) => unknownHost(new URL(url), 'shop', WORLD).message;

test('a host of the cluster that is no destination is told by what is wrong with it', () => {
  assert.match(
    hosts('http://catlog/'),
    /no Service "catlog" in namespace shop \(did you mean "catalog"\?\); it has catalog/,
  );
  assert.match(
    hosts('http://catalog:8080/'),
    /Service shop\/catalog has no port 8080; it has 80 \(http\), 9090/,
  );
  assert.match(hosts('http://ledger/'), /namespace bank has one: http:\/\/ledger\.bank/);
  assert.match(hosts('http://x.plain/'), /no Service "x" in namespace plain; it has no Services/);
});

test('names of the world outside are told apart from those of the cluster', () => {
  assert.equal(isOutside('example.com.', 'shop', WORLD), true);
  assert.equal(isOutside('api.example.com', 'shop', WORLD), true);
  assert.equal(isOutside('192.0.2.7', 'shop', WORLD), true);
  assert.equal(isOutside('example.com', 'shop', WORLD), true);
  assert.equal(isOutside('ledgr.bank', 'shop', WORLD), false);
  assert.equal(isOutside('catalog', 'shop', WORLD), false);
  assert.equal(isOutside('catalog.shop.svc.cluster.local', 'shop', WORLD), false);
});
