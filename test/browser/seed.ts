import type { DropEnd, DropRecord } from '../../common/pod-network.ts';
import type { DropsView } from '../../control-plane/drops/feed.ts';
import { DropFlows } from '../../control-plane/drops/flows.ts';
import type { ControlPlaneView } from '../../control-plane/view.ts';

/** OTLP/JSON traces of a small shop: plain ones, a retry that saved a request, a failure, a copy for a mirror, and hostile text. */
const TRACES = 12;

const value = (from: string | number | boolean) =>
  typeof from === 'string'
    ? { stringValue: from }
    : typeof from === 'number'
      ? { intValue: from }
      : { boolValue: from };
const attributes = (from: Record<string, string | number | boolean>) =>
  Object.entries(from).map(([key, each]) => ({ key, value: value(each) }));

const REASONS = JSON.stringify([
  {
    stage: 'destination',
    subject: 'catalog.shop.svc.cluster.local:80',
    outcome: 'chosen',
    text: 'the Service shop/catalog',
  },
  {
    stage: 'route',
    subject: 'HTTPRoute/shop/catalog#0',
    outcome: 'rejected',
    text: 'header x-user is absent, "beta" is wanted',
  },
  {
    stage: 'route',
    subject: 'HTTPRoute/shop/catalog#1',
    outcome: 'chosen',
    text: 'path /items has the prefix /',
  },
  {
    stage: 'balance',
    subject: '127.244.0.12:8080',
    outcome: 'chosen',
    text: 'lower peak latency (3.1 ms) of two picked',
  },
  {
    stage: 'retry',
    subject: 'outbound|80||catalog.shop.svc.cluster.local',
    outcome: 'info',
    text: 'up to 2 retries, budget 20 %',
  },
]);

export const HOSTILE = '<img src=x onerror="window.hacked=1">';

interface Made {
  readonly service: string;
  readonly span: object;
}

function traceOf(index: number, nowMs: number): Made[] {
  const traceId = (index + 1).toString(16).padStart(32, 'a');
  const startMs = nowMs - 2_000 - index * 9_000;
  const failed = index % 5 === 3;
  const retried = index % 4 === 1;
  const id = (number: number) => (index * 16 + number + 1).toString(16).padStart(16, '0');
  const make = (
    service: string,
    [number, parent]: [number, number],
    [name, kind]: [string, number],
    [fromMs, toMs]: [number, number],
    tags: Record<string, string | number | boolean>,
    error = false,
  ): Made => ({
    service,
    span: {
      traceId,
      spanId: id(number),
      ...(parent < 0 ? {} : { parentSpanId: id(parent) }),
      name,
      kind,
      startTimeUnixNano: `${BigInt(Math.round((startMs + fromMs) * 1000)) * 1000n}`,
      endTimeUnixNano: `${BigInt(Math.round((startMs + toMs) * 1000)) * 1000n}`,
      attributes: attributes(tags),
      status: error ? { code: 2 } : {},
    },
  });
  const name = index === 2 ? HOSTILE : 'GET /items';
  const status = failed ? 503 : 200;
  const long = 20 + ((index * 37) % 90);
  const peer = { 'heddle.peer': 'spiffe://cluster.local/ns/shop/sa/catalog' };
  const made = [
    make(
      'web',
      [0, -1],
      [name, 2],
      [0, long],
      { 'http.request.method': 'GET', 'url.path': '/items', 'http.response.status_code': status },
      failed,
    ),
    make(
      'web',
      [1, 0],
      ['GET', 3],
      [2, long - 2],
      {
        'url.full': 'http://catalog/items',
        'http.request.method': 'GET',
        'http.response.status_code': status,
        'heddle.route': 'HTTPRoute/shop/catalog#1',
        'heddle.reasons': REASONS,
        'heddle.breaker.state': failed ? 'open' : 'closed',
      },
      failed,
    ),
    make(
      'web',
      [2, 1],
      ['attempt', 3],
      [3, retried ? 9 : long - 3],
      {
        'heddle.attempt': 1,
        'heddle.endpoint': '127.244.0.11:8080',
        ...peer,
        'http.response.status_code': retried ? 503 : status,
      },
      failed || retried,
    ),
  ];
  if (retried)
    made.push(
      make('web', [3, 1], ['attempt', 3], [12, long - 3], {
        'heddle.attempt': 2,
        'heddle.endpoint': '127.244.0.12:8080',
        ...peer,
        'http.response.status_code': 200,
      }),
    );
  if (index === 0) {
    // A copy that fails after its request was answered.
    const [fromMs, toMs] = [3, long + 300];
    const tags = { 'heddle.mirror': true, 'http.response.status_code': 503 };
    made.push(
      make('web', [7, 1], ['mirror shadow', 3], [fromMs, toMs], tags, true),
      make('shadow', [8, 7], ['GET /items', 2], [fromMs + 1, toMs - 1], {}, true),
    );
  }
  if (!failed) {
    made.push(
      make('catalog', [4, retried ? 3 : 2], ['GET /items', 2], [retried ? 13 : 4, long - 4], {
        'http.response.status_code': 200,
      }),
    );
    made.push(
      make('catalog', [5, 4], ['GET', 3], [retried ? 14 : 5, long - 5], {
        'url.full': 'http://reviews/all',
        'http.response.status_code': 200,
      }),
    );
    made.push(
      make('reviews', [6, 5], ['GET /all', 2], [retried ? 14.5 : 6, long - 6], {
        'http.response.status_code': 200,
      }),
    );
  }
  return made;
}

/** The body of an OTLP/HTTP export in JSON. */
export function seedExport(nowMs: number): object {
  const made = Array.from({ length: TRACES }, (_, index) => traceOf(index, nowMs)).flat();
  return {
    resourceSpans: [...new Set(made.map((each) => each.service))].map((service) => ({
      resource: {
        attributes: attributes({
          'service.name': service,
          'k8s.namespace.name': 'shop',
          'k8s.pod.name': `${service}-7d4f`,
        }),
      },
      scopeSpans: [
        {
          scope: { name: 'heddle' },
          spans: made.filter((each) => each.service === service).map((each) => each.span),
        },
      ],
    })),
  };
}

/** A small mesh with one sound route and one refused one, enough for every page. */
export function seedView(): ControlPlaneView {
  const conditions = (ok: boolean) => [
    {
      type: 'Accepted' as const,
      status: ok ? ('True' as const) : ('False' as const),
      reason: ok ? 'Accepted' : 'UnsupportedValue',
      message: ok ? '' : 'spec.rules[0].filters[0]: RequestMirror is not supported',
    },
  ];
  const route = (name: string, ok: boolean) => ({
    origin: { source: 'route.yaml', line: 1 },
    object: {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name, namespace: 'shop' },
      status: {
        parents: [
          {
            parentRef: { group: '', kind: 'Service', namespace: 'shop', name: 'catalog' },
            controllerName: 'heddle.dev/mesh-controller',
            conditions: conditions(ok),
          },
        ],
      },
    },
  });
  const snapshot = { destination: () => undefined, cluster: () => undefined };
  return {
    mesh: () => ({
      settings: {
        trustDomain: 'cluster.local',
        outboundUnknown: 'ALLOW',
        tracing: { samplingPercent: 100, keepErrors: true, keepSlowerThanMs: 1000, otlpEndpoint: '' },
        detectionTimeoutMs: 100,
        drainGraceMs: 30_000,
        mtlsMode: 'PERMISSIVE',
        leafTtlMs: 1,
        rootTtlMs: 1,
      },
      clusters: new Map(),
      workloads: new Map(),
      statuses: [],
      problems: [],
      destinationsFor: () => new Map(),
      inboundFor: () => undefined,
      snapshotFor: () => snapshot,
    }),
    objects: () => [route('catalog', true), route('mirror', false)],
    statuses: () => [],
    statusOf: () => undefined,
    problems: () => [
      {
        severity: 'error',
        source: 'route.yaml',
        line: 14,
        object: 'HTTPRoute shop/mirror',
        field: 'spec.rules[0].filters[0]',
        message: 'RequestMirror is not supported: remove the filter',
      },
    ],
    proxies: () => [],
    onChange: () => () => undefined,
    proxyState: async () => undefined,
  };
}

const podEnd = (name: string, ip: string, port = 0): DropEnd => ({ kind: 'pod', name, ip, port });

export function dropRecord(sequence: number, part: Partial<DropRecord> = {}): DropRecord {
  return {
    ...{ sequence, node: 'node-1', at: '2026-01-02T10:20:30.000Z', packets: 1, bytes: 60, protocol: 'TCP' },
    ...{ direction: 'ingress', reason: 'policy', message: 'no rule of a NetworkPolicy allows it' },
    from: podEnd('shop/visitor-5f9c7d8b6-x2v4z', '10.244.2.7', 40_000),
    to: podEnd('shop/payments-6c8f7d5b9c-q8w2k', '10.244.1.5', 8080),
    policies: ['shop/payments-from-web-only'],
    ...part,
  };
}

/** Drops of two nodes that tests add to; told as the agents would. */
export class SeedDrops implements DropsView {
  readonly #flows = new DropFlows();
  readonly #listeners = new Set<() => void>();
  connected = 2;

  add(...records: readonly DropRecord[]): void {
    for (const record of records) this.#flows.add(record);
    for (const listener of this.#listeners) listener();
  }

  flows() {
    return this.#flows.all();
  }

  agents() {
    return { connected: this.connected, all: 2 };
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** One of each sort that the page shows differently. */
export function seedDrops(): readonly DropRecord[] {
  return [
    dropRecord(1, {
      ...{
        at: '2026-01-02T10:20:10.000Z',
        direction: 'egress',
        reason: 'bypass',
        policies: [],
        node: 'node-2',
      },
      message:
        'TCP of a pod in the mesh that did not come from its sidecar; look for a program that runs as uid 1337',
      to: { kind: 'world', name: '', ip: '2001:db8:85a3::8a2e:370:7334', port: 443 },
    }),
    dropRecord(2, {
      ...{ at: '2026-01-02T10:20:20.000Z', protocol: 'ICMP', packets: 12 },
      from: { kind: 'node', name: 'node-2', ip: '172.31.0.12', port: 0 },
      to: podEnd('shop/payments-6c8f7d5b9c-q8w2k', '10.244.1.5'),
      policies: ['shop/default-deny', 'shop/payments-from-web-only'],
    }),
    dropRecord(3, { packets: 48_213 }),
  ];
}
