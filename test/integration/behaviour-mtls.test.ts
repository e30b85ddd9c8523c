import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import tls from 'node:tls';
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

async function refusedUnderStrict(options: tls.ConnectionOptions): Promise<void> {
  payments.app.received.length = 0;
  const { data, error } = await rawExchange(
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
  assert.notEqual(error, 'the connection was left open');
  assert.ok(!data.includes('HTTP/1.1 200'), data);
  assert.equal(payments.app.received.length, 0);
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
  const seen = tap.bytes();
  await tap.close();
  assert.ok(seen.length > 500);
  assert.equal(seen.includes(marker), false);
  assert.equal(seen.includes('HTTP/1.1'), false);
  // TLS records: handshake (22), change cipher spec (20), then application data (23), with version 3.x.
  assert.deepEqual([seen[0], seen[1]], [22, 3]);
});

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
