import { METADATA_KEY } from '../../common/contracts.ts';
import { HealthStatus } from '../../common/gen/envoy/config/core/v3/health_check.ts';
import { ClusterLoadAssignment } from '../../common/gen/envoy/config/endpoint/v3/endpoint.ts';
import { TRANSPORT_SOCKET_MATCH, TYPE } from '../../common/wire/types.ts';
import type { Cluster, Endpoint } from '../../model/snapshot.ts';
import { compact, type EncodedResource, encodeResource } from './encoding.ts';

/** Names a set of identities: endpoints that share it share a TLS socket in Envoy. */
export function identityKey(identities: readonly string[]): string {
  return [...identities].sort().join(',');
}

/** The endpoints of a cluster, by zone. Their order is kept where zones are mixed, so that both ends see the same list. */
export function endpointsResource(cluster: Cluster): EncodedResource {
  const zones = Map.groupBy(cluster.endpoints.entries(), ([, endpoint]) => endpoint.zone);
  const mixed = zones.size > 1;
  return encodeResource(
    TYPE.endpoints,
    cluster.name,
    [],
    ClusterLoadAssignment,
    ClusterLoadAssignment.fromPartial({
      clusterName: cluster.name,
      endpoints: [...zones].map(([zone, members]) => ({
        ...(zone === undefined ? {} : { locality: { zone } }),
        lbEndpoints: members.map(([index, endpoint]) => lbEndpoint(endpoint, mixed ? index : undefined)),
      })),
    }),
  );
}

function lbEndpoint(endpoint: Endpoint, order: number | undefined) {
  return {
    hostIdentifier: {
      $case: 'endpoint' as const,
      value: {
        address: {
          address: {
            $case: 'socketAddress' as const,
            value: {
              address: endpoint.address,
              portSpecifier: { $case: 'portValue' as const, value: endpoint.port },
            },
          },
        },
      },
    },
    healthStatus: endpoint.health === 'draining' ? HealthStatus.DRAINING : HealthStatus.HEALTHY,
    loadBalancingWeight: endpoint.weight,
    metadata: {
      filterMetadata: {
        [METADATA_KEY]: compact({
          mtls: endpoint.mtls,
          identities: [...endpoint.identities],
          pod: endpoint.pod,
          node: endpoint.node,
          order,
        }),
        ...(endpoint.mtls
          ? { [TRANSPORT_SOCKET_MATCH]: { identities: identityKey(endpoint.identities) } }
          : {}),
      },
    },
  };
}
