import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { afterEach, test } from 'node:test';
import { jsonLogger } from '../../common/log.ts';
import type { Random } from '../../common/random.ts';
import { RESOURCE, TYPE } from '../../common/wire/types.ts';
import { clusterResource } from '../../control-plane/translate/cluster.ts';
import { destinationListener, destinationRoutes } from '../../control-plane/translate/destination.ts';
import type { EncodedResource } from '../../control-plane/translate/encoding.ts';
import { endpointsResource } from '../../control-plane/translate/endpoints.ts';
import { inboundListener } from '../../control-plane/translate/listener.ts';
import { trustBundleSecret } from '../../control-plane/translate/secret.ts';
import type { Credentials } from '../../proxy/stage.ts';
import { AdsStream } from '../../proxy/xds/ads-stream.ts';
import { ConfigStore } from '../../proxy/xds/config-store.ts';
import { type ConfigLimits, DEFAULT_CONFIG_LIMITS } from '../../proxy/xds/limits.ts';
import { leakCheck } from '../support/leak-check.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { eventually } from '../support/wait.ts';
import { CATALOG, CATALOG_CLUSTER, CLUSTER, INBOUND, PLAIN_DESTINATION } from '../support/xds-samples.ts';
import {
  type AdsServer,
  type ScriptedStream,
  serverTls,
  startAdsServer,
} from './control-plane/ads-server.ts';
import { makeCa } from './engine/ca.ts';

leakCheck();

const ca = makeCa('Mesh root');
const WEB = 'spiffe://cluster.local/ns/shop/sa/web';
const OWN = inboundListener('10.244.0.9', INBOUND);
const ROOTS = trustBundleSecret(ca.rootPem);
/** The longest wait that jitter allows. */
const unlucky: Random = { next: () => 1, hex: () => '' };

const opened: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

class Sidecar {
  readonly clock = new VirtualClock();
  readonly log: Record<string, unknown>[] = [];
  readonly store: ConfigStore;
  readonly ads: AdsStream;
  credentials: Credentials | undefined = ca.issue(WEB);

  constructor(address: string, limits: Partial<ConfigLimits> = {}) {
    const { clock } = this;
    const merged = { ...DEFAULT_CONFIG_LIMITS, ...limits };
    this.store = new ConfigStore({
      ...{ namespace: 'shop', limits: merged, clock },
      onWishes: () => this.ads.sendWishes(),
      onSnapshot: () => undefined,
      onInbound: () => undefined,
      onTrustBundle: () => undefined,
    });
    this.ads = new AdsStream({
      ...{ controlPlane: address, nodeId: 'node', trustDomain: 'cluster.local', store: this.store },
      ...{ limits: merged, clock, random: unlucky },
      credentials: () => this.credentials,
      log: jsonLogger(clock, (line) => this.log.push(JSON.parse(line))),
    });
    opened.push(this.ads, this.store);
  }

  lost(): readonly number[] {
    return this.log
      .filter(({ message }) => String(message).startsWith('control plane lost'))
      .map(({ retryMs }) => Number(retryMs));
  }

  async losses(count: number): Promise<void> {
    await eventually(() => this.lost().length >= count, { deadlineMs: 10_000, what: `${count} losses` });
  }
}

async function serve(options: Partial<Parameters<typeof startAdsServer>[0]> = {}): Promise<AdsServer> {
  const server = await startAdsServer({ tls: serverTls(ca), ...options });
  opened.push(server);
  return server;
}

/** Gives what every sidecar asks for first. */
async function welcome(stream: ScriptedStream): Promise<void> {
  await stream.answer(stream.send(TYPE.secret, [ROOTS]));
  await stream.answer(stream.send(TYPE.listener, [OWN]));
}

/** Has the sidecar use the catalog, and answers what it asks for. */
async function teachCatalog(sidecar: Sidecar, stream: ScriptedStream): Promise<void> {
  const found = sidecar.store.find('catalog', 80);
  const lessons: readonly (readonly [string, EncodedResource])[] = [
    [TYPE.listener, destinationListener(PLAIN_DESTINATION)],
    [TYPE.route, destinationRoutes(PLAIN_DESTINATION, () => undefined)],
    [TYPE.cluster, clusterResource(CLUSTER)],
    [TYPE.endpoints, endpointsResource(CLUSTER)],
  ];
  for (const [type, resource] of lessons) {
    await eventually(() => stream.asked(type).includes(resource.name), {
      ...{ deadlineMs: 5_000, what: `the sidecar asks for ${resource.name}` },
    });
    await stream.answer(stream.send(type, [resource]));
  }
  assert.deepEqual(await found, { kind: 'mesh', key: CATALOG });
}

test('the first request names the node, and good configuration is acknowledged by its nonce', async () => {
  const server = await serve();
  const sidecar = new Sidecar(server.address);
  sidecar.ads.connect();
  const stream = await server.stream(0);
  const ack = await stream.answer(stream.send(TYPE.listener, [OWN]));
  assert.equal(ack.errorDetail, undefined);
  assert.equal(ack.typeUrl, TYPE.listener);
  assert.deepEqual(
    stream.requests.map(({ node }) => node?.id).filter((id) => id !== undefined),
    ['node'],
  );
  assert.equal(stream.requests[0]?.node?.id, 'node');
  assert.deepEqual(stream.asked(TYPE.secret), [RESOURCE.trustBundle]);
  assert.deepEqual(stream.asked(TYPE.listener), [RESOURCE.inbound]);
  assert.ok(sidecar.ads.connected());
  assert.deepEqual(sidecar.store.inbound(), INBOUND);
});

test('bad configuration is refused once at once, and the same again only after a pause', async () => {
  const server = await serve();
  const sidecar = new Sidecar(server.address);
  sidecar.ads.connect();
  const stream = await server.stream(0);
  await welcome(stream);
  const bad = { ...OWN, version: '2', body: { typeUrl: TYPE.listener, value: Buffer.from([7]) } };
  const nack = await stream.answer(stream.send(TYPE.listener, [bad]));
  assert.match(nack.errorDetail?.message ?? '', /^Listener "inbound": /);
  assert.deepEqual(sidecar.store.inbound(), INBOUND, 'the last good one keeps serving');
  const again = stream.send(TYPE.listener, [bad]);
  // A later answer shows that the one before it was held back.
  await stream.answer(stream.send(TYPE.secret, [ROOTS]));
  assert.ok(!stream.requests.some(({ responseNonce }) => responseNonce === again));
  await sidecar.clock.advance(DEFAULT_CONFIG_LIMITS.refusalPauseMs);
  assert.ok((await stream.answer(again)).errorDetail !== undefined);
  assert.equal(sidecar.log.filter(({ message }) => message === 'configuration refused').length, 1);
  assert.match(sidecar.ads.status().lastRefusal ?? '', /inbound/);
});

test('a stream that breaks is opened anew with what is held, after waits that double', async () => {
  const server = await serve();
  const sidecar = new Sidecar(server.address);
  sidecar.ads.connect();
  const first = await server.stream(0);
  await welcome(first);
  await teachCatalog(sidecar, first);
  first.end();
  await sidecar.losses(1);
  assert.ok(!sidecar.ads.connected());
  assert.deepEqual(sidecar.store.find('catalog', 80), { kind: 'mesh', key: CATALOG }, 'all stays in force');
  await sidecar.clock.advance(499);
  assert.equal(server.streams.length, 1);
  await sidecar.clock.advance(1);
  const second = await server.stream(1);
  await eventually(() => second.asked(TYPE.endpoints).length > 0, {
    deadlineMs: 5_000,
    what: 'all is asked',
  });
  const versions = Object.assign({}, ...second.requests.map((request) => request.initialResourceVersions));
  assert.deepEqual(Object.keys(versions).sort(), [CATALOG, CATALOG_CLUSTER, RESOURCE.inbound].sort());
  assert.deepEqual(second.asked(TYPE.listener), [CATALOG, RESOURCE.inbound]);
  // It answers and breaks off at once: that is no success to begin the count anew with.
  await second.answer(second.send(TYPE.secret, [ROOTS]));
  second.end();
  await sidecar.losses(2);
  await sidecar.clock.advance(1_000);
  (await server.stream(2)).end();
  await sidecar.losses(3);
  assert.deepEqual(sidecar.lost(), [500, 1_000, 2_000]);
  assert.equal(sidecar.ads.status().reconnects, 3);
});

test('a stream that stood for long begins the count anew', async () => {
  const server = await serve();
  const sidecar = new Sidecar(server.address);
  sidecar.ads.connect();
  (await server.stream(0)).end();
  await sidecar.losses(1);
  await sidecar.clock.advance(500);
  const second = await server.stream(1);
  await welcome(second);
  await sidecar.clock.advance(DEFAULT_CONFIG_LIMITS.reconnect.maxMs);
  second.end();
  await sidecar.losses(2);
  assert.deepEqual(sidecar.lost(), [500, 500]);
});

test('after a reconnect on which nothing is new the sidecar knows that it is connected', async () => {
  const server = await serve();
  const sidecar = new Sidecar(server.address);
  sidecar.ads.connect();
  await welcome(await server.stream(0));
  (await server.stream(0)).end();
  await sidecar.losses(1);
  await sidecar.clock.advance(500);
  const second = await server.stream(1);
  const { initialResourceVersions } = second.requests.find(({ typeUrl }) => typeUrl === TYPE.secret) ?? {};
  assert.deepEqual(initialResourceVersions ?? {}, {}, 'the bundle is asked for without a version');
  await second.answer(second.send(TYPE.secret, [ROOTS]));
  assert.ok(sidecar.ads.connected());
});

test('a server that never answers is given up, ever more slowly', async () => {
  const server = await serve();
  const sidecar = new Sidecar(server.address);
  sidecar.ads.connect();
  await server.stream(0);
  await sidecar.clock.advance(DEFAULT_CONFIG_LIMITS.answerWaitMs);
  await sidecar.losses(1);
  await sidecar.clock.advance(500);
  await server.stream(1);
  await sidecar.clock.advance(DEFAULT_CONFIG_LIMITS.answerWaitMs);
  await sidecar.losses(2);
  assert.deepEqual(sidecar.lost(), [500, 1_000]);
  await eventually(() => server.streams.every(({ ended }) => ended), {
    ...{ deadlineMs: 5_000, what: 'streams given up are closed' },
  });
});

test('nobody at the address: it is tried again, up to the longest wait', async () => {
  const server = await serve();
  await server.close();
  const sidecar = new Sidecar(server.address);
  sidecar.ads.connect();
  for (let count = 1; count <= 7; count++) {
    await sidecar.losses(count);
    await sidecar.clock.advance(DEFAULT_CONFIG_LIMITS.reconnect.maxMs);
  }
  assert.deepEqual(sidecar.lost().slice(0, 7), [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
});

test('a new certificate opens a new stream that carries it, and loses nothing', async () => {
  const server = await serve();
  const sidecar = new Sidecar(server.address);
  sidecar.ads.connect();
  const first = await server.stream(0);
  await welcome(first);
  await teachCatalog(sidecar, first);
  const renewed = ca.issue(WEB);
  sidecar.credentials = renewed;
  const before = sidecar.store.snapshot();
  sidecar.ads.connect();
  const second = await server.stream(1);
  await eventually(() => first.ended, { deadlineMs: 5_000, what: 'the stream before is closed' });
  assert.deepEqual(second.peer, new X509Certificate(renewed.certificateChainPem).raw);
  assert.equal(sidecar.store.snapshot(), before);
  assert.deepEqual(sidecar.lost(), [], 'it was no loss');
  const ack = await second.answer(second.send(TYPE.cluster, [], [CATALOG_CLUSTER]));
  assert.equal(ack.errorDetail, undefined);
  assert.equal(sidecar.store.snapshot().cluster(CATALOG_CLUSTER), undefined);
});

for (const [who, tls] of [
  ['another workload of the mesh', serverTls(ca, 'spiffe://cluster.local/ns/shop/sa/payments')],
  [
    'the control plane of another trust domain',
    serverTls(ca, 'spiffe://other/ns/heddle-system/sa/heddle-control-plane'),
  ],
  ['a control plane with a certificate of another CA', serverTls(makeCa('Foreign root'))],
] as const) {
  test(`${who} is not listened to`, async () => {
    const server = await serve({ tls });
    const sidecar = new Sidecar(server.address);
    sidecar.ads.connect();
    await sidecar.losses(1);
    assert.equal(server.streams.length, 0);
    assert.equal(sidecar.store.inbound(), undefined);
  });
}

test('a response that is too large ends the stream, and the configuration before it serves on', async () => {
  const server = await serve();
  const sidecar = new Sidecar(server.address);
  sidecar.ads.connect();
  const stream = await server.stream(0);
  await welcome(stream);
  const huge = {
    ...OWN,
    version: '2',
    body: { typeUrl: TYPE.listener, value: Buffer.alloc(64 * 1024 * 1024) },
  };
  stream.send(TYPE.listener, [huge]);
  await sidecar.losses(1);
  assert.deepEqual(sidecar.store.inbound(), INBOUND);
});

test('while the control plane does not read, wishes come together instead of piling up', async () => {
  const server = await serve({ reads: false });
  const sidecar = new Sidecar(server.address);
  sidecar.ads.connect();
  const stream = await server.stream(0);
  stream.send(TYPE.secret, [ROOTS]);
  await eventually(() => sidecar.ads.connected(), { deadlineMs: 5_000, what: 'the sidecar has its answer' });
  // Enough for what the transport holds in between, and more.
  for (let index = 0; index < 3_000; index++) void sidecar.store.find(`name-${index}.${'x'.repeat(60)}`, 80);
  stream.read();
  await eventually(() => stream.asked(TYPE.listener).length === 3_001, {
    ...{ deadlineMs: 10_000, what: 'every name has been asked for' },
  });
  assert.ok(stream.requests.length < 500, `${stream.requests.length} requests for 3,000 names`);
  sidecar.store.close();
});

test('credentials that TLS does not take are no end: it is tried again with the next', async () => {
  const server = await serve();
  const sidecar = new Sidecar(server.address);
  const { certificateChainPem } = ca.issue(WEB);
  sidecar.credentials = { ...ca.issue(WEB), certificateChainPem };
  sidecar.ads.connect();
  assert.deepEqual(sidecar.lost(), [500]);
  sidecar.credentials = ca.issue(WEB);
  await sidecar.clock.advance(500);
  await welcome(await server.stream(0));
});

test('closed for good, it opens nothing more', async () => {
  const server = await serve();
  const sidecar = new Sidecar(server.address);
  sidecar.ads.connect();
  const stream = await server.stream(0);
  sidecar.ads.close();
  await eventually(() => stream.ended, { deadlineMs: 5_000, what: 'the stream is closed' });
  sidecar.ads.connect();
  await sidecar.clock.advance(60_000);
  assert.equal(server.streams.length, 1);
});
