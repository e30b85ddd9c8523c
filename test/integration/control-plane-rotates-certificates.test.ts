import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { proxyOf } from './control-plane/api.ts';
import { namespaceYaml, strictYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import { askPage } from './mesh/pages.ts';

leakCheck();

/** The shortest life that the settings allow; at half of it, give or take a tenth, everything is renewed. */
const LEAF_MS = 60_000;
const CHUNK_MS = 500;
const PAUSE_MS = 100;

let mesh: TestMesh;
let web: TestPod;
let startedMs: number;

before(async () => {
  mesh = await startMesh({ settings: `certificates: {leafTtl: ${LEAF_MS / 1000}s}\n` });
  startedMs = Date.now();
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  mesh.apply('strict.yaml', strictYaml('shop'));
  const service = { namespace: 'shop', name: 'catalog', port: 80, targetPort: 8080 };
  mesh.addService({ ...service, selector: { app: 'catalog' } });
  web = await mesh.addPod({ namespace: 'shop', name: 'web', serviceAccount: 'web' });
  await mesh.addPod({
    ...{ namespace: 'shop', name: 'catalog', serviceAccount: 'catalog' },
    app: ({ url }, response) => {
      if (url !== '/stream') return void response.end('catalog');
      response.writeHead(200);
      const ticker = setInterval(() => response.write('.'), CHUNK_MS);
      setTimeout(
        () => {
          clearInterval(ticker);
          response.end('end');
        },
        LEAF_MS + 2 * CHUNK_MS,
      );
    },
  });
});
after(() => mesh?.close());

/** The certificate that the control plane shows to whoever dials it. */
function ownCertificate(): Promise<tls.PeerCertificate> {
  return new Promise((resolve, reject) => {
    const { xds: port } = mesh.ports();
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    socket.on('error', reject);
    socket.on('secureConnect', () => {
      resolve(socket.getPeerCertificate());
      socket.destroy();
    });
  });
}

async function issued(): Promise<number> {
  const { body } = await askPage(`http://127.0.0.1:${mesh.ports().metrics}/metrics`);
  return Number(/heddle_ca_certificates_total\{outcome="issued"\} (\d+)/.exec(body)?.[1] ?? 0);
}

test('certificates are replaced and the first ones expire under traffic, and nobody notices', async () => {
  const first = await ownCertificate();
  const stream = web.client.request('http://catalog/stream', { timeoutMs: 2 * LEAF_MS });
  const failures: string[] = [];
  let answered = 0;
  while (Date.now() < startedMs + LEAF_MS + 5_000) {
    const { status, headers } = await web.client.request('http://catalog/');
    if (status === 200) answered++;
    else failures.push(`${status} ${headers['x-heddle-reason']}`);
    await sleep(PAUSE_MS);
  }
  assert.deepEqual(failures, []);
  assert.ok(answered > LEAF_MS / PAUSE_MS / 4, `${answered} answers`);
  assert.match(
    (await stream).body,
    /^\.{100,}end$/,
    'a connection outlives the certificate that it began with',
  );
  assert.ok((await issued()) >= 4, 'both pods have had a second certificate');
  const second = await ownCertificate();
  assert.notEqual(second.serialNumber, first.serialNumber);
  assert.ok(Date.parse(second.valid_to) > Date.now());
  for (const pod of ['shop/web', 'shop/catalog']) {
    // Each came back with its new certificate before the first one's end closed the stream.
    await eventually(async () => (await proxyOf(mesh.ports().dashboard, pod)) !== undefined, {
      deadlineMs: 5_000,
      what: `${pod} is connected`,
    });
    const proxy = await proxyOf(mesh.ports().dashboard, pod);
    assert.ok((proxy?.connectedAtMs ?? 0) > startedMs + LEAF_MS / 3);
    assert.equal(proxy?.lastNack, undefined);
  }
});
