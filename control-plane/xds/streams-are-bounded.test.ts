import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerCertificate } from 'node:tls';
import { status } from '@grpc/grpc-js';
import {
  DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { silentLogger } from '../../common/log.ts';
import { TYPE } from '../../common/wire/types.ts';
import { podObject } from '../../test/integration/mesh/manifests.ts';
import { clusterOf, meshOf, pod, policy, SHOP } from '../../test/support/small-mesh.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import { FakeCall } from '../../test/support/xds-calls.ts';
import { type Translation, translate, translationCache } from '../translate/translator.ts';
import { DEFAULT_XDS_LIMITS, type XdsLimits } from './limits.ts';
import { xdsServer } from './server.ts';

const HOUR_MS = 3_600_000;
const CATALOG = clusterOf('catalog');
type Call = FakeCall<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

const limited = (maxConnections: number) => [
  ...SHOP,
  policy('TrafficPolicy', 'shop', 'p', {
    targetRefs: [{ group: '', kind: 'Service', name: 'catalog' }],
    limits: { maxConnections },
  }),
];

class Server {
  readonly clock = new VirtualClock();
  readonly #cache = translationCache();
  #translation: Translation;
  proxiesTold = 0;
  readonly xds;

  constructor(limits: Partial<XdsLimits> = {}, objects: readonly object[] = SHOP) {
    this.#translation = translate(meshOf(objects), 'PEM', this.#cache);
    this.xds = xdsServer({
      translation: () => this.#translation,
      limits: { ...DEFAULT_XDS_LIMITS, ...limits },
      clock: this.clock,
      log: silentLogger,
      onProxies: () => {
        this.proxiesTold++;
      },
    });
  }

  use(objects: readonly object[]): void {
    this.#translation = translate(meshOf(objects), 'PEM', this.#cache);
    this.xds.changed();
  }

  certificate(lifeMs = 24 * HOUR_MS): PeerCertificate {
    const valid_to = new Date(this.clock.wallMs() + lifeMs).toUTCString();
    return { subjectaltname: 'URI:spiffe://cluster.local/ns/shop/sa/web', valid_to } as PeerCertificate;
  }

  open(peer: PeerCertificate | undefined = this.certificate()): Call {
    const call: Call = new FakeCall(peer);
    this.xds.service.deltaAggregatedResources(call.asServerStream());
    return call;
  }

  /** A stream of pod `shop/<name>` with one subscription. */
  async connect(name = 'web', peer?: PeerCertificate): Promise<Call> {
    const call = this.open(peer);
    call.request(hello(name));
    await settle();
    return call;
  }
}

function hello(name = 'web', names = [CATALOG]): DeltaDiscoveryRequest {
  return DeltaDiscoveryRequest.fromPartial({
    node: { id: `sidecar~10.244.0.1~${name}.shop~shop.svc.cluster.local` },
    typeUrl: TYPE.cluster,
    resourceNamesSubscribe: names,
  });
}

function answer(nonce: string): DeltaDiscoveryRequest {
  return DeltaDiscoveryRequest.fromPartial({ typeUrl: TYPE.cluster, responseNonce: nonce });
}

test('a stream without a certificate is refused before it takes a place', async () => {
  const server = new Server({ streamsMax: 1 });
  const call: Call = new FakeCall(undefined);
  server.xds.service.deltaAggregatedResources(call.asServerStream());
  assert.equal(call.failure()?.code, status.UNAUTHENTICATED);
  assert.equal((await server.connect()).sent.length, 1);
});

test('a stream beyond the limit is refused; one that ends makes room', async () => {
  const server = new Server({ streamsMax: 2 });
  const first = await server.connect();
  await server.connect();
  assert.equal((await server.connect()).failure()?.code, status.RESOURCE_EXHAUSTED);
  first.cancel();
  assert.equal((await server.connect()).failure(), undefined);
});

test('a stream that says nothing is ended in time', async () => {
  const server = new Server({ admissionWaitMs: 2_000 });
  const call = server.open();
  await server.clock.advance(1_999);
  assert.equal(call.failure(), undefined);
  await server.clock.advance(1);
  assert.deepEqual(call.failure(), {
    code: status.PERMISSION_DENIED,
    details: 'the first request did not come in time',
  });
});

test('a pod that is not known yet is waited for, and nothing more is read meanwhile', async () => {
  const server = new Server();
  const call = await server.connect('web-2');
  for (let index = 0; index < 100; index++) call.request(hello('web-2', ['x']));
  await settle();
  assert.ok(call.readableLength >= 99, 'what was not read waits in the transport');
  assert.deepEqual(server.xds.trackers(), []);
  server.use([...SHOP, podObject(pod('shop', 'web-2', '10.244.0.7', 'web'))]);
  await settle();
  assert.equal(call.sent.length > 0, true);
  assert.equal(call.readableLength, 0);
  assert.equal(server.xds.trackers().length, 1);
});

test('a pod that does not become known is refused by name', async () => {
  const server = new Server({ admissionWaitMs: 2_000 });
  const call = await server.connect('web-2');
  await server.clock.advance(2_000);
  assert.deepEqual(call.failure(), {
    code: status.PERMISSION_DENIED,
    details: 'pod shop/web-2 is not known',
  });
});

test('of one pod the newest streams stay', async () => {
  const server = new Server({ streamsPerPodMax: 2 });
  const [first, second, third] = [await server.connect(), await server.connect(), await server.connect()];
  assert.equal(first.failure()?.code, status.ABORTED);
  assert.equal(second.failure() ?? third.failure(), undefined);
  assert.equal(server.xds.trackers().length, 2);
});

test('a stream ends with the certificate that let it in', async () => {
  const server = new Server();
  const call = await server.connect('web', server.certificate(40 * 24 * HOUR_MS));
  await server.clock.advance(40 * 24 * HOUR_MS - 1_000);
  assert.equal(call.failure(), undefined);
  await server.clock.advance(1_000);
  assert.equal(call.failure()?.code, status.UNAUTHENTICATED);
  assert.match(call.failure()?.details ?? '', /expired: connect with a new one/);
});

test('a pod that comes back under another account ends the stream of the first', async () => {
  const server = new Server();
  const call = await server.connect();
  server.use([...SHOP.slice(1), podObject(pod('shop', 'web', '10.244.0.1', 'other'))]);
  await settle();
  assert.equal(call.failure()?.code, status.PERMISSION_DENIED);
  assert.equal(call.sent.length, 1);
});

test('a pod that goes away keeps its stream: what it serves on it serves out', async () => {
  const server = new Server();
  const call = await server.connect();
  server.use(SHOP.slice(1));
  await settle();
  assert.equal(call.failure(), undefined);
});

test('a client that answers nothing is sent no more than the limit; the rest comes as one difference', async () => {
  const server = new Server({ responsesUnansweredMax: 3 });
  const call = await server.connect();
  for (let connections = 1; connections <= 20; connections++) {
    server.use(limited(connections));
    await settle();
  }
  assert.equal(call.sent.length, 3);
  call.request(answer(call.sent[0]?.nonce ?? ''));
  await settle();
  assert.equal(call.sent.length, 4);
  call.request(answer(call.sent[1]?.nonce ?? ''));
  await settle();
  assert.equal(call.sent.length, 4, 'nothing is left to tell');
});

test('a client that answers nothing is sent no more bytes than the limit and one difference', async () => {
  const server = new Server({ bytesUnansweredMax: 1_000 });
  const call = await server.connect();
  for (let connections = 1; connections <= 20; connections++) {
    server.use(limited(connections));
    await settle();
  }
  const sizes = call.sent.map(({ resources }) => resources[0]?.resource?.value.length ?? 0);
  const before = sizes.slice(0, -1).reduce((sum, size) => sum + size, 0);
  assert.ok(before < 1_000 && before + (sizes.at(-1) ?? 0) >= 1_000, `sent ${sizes}`);
  for (const { nonce } of [...call.sent]) call.request(answer(nonce));
  await settle();
  assert.equal(call.sent.length, sizes.length + 1, 'once it answers, it gets the one difference');
});

test('while the transport is full nothing is written; then one difference is', async () => {
  const server = new Server();
  const call = await server.connect();
  call.hold();
  for (let connections = 1; connections <= 60; connections++) {
    server.use(limited(connections));
    await settle(1);
  }
  assert.ok(call.writableLength <= 16, `${call.writableLength} responses wait`);
  const before = call.sent.length + call.writableLength;
  call.drain();
  await settle();
  assert.ok(call.sent.length <= before + 1);
  const versions = call.sent.flatMap(({ resources }) => resources.map(({ version }) => version));
  assert.equal(new Set(versions).size, versions.length, 'no version was sent twice');
  assert.equal(server.xds.trackers()[0]?.delivery(TYPE.cluster, CATALOG)?.version, versions.at(-1));
});

test('a request beyond a limit ends its stream, and says which', async () => {
  const server = new Server({ subscriptionsMax: 5 });
  const call = server.open();
  const names = ['1', '2', '3', '4', '5', '6'];
  call.request(hello('web', names));
  await settle();
  assert.deepEqual(call.failure(), {
    code: status.RESOURCE_EXHAUSTED,
    details: 'more than 5 subscriptions on one stream',
  });
});

test('proxies come, answer and go, and each time it is told', async () => {
  const server = new Server();
  const call = await server.connect();
  const connected = server.proxiesTold;
  assert.ok(connected > 0);
  call.request(answer(call.sent[0]?.nonce ?? ''));
  await settle();
  const answered = server.proxiesTold;
  assert.ok(answered > connected);
  call.request(null as never);
  await settle();
  assert.ok(call.ended, 'a client that ends is ended in turn');
  assert.ok(server.proxiesTold > answered);
  assert.deepEqual(server.xds.trackers(), []);
});

test('at the end every stream is ended and no timer is left', async () => {
  const server = new Server();
  const calls = [await server.connect(), server.open()];
  server.xds.close();
  await settle();
  assert.ok(calls.every(({ ended }) => ended));
  const told = server.proxiesTold;
  await server.clock.advance(48 * HOUR_MS);
  assert.equal(server.proxiesTold, told);
  assert.ok(calls.every((call) => call.failure() === undefined));
});
