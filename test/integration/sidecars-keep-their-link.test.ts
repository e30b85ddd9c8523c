import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { caClient } from '../../common/ca/client.ts';
import { makeKeyAndRequest } from '../../common/ca/csr.ts';
import { HeddleError } from '../../common/errors.ts';
import { silentLogger } from '../../common/log.ts';
import type { Random } from '../../common/random.ts';
import { RESOURCE, TYPE } from '../../common/wire/types.ts';
import { createAuthority, makeRoot } from '../../control-plane/ca/authority.ts';
import { checkCsr } from '../../control-plane/ca/csr.ts';
import { serverIdentity } from '../../control-plane/ca/server-credentials.ts';
import { clusterResource } from '../../control-plane/translate/cluster.ts';
import { destinationListener, destinationRoutes } from '../../control-plane/translate/destination.ts';
import { endpointsResource } from '../../control-plane/translate/endpoints.ts';
import { inboundListener } from '../../control-plane/translate/listener.ts';
import { trustBundleSecret } from '../../control-plane/translate/secret.ts';
import { type ControlPlaneLink, connectControlPlane } from '../../proxy/xds/control-plane-link.ts';
import { DEFAULT_CONFIG_LIMITS } from '../../proxy/xds/limits.ts';
import { leakCheck } from '../support/leak-check.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';
import { eventually } from '../support/wait.ts';
import { CATALOG, CLUSTER, INBOUND, PLAIN_DESTINATION } from '../support/xds-samples.ts';
import {
  type AdsServer,
  type ScriptedStream,
  type SignCsr,
  startAdsServer,
} from './control-plane/ads-server.ts';
import { makeCa } from './engine/ca.ts';

leakCheck();

const WEB = 'spiffe://cluster.local/ns/shop/sa/web';
const DAY_MS = 24 * 3_600_000;
const TOKEN = 'the-token-of-web';
const KNOWN = { kind: 'mesh', key: CATALOG };
const even: Random = { next: () => 0.5, hex: () => '' };

let directory: string;
const opened: { close(): unknown }[] = [];

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-link-'));
});
after(() => rmSync(directory, { recursive: true }));
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

async function serve(signCsr?: SignCsr) {
  // Certificates that TLS takes now, however far a test's clock runs ahead.
  const clock = new VirtualClock(Date.now());
  const authority = createAuthority(makeRoot('cluster.local', 3_650 * DAY_MS, clock), clock);
  const sign = (csrPem: string) => {
    const key = checkCsr(csrPem, WEB);
    if (!key.ok) throw key.error;
    return authority.issue({ publicKey: key.value, uri: WEB, dns: [], ttlMs: DAY_MS }).certificatePem;
  };
  const own = serverIdentity({
    ...{ authority, trustDomain: 'cluster.local', ttlMs: () => DAY_MS, clock, log: silentLogger },
  });
  const tokens: string[] = [];
  const rootPem = authority.trustBundlePem();
  const server = await startAdsServer({
    tls: own.credentials,
    signCsr: async (csrPem, token) => {
      tokens.push(token);
      return signCsr === undefined ? [sign(csrPem), rootPem] : signCsr(csrPem, token);
    },
  });
  opened.push(own, server);
  return { rootPem, server, tokens };
}

function files(rootPem: string): { tokenFile: string; rootFile: string } {
  const tokenFile = join(directory, 'token');
  const rootFile = join(directory, 'root.pem');
  writeFileSync(tokenFile, `${TOKEN}\n`);
  writeFileSync(rootFile, rootPem);
  return { tokenFile, rootFile };
}

function connect(server: AdsServer, rootPem: string, clock: VirtualClock): ControlPlaneLink {
  const link = connectControlPlane(
    {
      ...{ controlPlane: server.address, podName: 'web-1', podNamespace: 'shop', podIp: '10.244.0.9' },
      ...{ serviceAccount: 'web', trustDomain: 'cluster.local' },
      ...files(rootPem),
    },
    { clock, random: even, log: silentLogger },
  );
  opened.push(link);
  return link;
}

async function teach(stream: ScriptedStream, rootPem: string): Promise<void> {
  await stream.answer(stream.send(TYPE.secret, [trustBundleSecret(rootPem)]));
  await stream.answer(stream.send(TYPE.listener, [inboundListener('10.244.0.9', INBOUND)]));
}

async function teachCatalog(stream: ScriptedStream): Promise<void> {
  await stream.answer(stream.send(TYPE.listener, [destinationListener(PLAIN_DESTINATION)]));
  await stream.answer(stream.send(TYPE.route, [destinationRoutes(PLAIN_DESTINATION, () => undefined)]));
  await stream.answer(stream.send(TYPE.cluster, [clusterResource(CLUSTER)]));
  await stream.answer(stream.send(TYPE.endpoints, [endpointsResource(CLUSTER)]));
}

test('a sidecar is ready with its certificate and its own configuration, not before', async () => {
  const { rootPem, server, tokens } = await serve();
  const link = connect(server, rootPem, new VirtualClock(Date.now()));
  let ready = false;
  void link.ready.then(() => {
    ready = true;
  });
  const stream = await server.stream(0);
  await settle();
  assert.equal(ready, false);
  assert.deepEqual(tokens, [`Bearer ${TOKEN}`]);
  await teach(stream, rootPem);
  await link.ready;
  assert.equal(stream.requests[0]?.node?.id, 'sidecar~10.244.0.9~web-1.shop~shop.svc.cluster.local');
  assert.equal(link.identity.current()?.identity, WEB);
  assert.ok(link.status().connected);
});

test('idle destinations are given up while connected, and never while not', async () => {
  const { rootPem, server } = await serve();
  const clock = new VirtualClock(Date.now());
  const link = connect(server, rootPem, clock);
  const stream = await server.stream(0);
  await teach(stream, rootPem);
  const found = link.config.find('catalog', 80);
  await eventually(() => stream.asked(TYPE.listener).includes(CATALOG), {
    deadlineMs: 5_000,
    what: 'it asks',
  });
  await teachCatalog(stream);
  assert.deepEqual(await found, KNOWN);
  await server.close();
  await eventually(() => !link.status().connected, { deadlineMs: 5_000, what: 'the loss is noticed' });
  await clock.advance(3 * DEFAULT_CONFIG_LIMITS.idleMs);
  assert.deepEqual(link.config.find('catalog', 80), KNOWN);
  assert.equal(link.status().subscriptions, 1);
});

test('while connected the same destination is given up after an hour', async () => {
  const { rootPem, server } = await serve();
  const clock = new VirtualClock(Date.now());
  const link = connect(server, rootPem, clock);
  const stream = await server.stream(0);
  await teach(stream, rootPem);
  void link.config.find('catalog', 80);
  await eventually(() => stream.asked(TYPE.listener).includes(CATALOG), {
    deadlineMs: 5_000,
    what: 'it asks',
  });
  await teachCatalog(stream);
  const { idleMs, idleSweepMs } = DEFAULT_CONFIG_LIMITS;
  await clock.advance(idleMs + idleSweepMs);
  assert.equal(link.status().subscriptions, 0);
  assert.deepEqual(link.contents(), { destinations: [], clusters: [] });
  await eventually(
    () =>
      [TYPE.listener, TYPE.route, TYPE.cluster, TYPE.endpoints].every((type) =>
        stream.requests.some(
          (request) => request.typeUrl === type && request.resourceNamesUnsubscribe.length === 1,
        ),
      ),
    { deadlineMs: 5_000, what: 'all four parts are given up' },
  );
});

test('a renewed certificate opens a new stream; new roots do not', async () => {
  const { rootPem, server } = await serve();
  const clock = new VirtualClock(Date.now());
  const link = connect(server, rootPem, clock);
  const first = await server.stream(0);
  await teach(first, rootPem);
  const bundle = `${rootPem}${makeCa('Next root').rootPem}`;
  await first.answer(first.send(TYPE.secret, [trustBundleSecret(bundle)]));
  assert.equal(link.identity.current()?.trustBundlePem, bundle);
  assert.equal(server.streams.length, 1);
  await clock.advance(DAY_MS / 2 + 1_000);
  const second = await server.stream(1);
  assert.notDeepEqual(second.peer, first.peer);
  await eventually(() => first.ended, { deadlineMs: 5_000, what: 'the stream before is closed' });
  assert.deepEqual(link.config.inbound(), INBOUND);
  assert.deepEqual(second.asked(TYPE.secret), [RESOURCE.trustBundle]);
});

test('roots that are broken are refused, and the ones before them stay', async () => {
  const { rootPem, server } = await serve();
  const link = connect(server, rootPem, new VirtualClock(Date.now()));
  const stream = await server.stream(0);
  await teach(stream, rootPem);
  const nack = await stream.answer(stream.send(TYPE.secret, [trustBundleSecret(rootPem.slice(0, 300))]));
  assert.match(
    nack.errorDetail?.message ?? '',
    /^Secret "trust-bundle": validation_context\.trusted_ca\[0\]: /,
  );
  assert.equal(link.identity.current()?.trustBundlePem, rootPem);
});

async function asking(signCsr: SignCsr, otherRootPem?: string): Promise<unknown> {
  const { rootPem, server } = await serve(signCsr);
  const request = caClient({
    ...{ controlPlane: server.address, trustDomain: 'cluster.local', wallMs: () => Date.now() },
    ...files(otherRootPem ?? rootPem),
  });
  return request(makeKeyAndRequest(WEB).csrPem).then(
    (chain) => chain,
    (thrown: unknown) => thrown,
  );
}

for (const [what, code, signCsr] of [
  ['refuses', 'ca-refused', () => Promise.reject({ code: status.PERMISSION_DENIED, details: 'not you' })],
  ['is overloaded', 'ca-unavailable', () => Promise.reject({ code: status.UNAVAILABLE, details: 'later' })],
  ['answers with nothing', 'ca-refused', async () => []],
  ['answers without a root', 'ca-refused', async () => ['leaf']],
] as const) {
  test(`a CA that ${what}: ${code}, without a word of the token`, async () => {
    const thrown = await asking(signCsr);
    assert.ok(thrown instanceof HeddleError, String(thrown));
    assert.equal(thrown.code, code);
    assert.ok(!thrown.message.includes(TOKEN));
  });
}

test('a CA that is not the control plane gets no token', async () => {
  const seen: string[] = [];
  const thrown = await asking(async (_csr, token) => {
    seen.push(token);
    return [];
  }, makeCa('Other root').rootPem);
  assert.ok(thrown instanceof HeddleError);
  assert.equal(thrown.code, 'ca-unavailable');
  assert.deepEqual(seen, []);
});

test("each root is kept once, the file's and the one that the CA answers with", async () => {
  const next = makeCa('Next root').rootPem;
  const chain = await asking(async () => ['leaf\n', 'intermediate\n', next]);
  const { certificateChainPem, rootsPem } = chain as { certificateChainPem: string; rootsPem: string };
  assert.equal(certificateChainPem, 'leaf\nintermediate\n');
  assert.equal(rootsPem.match(/BEGIN CERTIFICATE/g)?.length, 2);
  assert.ok(rootsPem.includes(next.trim().replaceAll('\r', '')));
});
