/** The xDS resource types that Heddle speaks, in the order in which additions are sent (make before break). */
export const TYPE = {
  secret: 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
  cluster: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  endpoints: 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  listener: 'type.googleapis.com/envoy.config.listener.v3.Listener',
  route: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
} as const;

export type ResourceType = (typeof TYPE)[keyof typeof TYPE];

/** Secrets first, since clusters refer to them; then clusters, their endpoints, listeners, routes. */
export const TYPES_IN_ORDER: readonly ResourceType[] = [
  TYPE.secret,
  TYPE.cluster,
  TYPE.endpoints,
  TYPE.listener,
  TYPE.route,
];

export function isResourceType(typeUrl: string): typeUrl is ResourceType {
  return TYPES_IN_ORDER.some((type) => type === typeUrl);
}

/** `ClusterLoadAssignment` for `type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment`. */
export function shortType(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('.') + 1);
}

/** Names of resources that are not destinations. */
export const RESOURCE = {
  trustBundle: 'trust-bundle',
  inbound: 'inbound',
  /** The one listener, and the one route configuration, of a stock Envoy. */
  outbound: 'outbound',
} as const;

/** Stands before the cluster name of a backend that a route must not use, so that no client finds such a cluster. */
export const INVALID_BACKEND_PREFIX = 'invalid|';

/** The metadata by which Envoy picks a `transport_socket_matches` entry for an endpoint. */
export const TRANSPORT_SOCKET_MATCH = 'envoy.transport_socket_match';
