import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Metadata, Server, ServerCredentials } from '@grpc/grpc-js';
import { caCallTimeoutMs, caClient } from '../../common/ca/client.ts';
import { controlPlaneIdentity } from '../../common/ca/control-plane-tls.ts';
import { makeKeyAndRequest } from '../../common/ca/csr.ts';
import { systemClock } from '../../common/clock.ts';
import { IstioCertificateServiceService } from '../../common/gen/istio/v1/auth/ca.ts';
import { leakCheck } from '../support/leak-check.ts';
import { type MeshCa, meshCa } from '../support/mesh-ca.ts';

leakCheck();

const TRUST_DOMAIN = 'cluster.local';
const URI = `spiffe://${TRUST_DOMAIN}/ns/shop/sa/web`;
const HOUR_MS = 3_600_000;

const directory = mkdtempSync(join(tmpdir(), 'heddle-ca-'));
const closers: (() => unknown)[] = [() => rmSync(directory, { recursive: true })];
after(async () => {
  for (const close of closers.toReversed()) await close();
});

const ca = meshCa(systemClock);
const file = (name: string, text: string) => {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
};
const tokenFile = file('token', '  the-token\n');
const rootFile = file('roots', ca.rootPem);

/** A CA that presents `identity`, certified by `signer`, and answers with `chain`. */
async function serveCa(
  identity: string,
  signer: MeshCa,
  chain: readonly string[],
  asked: Metadata[] = [],
): Promise<string> {
  const { privateKeyPem, csrPem } = makeKeyAndRequest(identity);
  const leaf = await signer.requester(identity, HOUR_MS)(csrPem);
  const server = new Server();
  server.addService(IstioCertificateServiceService, {
    createCertificate: (call: { metadata: Metadata }, answer: (error: null, value: object) => void) => {
      asked.push(call.metadata);
      answer(null, { certChain: chain });
    },
  });
  const pair = { private_key: Buffer.from(privateKeyPem), cert_chain: Buffer.from(leaf.certificateChainPem) };
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createSsl(null, [pair]), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  closers.push(() => server.forceShutdown());
  return `127.0.0.1:${port}`;
}

const client = (controlPlane: string, wallMs = () => systemClock.wallMs()) =>
  caClient({ controlPlane, trustDomain: TRUST_DOMAIN, tokenFile, rootFile, wallMs });
const { csrPem } = makeKeyAndRequest(URI);

test('the control plane is asked with the token of the file, and its root joins those of the file', async () => {
  const other = meshCa(systemClock).rootPem;
  const asked: Metadata[] = [];
  const at = await serveCa(controlPlaneIdentity(TRUST_DOMAIN), ca, ['leaf', 'between', other], asked);
  const signed = await client(at)(csrPem);
  assert.deepEqual(asked[0]?.get('authorization'), ['Bearer the-token']);
  assert.equal(signed.certificateChainPem, 'leafbetween');
  assert.equal(signed.rootsPem, `${ca.rootPem.trim()}\n${other.trim()}\n`);
});

test('a root that is known already is kept once', async () => {
  const at = await serveCa(controlPlaneIdentity(TRUST_DOMAIN), ca, ['leaf', ca.rootPem]);
  assert.equal((await client(at)(csrPem)).rootsPem, `${ca.rootPem.trim()}\n`);
});

test('an answer without a leaf and a root is not one', async () => {
  const at = await serveCa(controlPlaneIdentity(TRUST_DOMAIN), ca, [ca.rootPem]);
  await assert.rejects(client(at)(csrPem), { code: 'ca-refused', message: /without a leaf and a root/ });
});

test('another workload of the mesh that answers in its place gets no token', async () => {
  const asked: Metadata[] = [];
  const at = await serveCa(URI, ca, ['leaf', ca.rootPem], asked);
  await assert.rejects(client(at)(csrPem), {
    code: 'ca-unavailable',
    message: /must present spiffe:.*heddle-control-plane/,
  });
  assert.deepEqual(asked, []);
});

test('nor does a control plane of another mesh', async () => {
  const asked: Metadata[] = [];
  const at = await serveCa(
    controlPlaneIdentity(TRUST_DOMAIN),
    meshCa(systemClock),
    ['leaf', ca.rootPem],
    asked,
  );
  await assert.rejects(client(at)(csrPem), { code: 'ca-unavailable' });
  assert.deepEqual(asked, []);
});

test('one that takes connections and says nothing is given up in time', async () => {
  const sockets: Socket[] = [];
  const silent = net.createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const { port } = silent.address() as AddressInfo;
  const fromMs = systemClock.now();
  const early = () => systemClock.wallMs() - caCallTimeoutMs + 300;
  await assert.rejects(client(`127.0.0.1:${port}`, early)(csrPem), { code: 'ca-unavailable' });
  assert.ok(systemClock.now() - fromMs < caCallTimeoutMs);
});
