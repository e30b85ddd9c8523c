import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import type http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { afterEach, test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { PORTS } from '../../common/contracts.ts';
import { silentLogger } from '../../common/log.ts';
import { createAuthority, makeRoot } from '../../control-plane/ca/authority.ts';
import { fetchProxyState } from '../../control-plane/proxy-state.ts';
import { leakCheck } from '../support/leak-check.ts';
import { meshOf, pod } from '../support/small-mesh.ts';
import { podObject } from './mesh/manifests.ts';

leakCheck();

const HOUR_MS = 3_600_000;
/** The port is the contract's; the address keeps test files apart, which run as processes of their own. */
const IP = `127.246.${process.pid % 250}.1`;
const WEB = pod('shop', 'web', IP);
const STATE = { clusters: [{ name: 'c', breaker: 'open' }] };

const authority = createAuthority(makeRoot('cluster.local', HOUR_MS, systemClock), systemClock);
const stranger = createAuthority(makeRoot('cluster.local', HOUR_MS, systemClock), systemClock);

function certified(uri: string, by = authority, ttlMs = HOUR_MS) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { certificatePem } = by.issue({ publicKey: createPublicKey(privateKey), uri, ttlMs });
  const privateKeyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { certificatePem, privateKeyPem };
}

const own = certified('spiffe://cluster.local/ns/heddle-system/sa/heddle-control-plane');
const WEB_ID = 'spiffe://cluster.local/ns/shop/sa/web';

let server: net.Server | undefined;
afterEach(async () => {
  if (server === undefined) return;
  const closed = new Promise((resolve) => server?.close(resolve));
  if (server instanceof https.Server) server.closeAllConnections();
  await closed;
  server = undefined;
});

async function listen(made: net.Server): Promise<void> {
  server = made;
  await new Promise<void>((resolve) => made.listen(PORTS.proxyAdminForControlPlane, IP, resolve));
}

/** A sidecar's read-only admin, as far as anybody can tell from outside. */
function sidecar(
  uri: string,
  answer: http.RequestListener = reply(200, STATE),
  by = authority,
): Promise<void> {
  const { certificatePem, privateKeyPem } = certified(uri, by);
  const tls = { cert: certificatePem, key: privateKeyPem, ca: authority.trustBundlePem() };
  return listen(https.createServer({ ...tls, requestCert: true, rejectUnauthorized: true }, answer));
}

function reply(status: number, body: unknown): http.RequestListener {
  return (request, response) => {
    assert.equal(request.url, '/breakers');
    response.writeHead(status).end(JSON.stringify(body));
  };
}

const ask = (name = 'shop/web', objects: readonly object[] = [podObject(WEB)]) =>
  fetchProxyState(name, {
    mesh: () => meshOf(objects),
    trustBundlePem: () => authority.trustBundlePem(),
    own: () => own,
    log: silentLogger,
  });

test('a sidecar that is who it should be tells its state', async () => {
  await sidecar(WEB_ID);
  assert.deepEqual(await ask(), STATE);
});

const MISTAKEN: readonly (readonly [string, () => Promise<void>])[] = [
  ['of another account', () => sidecar('spiffe://cluster.local/ns/shop/sa/other')],
  ['of another namespace', () => sidecar('spiffe://cluster.local/ns/bank/sa/web')],
  ['of another root', () => sidecar(WEB_ID, reply(200, STATE), stranger)],
  ['that answers with an error', () => sidecar(WEB_ID, reply(503, STATE))],
  [
    'that redirects',
    () => sidecar(WEB_ID, (_, response) => response.writeHead(302, { location: '/' }).end()),
  ],
  ['that answers with no JSON', () => sidecar(WEB_ID, (_, response) => response.end('busy'))],
  [
    'that cuts its answer short',
    () =>
      sidecar(WEB_ID, (_, response) => {
        response.writeHead(200, { 'content-length': '100' }).write('{"a":1}');
        setImmediate(() => response.destroy());
      }),
  ],
];

for (const [what, start] of MISTAKEN) {
  test(`nothing is taken from a sidecar ${what}`, async () => {
    await start();
    assert.equal(await ask(), undefined);
  });
}

test('an answer without end is not read to its end', async () => {
  let sent = 0;
  await sidecar(WEB_ID, (_, response) => {
    const chunk = Buffer.alloc(256 * 1024, 'x');
    const more = () => {
      while (!response.destroyed && response.write(chunk)) sent += chunk.length;
    };
    response.on('drain', more);
    more();
  });
  assert.equal(await ask(), undefined);
  assert.ok(sent < 64 * 1024 * 1024);
});

for (const [what, start] of [
  ['says nothing after the handshake', () => sidecar(WEB_ID, () => undefined)],
  ['says nothing at all', () => listen(net.createServer())],
] as const) {
  test(`a sidecar that ${what} is not waited for`, async () => {
    const sockets: net.Socket[] = [];
    await start();
    server?.on('connection', (socket: net.Socket) => sockets.push(socket));
    const startedMs = performance.now();
    assert.equal(await ask(), undefined);
    assert.ok(performance.now() - startedMs < 5_000);
    for (const socket of sockets) socket.destroy();
  });
}

test('nobody is dialled for a pod that is unknown, has no address, or no sidecar', async () => {
  let dialled = 0;
  await listen(
    net.createServer((socket) => {
      dialled++;
      socket.destroy();
    }),
  );
  assert.equal(await ask('shop/other'), undefined);
  assert.equal(await ask('shop/web', [podObject({ ...WEB, meshed: false })]), undefined);
  assert.equal(await ask('shop/web', [{ ...podObject(WEB), status: { phase: 'Pending' } }]), undefined);
  assert.equal(dialled, 0);
});

test('a sidecar that is not there has no state to tell', async () => {
  assert.equal(await ask(), undefined);
});
