import { Listener } from '../../common/gen/envoy/config/listener/v3/listener.ts';
import { RouteConfiguration } from '../../common/gen/envoy/config/route/v3/route.ts';
import { VirtualHost } from '../../common/gen/envoy/config/route/v3/route_components.ts';
import { TYPE } from '../../common/wire/types.ts';
import type { Destination } from '../../model/snapshot.ts';
import { type EncodedResource, encodeResource, heddleMetadata, pack } from './encoding.ts';
import { connectionManager, HCM_TYPE, HttpConnectionManager } from './listener.ts';
import { wholePolicyMetadata } from './request-policy.ts';
import { defaultRoute, type HashKeyOf, routeOf } from './route.ts';

/** The virtual host of a destination: the same in both packagings, but for the domains it answers to. */
export function virtualHost(
  destination: Destination,
  domains: readonly string[],
  hashKeyOf: HashKeyOf,
): VirtualHost {
  const routes =
    destination.entries.length === 0
      ? [defaultRoute(destination.defaultCluster, destination.policy, hashKeyOf)]
      : destination.entries.map((entry) => routeOf(entry, destination, hashKeyOf));
  return VirtualHost.fromPartial({
    name: destination.key,
    domains: [...domains],
    routes,
    metadata: heddleMetadata({
      namespace: destination.namespace,
      service: destination.service,
      port: destination.port,
      protocol: destination.protocol,
      addresses: [...destination.addresses],
      defaultCluster: destination.defaultCluster,
      policy: wholePolicyMetadata(destination.policy),
    }),
  });
}

/** On demand: a route configuration for one destination. */
export function destinationRoutes(destination: Destination, hashKeyOf: HashKeyOf): EncodedResource {
  return encodeResource(
    TYPE.route,
    destination.key,
    [],
    RouteConfiguration,
    RouteConfiguration.fromPartial({
      name: destination.key,
      virtualHosts: [virtualHost(destination, ['*'], hashKeyOf)],
    }),
  );
}

/** On demand: an API listener (as proxyless gRPC asks for it), found by its key or by one of its cluster addresses. */
export function destinationListener(destination: Destination): EncodedResource {
  const manager = pack(HCM_TYPE, HttpConnectionManager, connectionManager(destination.key));
  return encodeResource(
    TYPE.listener,
    destination.key,
    destination.addresses,
    Listener,
    Listener.fromPartial({ name: destination.key, apiListener: { apiListener: manager } }),
  );
}
