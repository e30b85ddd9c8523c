import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import type { DeltaDiscoveryResponse } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { DeltaDiscoveryRequest } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import type { JsonValue } from '../../common/json.ts';
import { RESOURCE, shortType, TYPE } from '../../common/wire/types.ts';
import { translate, translationCache } from '../../control-plane/translate/translator.ts';
import { DeltaSession } from '../../control-plane/xds/delta.ts';
import { DEFAULT_XDS_LIMITS } from '../../control-plane/xds/limits.ts';
import { DeliveryTracker } from '../../control-plane/xds/tracker.ts';
import { buildMesh } from '../../model/build.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { DEFAULT_MESH_SETTINGS } from '../../model/settings.ts';
import { makeCa } from '../../test/integration/engine/ca.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import type { FoundDestination } from '../stage.ts';
import { ConfigStore } from './config-store.ts';
import { type ConfigLimits, DEFAULT_CONFIG_LIMITS } from './limits.ts';

const PEM = makeCa('Test root').rootPem;
const CATALOG = 'catalog.shop.svc.cluster.local:80';
const V1 = 'outbound|80||catalog-v1.shop.svc.cluster.local';
const V2 = 'outbound|80||catalog-v2.shop.svc.cluster.local';

function object(
  apiVersion: string,
  kind: string,
  name: string,
  more: Record<string, JsonValue>,
): SourcedObject {
  const { labels = {}, annotations = {}, ...rest } = more as Record<string, never>;
  return {
    object: { apiVersion, kind, metadata: { name, namespace: 'shop', labels, annotations }, ...rest },
    origin: { source: 'test.yaml', line: 1 },
  };
}

const service = (name: string, ip: string) => [
  object('v1', 'Service', name, {
    spec: { clusterIP: ip, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
  }),
  object('discovery.k8s.io/v1', 'EndpointSlice', `${name}-1`, {
    labels: { 'kubernetes.io/service-name': name },
    ...{ addressType: 'IPv4', ports: [{ name: 'http', port: 8080 }] },
    endpoints: [{ addresses: [ip.replace('10.96', '10.244')], conditions: { ready: true } }],
  }),
];
const web = object('v1', 'Pod', 'web-1', {
  annotations: { 'heddle.dev/injected': 'default' },
  spec: { containers: [{ ports: [{ containerPort: 8080 }] }] },
  status: { podIP: '10.244.9.9' },
});
const route = (weightOfV2: number) =>
  object('gateway.networking.k8s.io/v1', 'HTTPRoute', 'catalog', {
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'catalog' }],
      rules: [
        {
          backendRefs: [
            { name: 'catalog-v1', port: 80, weight: 100 - weightOfV2 },
            { name: 'catalog-v2', port: 80, weight: weightOfV2 },
          ],
        },
      ],
    },
  });
const SERVICES = [
  ...service('catalog', '10.96.0.1'),
  ...service('catalog-v1', '10.96.0.2'),
  ...service('catalog-v2', '10.96.0.3'),
];

/** A sidecar's store and a control plane's session, joined without a wire. */
class Link {
  readonly clock = new VirtualClock();
  readonly store: ConfigStore;
  readonly bundles: string[] = [];
  readonly inbounds: boolean[] = [];
  objects: readonly SourcedObject[] = [web, ...SERVICES];
  /** Responses that the control plane may still send in `exchange`. */
  heldBack: ((response: DeltaDiscoveryResponse) => boolean) | undefined;
  readonly sent: DeltaDiscoveryResponse[] = [];
  readonly refusals: string[] = [];
  #session: DeltaSession | undefined;
  readonly #cache = translationCache();

  constructor(limits: Partial<ConfigLimits> = {}) {
    this.store = new ConfigStore({
      namespace: 'shop',
      limits: { ...DEFAULT_CONFIG_LIMITS, ...limits },
      clock: this.clock,
      onWishes: () => this.#sendWishes(),
      onSnapshot: () => undefined,
      onInbound: ({ draining }) => this.inbounds.push(draining),
      onTrustBundle: (pem) => this.bundles.push(pem),
    });
  }

  connect(): void {
    const client = { namespace: 'shop', pod: 'web-1', bind: {} };
    const node = { nodeId: 'n', identity: 'spiffe://cluster.local/ns/shop/sa/web', client };
    const tracker = new DeliveryTracker(node, 'delta', this.clock);
    this.#session = new DeltaSession(tracker, DEFAULT_XDS_LIMITS);
    for (const { type, subscribe, versions } of this.store.resubscription()) {
      this.#request({
        typeUrl: type,
        resourceNamesSubscribe: [...subscribe],
        initialResourceVersions: { ...versions },
      });
    }
  }

  disconnect(): void {
    this.#session = undefined;
  }

  /** Lets both sides talk until neither has anything to say. */
  exchange(): void {
    const session = this.#session;
    if (session === undefined) return;
    const mesh = buildMesh(this.objects, DEFAULT_MESH_SETTINGS);
    const view = translate(mesh, PEM, this.#cache).view({ namespace: 'shop', pod: 'web-1', bind: {} });
    for (let turn = 0; turn < 20; turn++) {
      const responses = session.collect(view).filter((response) => this.heldBack?.(response) !== true);
      if (responses.length === 0) return;
      for (const response of responses) this.deliver(response);
    }
    assert.fail('the two sides never come to rest');
  }

  /** As the stream does it: without one, wishes go with the next. */
  #sendWishes(): void {
    if (this.#session === undefined) return;
    for (const { type, subscribe, unsubscribe } of this.store.wishes()) {
      this.#request({
        typeUrl: type,
        resourceNamesSubscribe: [...subscribe],
        resourceNamesUnsubscribe: [...unsubscribe],
      });
    }
  }

  deliver(response: DeltaDiscoveryResponse): void {
    this.sent.push(response);
    const refusal = this.store.receive(response);
    if (refusal !== undefined) this.refusals.push(refusal);
    this.#request({
      typeUrl: response.typeUrl,
      responseNonce: response.nonce,
      ...(refusal === undefined ? {} : { errorDetail: { code: 3, message: refusal } }),
    });
  }

  #request(fields: Parameters<typeof DeltaDiscoveryRequest.fromPartial>[0]): void {
    this.#session?.request(DeltaDiscoveryRequest.fromPartial(fields));
  }

  /** What `find` says once both sides have talked. */
  async find(host: string, port = 80): Promise<FoundDestination> {
    const found = this.store.find(host, port);
    this.exchange();
    return found;
  }

  backends(): readonly (readonly [string, number])[] {
    const rule = this.store.snapshot().destination(CATALOG)?.entries[0]?.rule;
    return rule?.backends.map(({ cluster, weight }) => [cluster, weight] as const) ?? [];
  }
}

let link: Link;

beforeEach(() => {
  link = new Link();
  link.connect();
});

test('what every sidecar needs comes without being asked for by a request', () => {
  link.exchange();
  assert.deepEqual(link.bundles, [PEM]);
  assert.deepEqual(link.inbounds, [false]);
  assert.deepEqual(
    link.store.inbound()?.ports.map(({ port }) => port),
    [8080],
  );
  assert.equal(link.store.contents().destinations.length, 0, 'and nothing else');
});

test('a destination is asked for on first use, by any of its names, and known from then on', async () => {
  for (const host of [
    'catalog',
    'catalog.shop',
    'catalog.shop.svc',
    'catalog.shop.svc.cluster.local.',
    '10.96.0.1',
  ]) {
    assert.deepEqual(await link.find(host), { kind: 'mesh', key: CATALOG }, host);
  }
  const again = link.store.find('catalog', 80);
  assert.ok(!(again instanceof Promise), 'answered at once');
  const cluster = link.store.snapshot().cluster('outbound|80||catalog.shop.svc.cluster.local');
  assert.deepEqual(
    cluster?.endpoints.map(({ key }) => key),
    ['10.244.0.1:8080'],
  );
  assert.equal(link.store.contents().destinations.length, 1, 'one destination, whatever it is called');
});

test('what the mesh does not know is external, once the control plane has said so', async () => {
  assert.deepEqual(await link.find('example.com'), { kind: 'external' });
  assert.deepEqual(await link.find('nothing'), { kind: 'external' });
  assert.deepEqual(await link.find('10.96.0.250'), { kind: 'external' });
});

test('without an answer a request waits no longer than the limit', async () => {
  link.disconnect();
  const waiting = link.store.find('catalog', 80);
  let found: FoundDestination | undefined;
  void Promise.resolve(waiting).then((value) => {
    found = value;
  });
  await link.clock.advance(DEFAULT_CONFIG_LIMITS.configWaitMs - 1);
  assert.equal(found, undefined);
  await link.clock.advance(1);
  assert.deepEqual(found, { kind: 'unavailable' });
  assert.equal(link.clock.pendingTimers(), 0);
});

test('a new version of a route is taken in only when all it refers to is there', async () => {
  link.objects = [...link.objects, route(0)];
  await link.find('catalog');
  assert.deepEqual(link.backends(), [
    [V1, 100],
    [V2, 0],
  ]);
  link.objects = [web, ...SERVICES, ...service('catalog-v3', '10.96.0.4'), route(0)].map((sourced) =>
    sourced.object.kind === 'HTTPRoute'
      ? { ...sourced, object: JSON.parse(JSON.stringify(sourced.object).replace('catalog-v2', 'catalog-v3')) }
      : sourced,
  );
  link.heldBack = (response) => response.typeUrl === TYPE.endpoints;
  link.exchange();
  assert.deepEqual(
    link.backends(),
    [
      [V1, 100],
      [V2, 0],
    ],
    'endpoints of v3 are still on their way',
  );
  link.heldBack = undefined;
  // The session believes that it has sent them: a new stream brings what was lost.
  link.connect();
  link.exchange();
  assert.deepEqual(
    link.backends().map(([cluster]) => cluster),
    [V1, V2.replace('v2', 'v3')],
  );
  assert.equal(link.store.snapshot().cluster(V2), undefined, 'what nothing refers to any more is gone');
});

test('a snapshot stays as it was, and shares what did not change', async () => {
  link.objects = [...link.objects, route(0)];
  await link.find('catalog');
  const before = link.store.snapshot();
  link.objects = [web, ...SERVICES, route(50)];
  link.exchange();
  assert.deepEqual(link.backends(), [
    [V1, 50],
    [V2, 50],
  ]);
  assert.equal(before.destination(CATALOG)?.entries[0]?.rule.backends[0]?.weight, 100);
  assert.equal(
    link.store.snapshot().cluster(V1),
    before.cluster(V1),
    'an unchanged cluster is the same object',
  );
});

test('without a control plane everything stays in force; after that only what is new is sent', async () => {
  link.objects = [...link.objects, route(0)];
  await link.find('catalog');
  link.disconnect();
  assert.deepEqual(link.store.find('catalog', 80), { kind: 'mesh', key: CATALOG });
  link.objects = [web, ...SERVICES, route(100)];
  link.sent.length = 0;
  link.connect();
  link.exchange();
  assert.deepEqual(link.backends(), [
    [V1, 0],
    [V2, 100],
  ]);
  assert.deepEqual(
    link.sent.map(({ typeUrl, resources }) => [typeUrl, resources.length]),
    [
      [TYPE.secret, 1],
      [TYPE.route, 1],
    ],
    'and the trust bundle, whose answer says that the stream was taken in',
  );
  assert.equal(link.bundles.length, 1, 'which is the one that was known');
});

test('a destination that is deleted is external, and its parts are given up', async () => {
  await link.find('catalog');
  link.objects = [web];
  link.exchange();
  assert.deepEqual(link.store.find('catalog', 80), { kind: 'external' });
  assert.deepEqual(link.store.contents(), { destinations: [], clusters: [] });
});

test('a resource that can not be used is refused by name, and the one before it keeps serving', async () => {
  link.objects = [...link.objects, route(0)];
  await link.find('catalog');
  const good = link.backends();
  const bad = [
    [TYPE.listener, CATALOG],
    [TYPE.route, CATALOG],
    [TYPE.cluster, V1],
    [TYPE.endpoints, V1],
    [TYPE.secret, RESOURCE.trustBundle],
  ] as const;
  for (const [index, [typeUrl, name]] of bad.entries()) {
    link.deliver({
      ...{
        typeUrl,
        nonce: `bad-${index}`,
        systemVersionInfo: '',
        removedResources: [],
        removedResourceNames: [],
      },
      controlPlane: undefined,
      resourceErrors: [],
      resources: [
        {
          ...{ name, version: '2', aliases: [], ttl: undefined, cacheControl: undefined },
          ...{ resourceName: undefined, metadata: undefined },
          resource: { typeUrl, value: Buffer.from([0xff, 0xff]) },
        },
      ],
    } as DeltaDiscoveryResponse);
    const refusal = link.refusals.at(-1) ?? 'nothing was refused';
    assert.ok(refusal.includes(`${shortType(typeUrl)} "${name}": `), refusal);
  }
  assert.equal(link.refusals.length, bad.length);
  assert.deepEqual(link.backends(), good);
  assert.equal(link.bundles.length, 1);
});

test('what is not used for long is given up while connected', async () => {
  await link.find('catalog');
  await link.find('catalog-v1');
  await link.clock.advance(DEFAULT_CONFIG_LIMITS.idleMs - 1_000);
  link.store.find('catalog-v1', 80);
  await link.clock.advance(2_000);
  link.store.dropIdle();
  link.exchange();
  assert.deepEqual(
    link.store.contents().destinations.map(({ service: name }) => name),
    ['catalog-v1'],
  );
  assert.deepEqual(
    await link.find('catalog'),
    { kind: 'mesh', key: CATALOG },
    'and asked for again when needed',
  );
});

test('subscriptions are bounded: names that nobody has make way, others do not', async () => {
  link = new Link({ subscriptionsMax: 3 });
  link.connect();
  await link.find('catalog');
  await link.find('catalog-v1');
  await link.find('absent');
  assert.equal(link.store.subscriptionCount(), 3);
  assert.deepEqual(await link.find('catalog-v2'), {
    kind: 'mesh',
    key: 'catalog-v2.shop.svc.cluster.local:80',
  });
  assert.equal(link.store.subscriptionCount(), 3);
  assert.deepEqual(await link.find('one-too-many'), { kind: 'unavailable' });
  assert.deepEqual(await link.find('catalog'), { kind: 'mesh', key: CATALOG }, 'what is in use stays');
});

test('closing lets nobody wait', async () => {
  link.disconnect();
  const waiting = link.store.find('catalog', 80);
  link.store.close();
  await link.clock.advance(DEFAULT_CONFIG_LIMITS.configWaitMs);
  await settle();
  assert.deepEqual(await waiting, { kind: 'unavailable' });
});
