/** Names and numbers that manifests, other processes and operators rely on. Changing one breaks somebody. */

export const PORTS = {
  proxyAdmin: 15000,
  proxyOutbound: 15001,
  proxyInbound: 15006,
  proxyAdminForControlPlane: 15009,
  proxyMetrics: 15020,
  proxyHealth: 15021,
  controlPlane: 15012,
  controlPlaneMetrics: 15014,
  otlpGrpc: 4317,
  otlpHttp: 4318,
  dashboard: 15080,
  injector: 15017,
} as const;

/** Never captured: the sidecar's own ports that the node or the control plane calls. */
export const UNCAPTURED_PORTS: readonly number[] = [
  PORTS.proxyAdminForControlPlane,
  PORTS.proxyMetrics,
  PORTS.proxyHealth,
];

export const LABELS = {
  inject: 'heddle.dev/inject',
  revision: 'heddle.dev/rev',
} as const;

export const ANNOTATIONS = {
  injected: 'heddle.dev/injected',
  skipInboundPorts: 'heddle.dev/skip-inbound-ports',
  skipOutboundPorts: 'heddle.dev/skip-outbound-ports',
  skipOutboundCidrs: 'heddle.dev/skip-outbound-cidrs',
  opaquePorts: 'heddle.dev/opaque-ports',
  proxyCpuRequest: 'heddle.dev/proxy-cpu-request',
  proxyCpuLimit: 'heddle.dev/proxy-cpu-limit',
  proxyMemoryRequest: 'heddle.dev/proxy-memory-request',
  proxyMemoryLimit: 'heddle.dev/proxy-memory-limit',
  logLevel: 'heddle.dev/log-level',
  traceSampling: 'heddle.dev/trace-sampling',
  shutdownDelay: 'heddle.dev/shutdown-delay',
} as const;

export const SIDECAR = { container: 'heddle-proxy', uid: 1337, gid: 1337 } as const;

export const SYSTEM_NAMESPACE = 'heddle-system';
/** Where pods of a cluster find the control plane. */
export const CONTROL_PLANE_ADDRESS = `heddle-control-plane.${SYSTEM_NAMESPACE}.svc.cluster.local:${PORTS.controlPlane}`;
export const CONTROLLER_NAME = 'heddle.dev/mesh-controller';
export const HEDDLE_GROUP = 'heddle.dev';
export const TOKEN_AUDIENCE = 'heddle-ca';
export const TRUST_BUNDLE_CONFIG_MAP = 'heddle-trust-bundle';
export const DEFAULT_TRUST_DOMAIN = 'cluster.local';
/** The DNS suffix of Services. */
export const CLUSTER_DOMAIN = 'cluster.local';

/** ALPN: the marker comes first in a mesh client's offer; the server selects what follows it. */
export const ALPN = { marker: 'heddle', http1: 'http/1.1', http2: 'h2', opaque: 'heddle-tcp' } as const;

export const HEADERS = {
  reason: 'x-heddle-reason',
  attempt: 'x-heddle-attempt',
  requestId: 'x-request-id',
  forwardedFor: 'x-forwarded-for',
  forwardedProto: 'x-forwarded-proto',
  forwardedClientCert: 'x-forwarded-client-cert',
} as const;

/** openzipkin/b3-propagation: a sidecar writes them anew where a request brings some of them. */
export const B3_HEADERS: readonly string[] = [
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
];

/** The metadata namespace for what Envoy's own fields can't say. */
export const METADATA_KEY = 'heddle.dev';
