import { METADATA_KEY } from '../../common/contracts.ts';
import { Cluster as ClusterProto } from '../../common/gen/envoy/config/cluster/v3/cluster.ts';
import { ClusterLoadAssignment } from '../../common/gen/envoy/config/endpoint/v3/endpoint.ts';
import { Listener } from '../../common/gen/envoy/config/listener/v3/listener.ts';
import { RouteConfiguration } from '../../common/gen/envoy/config/route/v3/route.ts';
import { Secret } from '../../common/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import { clusterResource } from '../../control-plane/translate/cluster.ts';
import { destinationListener, destinationRoutes } from '../../control-plane/translate/destination.ts';
import { endpointsResource } from '../../control-plane/translate/endpoints.ts';
import { inboundListener } from '../../control-plane/translate/listener.ts';
import { trustBundleSecret } from '../../control-plane/translate/secret.ts';
import {
  DEFAULT_CIRCUIT_BREAKER,
  DEFAULT_CLUSTER_POLICY,
  DEFAULT_REQUEST_POLICY,
} from '../../model/policy-types.ts';
import {
  type Cluster,
  DEFAULT_SIDECAR_SETTINGS,
  type Destination,
  type Endpoint,
  type InboundConfig,
  type RouteMatch,
  type RouteRule,
} from '../../model/snapshot.ts';

/** Model objects with every part filled in, and the xDS resources that the control plane makes of them. */

export const CATALOG = 'catalog.shop.svc.cluster.local:80';
export const CATALOG_CLUSTER = 'outbound|80||catalog.shop.svc.cluster.local';
const CATALOG_ID = 'spiffe://cluster.local/ns/shop/sa/catalog';

function endpoint(host: number, over: Partial<Endpoint> = {}): Endpoint {
  const address = `10.244.0.${host}`;
  return {
    ...{ key: `${address}:8080`, address, port: 8080, pod: `shop/catalog-${host}`, node: 'n1', zone: 'a' },
    ...{ weight: 1, health: 'ready', mtls: true, identities: [CATALOG_ID] },
    ...over,
  };
}

export const ENDPOINTS: readonly Endpoint[] = [
  endpoint(1),
  endpoint(2, { health: 'draining', zone: 'b' }),
  endpoint(3, { mtls: false, identities: [], pod: undefined, node: undefined, zone: undefined, weight: 7 }),
  endpoint(4, { zone: 'a' }),
];

export const CLUSTER: Cluster = {
  ...{ name: CATALOG_CLUSTER, namespace: 'shop', service: 'catalog', port: 80, protocol: 'http' },
  policy: {
    ...DEFAULT_CLUSTER_POLICY,
    circuitBreaker: DEFAULT_CIRCUIT_BREAKER,
    loadBalancer: { policy: 'Maglev', hash: { from: 'header', name: 'x-user' } },
  },
  endpoints: ENDPOINTS,
};

const MATCHES: readonly RouteMatch[] = [
  {
    path: { kind: 'prefix', value: '/items/' },
    method: 'GET',
    headers: [{ name: 'x-user', match: { kind: 'regex', value: 'b.*' } }],
    queryParams: [{ name: 'Page', match: { kind: 'exact', value: '1' } }],
  },
  { path: { kind: 'regex', value: '/a+' }, method: undefined, headers: [], queryParams: [] },
];

const RULE: RouteRule = {
  ...{ id: 'HTTPRoute/shop/catalog#0', object: 'shop/catalog', ruleIndex: 0, createdAtMs: 1_000 },
  matches: MATCHES,
  requestHeaders: { set: [['x-rate', '5%']], add: [['x-more', 'a']], remove: ['x-less'] },
  responseHeaders: { set: [], add: [], remove: [] },
  redirect: undefined,
  rewrite: undefined,
  mirrors: [],
  backends: [
    {
      cluster: CATALOG_CLUSTER,
      weight: 9,
      invalid: undefined,
      requestHeaders: undefined,
      responseHeaders: undefined,
    },
    {
      cluster: 'outbound|80||gone.shop.svc.cluster.local',
      weight: 1,
      invalid: 'Service shop/gone is missing',
      requestHeaders: undefined,
      responseHeaders: undefined,
    },
  ],
  policy: {
    ...DEFAULT_REQUEST_POLICY,
    retry: { ...DEFAULT_REQUEST_POLICY.retry, on: ['connect-failure', 'reset'], codes: [503] },
  },
};

/** Leads nowhere: what Envoy answers by itself. */
const UNSERVED: RouteRule = {
  ...RULE,
  ...{ id: 'HTTPRoute/shop/catalog#1', ruleIndex: 1, requestHeaders: undefined, responseHeaders: undefined },
  matches: [{ path: { kind: 'exact', value: '/none' }, method: undefined, headers: [], queryParams: [] }],
  backends: [
    {
      ...{ cluster: CATALOG_CLUSTER, weight: 0, invalid: undefined, responseHeaders: undefined },
      requestHeaders: { set: [['Host', 'a.b']], add: [['x-a', '5%']], remove: ['x-b'] },
    },
  ],
};

export const COPY_CLUSTER = 'outbound|80||copy.shop.svc.cluster.local';

/** Changes what goes on, to a backend with edits of its own, and copies it. */
const REWRITTEN: RouteRule = {
  ...UNSERVED,
  ...{ id: 'HTTPRoute/shop/catalog#2', ruleIndex: 2, responseHeaders: { set: [], add: [], remove: ['x-r'] } },
  matches: [{ path: { kind: 'prefix', value: '/old' }, method: undefined, headers: [], queryParams: [] }],
  rewrite: { hostname: 'new.example', path: { kind: 'prefix', value: '/' } },
  mirrors: [
    { cluster: COPY_CLUSTER, numerator: 1, denominator: 3, invalid: undefined },
    { cluster: 'outbound|80||lost.shop.svc.cluster.local', numerator: 5, denominator: 100, invalid: 'lost' },
  ],
  backends: [
    {
      ...{ cluster: CATALOG_CLUSTER, weight: 1, invalid: undefined },
      requestHeaders: { set: [['x-own', '1']], add: [], remove: ['x-less'] },
      responseHeaders: { set: [], add: [['x-more', '%']], remove: [] },
    },
    {
      ...{ cluster: CATALOG_CLUSTER, weight: 2, invalid: undefined, responseHeaders: undefined },
      requestHeaders: { set: [['x-own', '2']], add: [], remove: [] },
    },
  ],
};

/** Each backend is called by a name of its own. */
const REHOSTED: RouteRule = {
  ...REWRITTEN,
  ...{ id: 'HTTPRoute/shop/catalog#3', ruleIndex: 3, mirrors: [] },
  matches: [{ path: { kind: 'prefix', value: '/by-name' }, method: undefined, headers: [], queryParams: [] }],
  rewrite: { hostname: undefined, path: { kind: 'full', value: '/x' } },
  backends: ['a', 'b'].map((name) => ({
    ...{ cluster: CATALOG_CLUSTER, weight: 1, invalid: undefined, responseHeaders: undefined },
    requestHeaders: { set: [['Host', `${name}.example`]], add: [], remove: [] },
  })),
};

/** The rule edits what its first backend edits, too, Host included. */
const SHARED: RouteRule = {
  ...UNSERVED,
  ...{ id: 'HTTPRoute/shop/catalog#5', ruleIndex: 5 },
  matches: [{ path: { kind: 'prefix', value: '/shared' }, method: undefined, headers: [], queryParams: [] }],
  requestHeaders: { set: [['X-Both', '5%']], add: [['x-rule', 'r']], remove: ['x-less'] },
  responseHeaders: { set: [], add: [['x-both', 'r']], remove: [] },
  rewrite: { hostname: 'new.example', path: undefined },
  backends: [
    {
      ...{ cluster: CATALOG_CLUSTER, weight: 1, invalid: undefined },
      requestHeaders: {
        set: [
          ['host', 'a.example'],
          ['x-less', 'b'],
        ],
        add: [['x-both', 'b']],
        remove: [],
      },
      responseHeaders: { set: [], add: [], remove: ['x-both'] },
    },
    {
      ...{ cluster: CATALOG_CLUSTER, weight: 2, invalid: undefined },
      ...{ requestHeaders: undefined, responseHeaders: undefined },
    },
  ],
};

const REDIRECTED: RouteRule = {
  ...UNSERVED,
  ...{ id: 'HTTPRoute/shop/catalog#4', ruleIndex: 4, backends: [] },
  matches: [{ path: { kind: 'prefix', value: '/moved' }, method: undefined, headers: [], queryParams: [] }],
  redirect: {
    ...{ scheme: 'https', hostname: 'new.example', port: 8443, status: 308 },
    path: { kind: 'prefix', value: '/here' },
  },
};

export const PLAIN_DESTINATION: Destination = {
  ...{ key: CATALOG, namespace: 'shop', service: 'catalog', port: 80, protocol: 'http' },
  addresses: ['10.96.0.1:80', '[fd10:96::1]:80'],
  entries: [],
  defaultCluster: CATALOG_CLUSTER,
  policy: DEFAULT_REQUEST_POLICY,
};

export const DESTINATION: Destination = {
  ...PLAIN_DESTINATION,
  entries: [RULE, UNSERVED, REWRITTEN, REHOSTED, REDIRECTED, SHARED].flatMap((rule) =>
    rule.matches.map((match) => ({ match, rule })),
  ),
};

export const INBOUND: InboundConfig = {
  ports: [
    { port: 8080, protocol: 'http', mode: 'STRICT' },
    { port: 9000, protocol: 'tcp', mode: 'DISABLE' },
  ],
  defaultMode: 'PERMISSIVE',
  settings: DEFAULT_SIDECAR_SETTINGS,
  draining: false,
};

export function clusterProto(cluster: Cluster = CLUSTER): ClusterProto {
  return ClusterProto.decode(clusterResource(cluster).body.value);
}

export function endpointsProto(cluster: Cluster = CLUSTER): ClusterLoadAssignment {
  return ClusterLoadAssignment.decode(endpointsResource(cluster).body.value);
}

export function routesProto(destination: Destination = DESTINATION): RouteConfiguration {
  return RouteConfiguration.decode(destinationRoutes(destination, () => undefined).body.value);
}

export function listenerProto(destination: Destination = DESTINATION): Listener {
  return Listener.decode(destinationListener(destination).body.value);
}

export function inboundProto(config: InboundConfig = INBOUND): Listener {
  return Listener.decode(inboundListener('10.244.0.9', config).body.value);
}

export function secretProto(pem: string): Secret {
  return Secret.decode(trustBundleSecret(pem).body.value);
}

interface WithMetadata {
  metadata?: { filterMetadata: { [key: string]: unknown } } | undefined;
}

/** Changes one member, at a path of names and indices, of what a message says under Heddle's key. */
export function setMetadata(message: WithMetadata, path: readonly (string | number)[], value: unknown): void {
  let at: unknown = message.metadata?.filterMetadata[METADATA_KEY];
  for (const step of path.slice(0, -1)) at = Object.getOwnPropertyDescriptor(Object(at), step)?.value;
  if (typeof at !== 'object' || at === null) throw new Error(`nothing at ${path.join('.')}`);
  Object.defineProperty(at, path.at(-1) ?? '', {
    ...{ value, enumerable: true, writable: true, configurable: true },
  });
}
