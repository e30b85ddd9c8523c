import assert from 'node:assert/strict';
import type { DeltaDiscoveryResponse } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { DeltaDiscoveryRequest } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import type { JsonValue } from '../../common/json.ts';
import { translate, translationCache } from '../../control-plane/translate/translator.ts';
import { DeltaSession } from '../../control-plane/xds/delta.ts';
import { DEFAULT_XDS_LIMITS } from '../../control-plane/xds/limits.ts';
import { DeliveryTracker } from '../../control-plane/xds/tracker.ts';
import { buildMesh } from '../../model/build.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { DEFAULT_MESH_SETTINGS } from '../../model/settings.ts';
import type { FoundDestination } from '../../proxy/stage.ts';
import { ConfigStore } from '../../proxy/xds/config-store.ts';
import { type ConfigLimits, DEFAULT_CONFIG_LIMITS } from '../../proxy/xds/limits.ts';
import { makeCa } from '../integration/engine/ca.ts';
import { VirtualClock } from './virtual-clock.ts';

export const PEM = makeCa('Test root').rootPem;
export const CATALOG = 'catalog.shop.svc.cluster.local:80';
export const V1 = 'outbound|80||catalog-v1.shop.svc.cluster.local';
export const V2 = 'outbound|80||catalog-v2.shop.svc.cluster.local';

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

export const service = (name: string, ip: string) => [
  object('v1', 'Service', name, {
    spec: { clusterIP: ip, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
  }),
  object('discovery.k8s.io/v1', 'EndpointSlice', `${name}-1`, {
    labels: { 'kubernetes.io/service-name': name },
    ...{ addressType: 'IPv4', ports: [{ name: 'http', port: 8080 }] },
    endpoints: [{ addresses: [ip.replace('10.96', '10.244')], conditions: { ready: true } }],
  }),
];
export const web = object('v1', 'Pod', 'web-1', {
  annotations: { 'heddle.dev/injected': 'default' },
  spec: { containers: [{ ports: [{ containerPort: 8080 }] }] },
  status: { podIP: '10.244.9.9' },
});
export const route = (weightOfV2: number) =>
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
export const SERVICES = [
  ...service('catalog', '10.96.0.1'),
  ...service('catalog-v1', '10.96.0.2'),
  ...service('catalog-v2', '10.96.0.3'),
];

/** A sidecar's store and a control plane's session, joined without a wire. */
export class Link {
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
