import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import tls from 'node:tls';
import { systemClock } from '../../common/clock.ts';
import { createAuthority } from '../../control-plane/ca/authority.ts';
import { leakCheck } from '../support/leak-check.ts';
import { namespaceYaml, strictYaml } from './mesh/documents.ts';
import { foreignCredentials } from './mesh/foreign.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import { startTap } from './mesh/tap.ts';

leakCheck();

let mesh: TestMesh;
let web: TestPod;
let payments: TestPod;

before(async () => {
  mesh = await startMesh();
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  mesh.apply('strict.yaml', strictYaml('shop'));
  mesh.addService({
    namespace: 'shop',
    name: 'payments',
    port: 80,
    targetPort: 8080,
    selector: { app: 'payments' },
  });
  web = await mesh.addPod({ namespace: 'shop', name: 'web', serviceAccount: 'web' });
  payments = await mesh.addPod({ namespace: 'shop', name: 'payments', serviceAccount: 'payments' });
});

after(() => mesh?.close());

/** What a raw client gets back on the pod's port before the connection ends. */
function rawExchange(
  connect: () => net.Socket,
  bytes: string,
): Promise<{ data: string; error: string | undefined }> {
  return new Promise((resolve) => {
    let data = '';
    let error: string | undefined;
    const socket = connect();
    socket.on('data', (chunk) => {
      data += chunk.toString('latin1');
    });
    socket.on('error', (thrown) => {
      error = thrown.message;
    });
    socket.on('close', () => resolve({ data, error }));
    socket.setTimeout(10_000, () => socket.destroy(new Error('the connection was left open')));
    socket.write(bytes);
  });
}

const REQUEST = 'GET /secret HTTP/1.1\r\nHost: payments\r\nConnection: close\r\n\r\n';

function exchangeAs(options: tls.ConnectionOptions): Promise<{ data: string; error: string | undefined }> {
  payments.app.received.length = 0;
  return rawExchange(
    () =>
      tls.connect({
        host: payments.record.ip,
        port: payments.record.port,
        ALPNProtocols: ['heddle', 'http/1.1'],
        rejectUnauthorized: false,
        ...options,
      }),
    REQUEST,
  );
}

async function refusedUnderStrict(options: tls.ConnectionOptions): Promise<void> {
  const { data, error } = await exchangeAs(options);
  assert.notEqual(error, 'the connection was left open');
  assert.equal(data, '');
  assert.equal(payments.app.received.length, 0);
}

/** A certificate as the mesh's own CA would sign it, for a name that it never would. */
function signedByTheMesh(uri: string, ttlMs = 3_600_000): { key: string; cert: string } {
  const state = join(mesh.directory, 'state');
  const root = {
    certificatePem: readFileSync(join(state, 'root.pem'), 'utf8'),
    privateKeyPem: readFileSync(join(state, 'root-key.pem'), 'utf8'),
  };
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { certificatePem } = createAuthority(root, systemClock).issue({ publicKey, uri, ttlMs });
  return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert: certificatePem };
}

test('a pod in the mesh reaches the app, which sees who called', async () => {
  const response = await web.client.request('http://payments/secret');
  assert.equal(response.status, 200);
  const header = payments.app.received.at(-1)?.headers['x-forwarded-client-cert'];
  assert.match(String(header), /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web/);
});

test('STRICT refuses a client without a certificate', () => refusedUnderStrict({}));

test('STRICT refuses a client whose certificate comes from another CA', async () => {
  const { keyPem, certificatePem } = foreignCredentials('spiffe://cluster.local/ns/shop/sa/web');
  await refusedUnderStrict({ key: keyPem, cert: certificatePem });
});

test('STRICT serves a client whose certificate is of this mesh: what the refusals are measured against', async () => {
  const { data } = await exchangeAs(signedByTheMesh('spiffe://cluster.local/ns/shop/sa/web'));
  assert.match(data, /^HTTP\/1\.1 200 /);
  assert.equal(payments.app.received.length, 1);
});

test('STRICT refuses a client with a wrong SPIFFE ID, although this CA signed it', async () => {
  const wrong = [
    'spiffe://other.example/ns/shop/sa/web',
    'spiffe://cluster.local/web',
    'spiffe://cluster.local/ns/shop/sa/web/more',
    'https://cluster.local/ns/shop/sa/web',
  ];
  for (const uri of wrong) await refusedUnderStrict(signedByTheMesh(uri));
});

test('STRICT refuses a client whose certificate has expired', () =>
  refusedUnderStrict(signedByTheMesh('spiffe://cluster.local/ns/shop/sa/web', -1_000)));

test('STRICT refuses plaintext', async () => {
  payments.app.received.length = 0;
  const { data, error } = await rawExchange(
    () => net.connect(payments.record.port, payments.record.ip),
    REQUEST,
  );
  assert.notEqual(error, 'the connection was left open');
  assert.ok(!data.includes('HTTP/1.1 200'));
  assert.equal(payments.app.received.length, 0);
});

test('the bytes between two pods are TLS only', async () => {
  // A Service whose endpoint is a tap in front of the real pod: it sees what crosses between the two sidecars.
  const tap = await startTap({ host: payments.record.ip, port: payments.record.port });
  mesh.apply(
    'tapped.yaml',
    `apiVersion: v1
kind: Service
metadata: {name: tapped, namespace: shop}
spec: {clusterIP: 10.96.9.9, clusterIPs: [10.96.9.9], ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: tapped-1, namespace: shop, labels: {kubernetes.io/service-name: tapped}}
addressType: IPv4
ports: [{name: http, port: ${tap.port}, protocol: TCP}]
endpoints:
- addresses: ["${tap.host}"]
  conditions: {ready: true}
  targetRef: {kind: Pod, name: payments, namespace: shop}
`,
  );
  const marker = 'a-secret-that-must-not-be-seen';
  let status = 0;
  for (let tries = 0; tries < 50 && status !== 200; tries++) {
    status = (await web.client.request(`http://tapped/${marker}`, { headers: { 'x-marker': marker } }))
      .status;
    if (status !== 200) await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal(status, 200);
  await tap.close();
  assert.ok(
    payments.app.received.some(({ url }) => url.includes(marker)),
    'the marker did cross, through the tap',
  );
  for (const [side, seen] of [
    ['client', tap.fromClients()],
    ['server', tap.fromServer()],
  ] as const) {
    assert.ok(seen.length > 0, side);
    for (const bytes of seen) {
      assert.equal(bytes.includes(marker), false, side);
      assert.equal(bytes.includes('HTTP/1.1'), false, side);
      const kinds = tlsRecordKinds(bytes);
      assert.equal(kinds[0], TLS_HANDSHAKE, side);
      assert.ok(kinds.includes(TLS_APPLICATION_DATA), side);
    }
  }
});

const TLS_HANDSHAKE = 22;
const TLS_APPLICATION_DATA = 23;
const TLS_RECORD_KINDS = [20, 21, TLS_HANDSHAKE, TLS_APPLICATION_DATA];

/** The types of the records that make up `bytes` without a byte left over (RFC 8446, section 5.1). */
function tlsRecordKinds(bytes: Buffer): number[] {
  const kinds: number[] = [];
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes[at] ?? 0;
    assert.ok(TLS_RECORD_KINDS.includes(kind), `record type ${kind} at byte ${at}`);
    assert.equal(bytes[at + 1], 3, `version at byte ${at}`);
    at += 5 + bytes.readUInt16BE(at + 3);
    assert.ok(at <= bytes.length, 'the last record is whole');
    kinds.push(kind);
  }
  return kinds;
}

test('a server that presents another identity than the endpoint should have is refused', async () => {
  // The endpoint claims to be pod `web` (identity .../sa/web), but the payments sidecar answers there.
  mesh.apply(
    'impostor.yaml',
    `apiVersion: v1
kind: Service
metadata: {name: impostor, namespace: shop}
spec: {clusterIP: 10.96.9.10, clusterIPs: [10.96.9.10], ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: impostor-1, namespace: shop, labels: {kubernetes.io/service-name: impostor}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- addresses: ["${payments.record.ip}"]
  conditions: {ready: true}
  targetRef: {kind: Pod, name: web, namespace: shop}
`,
  );
  payments.app.received.length = 0;
  let reason = '';
  for (let tries = 0; tries < 50 && reason !== 'peer-identity'; tries++) {
    const response = await web.client.request('http://impostor/');
    assert.notEqual(response.status, 200);
    reason = String(response.headers['x-heddle-reason']);
    if (reason !== 'peer-identity') await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal(reason, 'peer-identity');
  assert.equal(payments.app.received.length, 0);
});
