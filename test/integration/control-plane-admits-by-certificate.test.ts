import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { systemClock } from '../../common/clock.ts';
import { type ResourceType, shortType, TYPE } from '../../common/wire/types.ts';
import { createAuthority, makeRoot } from '../../control-plane/ca/authority.ts';
import { leakCheck } from '../support/leak-check.ts';
import { CATALOG_KEY, clusterOf, pod, policy, route, service } from '../support/small-mesh.ts';
import { eventually } from '../support/wait.ts';
import { AdsClient, type AdsOptions, nodeIdOf } from './control-plane/ads-client.ts';
import { programmedOf, proxyOf } from './control-plane/api.ts';
import { certify, type PodCredentials } from './control-plane/credentials.ts';
import { foreignCredentials } from './mesh/foreign.ts';
import { startMesh, type TestMesh } from './mesh/harness.ts';
import { podObject } from './mesh/manifests.ts';

leakCheck();

const WEB = pod('shop', 'web', '127.244.0.1');
const BANK = pod('bank', 'teller', '127.244.0.2', 'web');
const URI = 'spiffe://cluster.local/ns/shop/sa/web';
const CATALOG = clusterOf('catalog');

let mesh: TestMesh;
let own: PodCredentials;
const clients: AdsClient[] = [];

before(async () => {
  mesh = await startMesh();
  const items = [
    ...[WEB, BANK].map(podObject),
    ...service('shop', 'catalog', '10.96.0.1'),
    ...service('shop', 'v1', '10.96.0.2'),
    route({
      ...{ namespace: 'shop', name: 'r', parent: 'shop/catalog' },
      rules: [{ backendRefs: [{ name: 'v1', port: 80 }] }],
    }),
    policy('TrafficPolicy', 'shop', 't', {
      targetRefs: [{ group: '', kind: 'Service', name: 'catalog' }],
      limits: { maxRequests: 9 },
    }),
    policy('MTLSPolicy', 'shop', 'm', { mode: 'STRICT' }),
  ];
  mesh.apply('shop.json', JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  own = await certify(mesh, WEB);
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});
after(() => mesh?.close());

function open(options: Partial<AdsOptions> = {}): AdsClient {
  const rootsPem = readFileSync(join(mesh.directory, 'state', 'root.pem'), 'utf8');
  const client = new AdsClient({ port: mesh.ports().xds, rootsPem, ...options });
  clients.push(client);
  return client;
}

/** A certificate with Web's identity, of a root that only bears the same name. */
function impostor() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const authority = createAuthority(makeRoot('cluster.local', 3_600_000, systemClock), systemClock);
  const publicKey = createPublicKey(privateKey);
  const { certificatePem } = authority.issue({ publicKey, uri: URI, ttlMs: 3_600_000 });
  const privateKeyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { certificateChainPem: certificatePem, privateKeyPem };
}

test('a pod with its certificate is served', async () => {
  const client = open({ own });
  client.hello(nodeIdOf(WEB), TYPE.cluster, CATALOG);
  const [response] = await client.received(1);
  assert.equal(response?.resources[0]?.name, CATALOG);
});

test('without a certificate only the CA is served', async () => {
  const client = open();
  client.hello(nodeIdOf(WEB), TYPE.cluster, CATALOG);
  assert.equal((await client.ended()).code, status.UNAUTHENTICATED);
});

test('a certificate of another root is none', async () => {
  const client = open({ own: impostor() });
  client.hello(nodeIdOf(WEB), TYPE.cluster, CATALOG);
  assert.equal((await client.ended()).code, status.UNAUTHENTICATED);
});

test('a certificate that signed itself is none', async () => {
  const { keyPem, certificatePem } = foreignCredentials(URI);
  const client = open({ own: { certificateChainPem: certificatePem, privateKeyPem: keyPem } });
  client.hello(nodeIdOf(WEB), TYPE.cluster, CATALOG);
  assert.equal((await client.ended()).code, status.UNAUTHENTICATED);
});

test('nobody speaks for a pod of another namespace, though the accounts bear one name', async () => {
  const client = open({ own });
  client.hello(nodeIdOf(BANK), TYPE.cluster, CATALOG);
  const { code, details } = await client.ended();
  assert.equal(code, status.PERMISSION_DENIED);
  assert.match(details, /spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web may not act for sidecar~/);
});

test('a request larger than the limit ends its stream, and no other', async () => {
  const other = open({ own });
  other.hello(nodeIdOf(WEB), TYPE.cluster, CATALOG);
  await other.received(1);
  const client = open({ own });
  client.request({
    node: { id: nodeIdOf(WEB) },
    typeUrl: TYPE.cluster,
    resourceNamesSubscribe: ['x'.repeat(1_100_000)],
  });
  assert.equal((await client.ended()).code, status.RESOURCE_EXHAUSTED);
  other.hello(nodeIdOf(WEB), TYPE.endpoints, CATALOG);
  await other.received(2);
});

test('metadata without bounds is refused', async () => {
  const client = open({ own, metadata: { 'x-large': 'x'.repeat(1024 * 1024) } });
  client.hello(nodeIdOf(WEB), TYPE.cluster, CATALOG);
  assert.notEqual((await client.ended()).code, status.OK);
});

test('bytes that are no TLS end their connection only', async () => {
  const socket = net.connect(mesh.ports().xds, '127.0.0.1');
  socket.on('error', () => undefined);
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await closed;
  const client = open({ own });
  client.hello(nodeIdOf(WEB), TYPE.cluster, CATALOG);
  await client.received(1);
});

const ASKED: readonly (readonly [ResourceType, string, string, string])[] = [
  [TYPE.route, CATALOG_KEY, 'HTTPRoute', 'r'],
  [TYPE.cluster, CATALOG, 'TrafficPolicy', 't'],
  [TYPE.endpoints, CATALOG, 'MTLSPolicy', 'm'],
  [TYPE.listener, 'inbound', 'MTLSPolicy', 'm'],
];

for (const [type, name, kind, object] of ASKED) {
  test(`a refused ${shortType(type)} is told of its proxy and of ${kind}, and is not sent again`, async () => {
    const { dashboard } = mesh.ports();
    const client = open({ own });
    client.hello(nodeIdOf(WEB), type, name);
    const [response] = await client.received(1);
    const message = `${shortType(type)} "${name}": field: is not to be`;
    client.request({
      typeUrl: type,
      responseNonce: response?.nonce ?? '',
      errorDetail: { code: 3, message },
    });
    await eventually(async () => (await programmedOf(dashboard, kind, object))?.status === 'False', {
      deadlineMs: 5_000,
      what: `${kind} is not Programmed`,
    });
    assert.match((await programmedOf(dashboard, kind, object))?.message ?? '', /shop\/web: .*is not to be/);
    const nack = (await proxyOf(dashboard, 'shop/web'))?.lastNack;
    assert.deepEqual([nack?.type, nack?.resource, nack?.message], [shortType(type), name, message]);
    assert.equal(client.responses.length, 1);
  });
}

test('a refused trust bundle is told of its proxy', async () => {
  const client = open({ own });
  client.hello(nodeIdOf(WEB), TYPE.secret, 'trust-bundle');
  const [response] = await client.received(1);
  const errorDetail = { code: 3, message: 'no' };
  client.request({ typeUrl: TYPE.secret, responseNonce: response?.nonce ?? '', errorDetail });
  await eventually(
    async () => (await proxyOf(mesh.ports().dashboard, 'shop/web'))?.lastNack?.type === 'Secret',
    { deadlineMs: 5_000, what: 'the refusal is told' },
  );
});
