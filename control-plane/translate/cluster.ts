import { ALPN } from '../../common/contracts.ts';
import {
  Cluster_DiscoveryType,
  Cluster_LbPolicy,
  Cluster as ClusterCodec,
} from '../../common/gen/envoy/config/cluster/v3/cluster.ts';
import {
  SubjectAltNameMatcher_SanType,
  TlsParameters_TlsProtocol,
} from '../../common/gen/envoy/extensions/transport_sockets/tls/v3/common.ts';
import { UpstreamTlsContext } from '../../common/gen/envoy/extensions/transport_sockets/tls/v3/tls.ts';
import { HttpProtocolOptions } from '../../common/gen/envoy/extensions/upstreams/http/v3/http_protocol_options.ts';
import { RESOURCE, TYPE } from '../../common/wire/types.ts';
import { toDuration } from '../../common/wire/values.ts';
import type { LoadBalancerPolicy } from '../../model/policy-types.ts';
import type { Cluster } from '../../model/snapshot.ts';
import { type EncodedResource, encodeResource, heddleMetadata, pack } from './encoding.ts';
import { identityKey } from './endpoints.ts';
import { overAds } from './listener.ts';

const HTTP_OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
const TLS_CONTEXT = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext';

/** The static secret of a stock Envoy's bootstrap that holds its own certificate and key, as files. */
const ENVOY_IDENTITY_SECRET = 'default';

/** How often Envoy looks at ejections. Heddle's own sidecar counts without an interval. */
const EJECTION_SWEEP_MS = 1_000;

const LB_POLICY: Record<LoadBalancerPolicy['policy'], Cluster_LbPolicy> = {
  PeakEwma: Cluster_LbPolicy.LEAST_REQUEST,
  LeastRequest: Cluster_LbPolicy.LEAST_REQUEST,
  RoundRobin: Cluster_LbPolicy.ROUND_ROBIN,
  Random: Cluster_LbPolicy.RANDOM,
  Maglev: Cluster_LbPolicy.MAGLEV,
};

/** A cluster with its endpoints by EDS. */
export function clusterResource(cluster: Cluster): EncodedResource {
  const { policy } = cluster;
  const http2 = cluster.protocol === 'http2' || cluster.protocol === 'grpc';
  const ejection = policy.outlierEjection;
  return encodeResource(
    TYPE.cluster,
    cluster.name,
    [],
    ClusterCodec,
    ClusterCodec.fromPartial({
      name: cluster.name,
      clusterDiscoveryType: { $case: 'type', value: Cluster_DiscoveryType.EDS },
      edsClusterConfig: { edsConfig: overAds() },
      connectTimeout: toDuration(policy.connectMs),
      lbPolicy: LB_POLICY[policy.loadBalancer.policy],
      // Endpoints that are all ejected are still better than a guess at hosts that were drained.
      commonLbConfig: { healthyPanicThreshold: { value: 0 } },
      circuitBreakers: {
        thresholds: [
          {
            maxConnections: policy.limits.maxConnections,
            maxPendingRequests: policy.limits.maxPendingRequests,
            maxRequests: policy.limits.maxRequests,
            maxRetries: policy.limits.maxRetries,
          },
        ],
      },
      outlierDetection: {
        interval: toDuration(EJECTION_SWEEP_MS),
        consecutiveGatewayFailure: ejection.consecutiveErrors,
        enforcingConsecutiveGatewayFailure: 100,
        splitExternalLocalOriginErrors: true,
        consecutiveLocalOriginFailure: ejection.consecutiveErrors,
        enforcingConsecutiveLocalOriginFailure: 100,
        enforcingConsecutive5xx: 0,
        enforcingSuccessRate: 0,
        enforcingLocalOriginSuccessRate: 0,
        enforcingFailurePercentage: 0,
        baseEjectionTime: toDuration(ejection.baseEjectionMs),
        maxEjectionTime: toDuration(ejection.maxEjectionMs),
        maxEjectionPercent: ejection.maxEjectionPercent,
      },
      typedExtensionProtocolOptions: {
        [HTTP_OPTIONS]: pack(
          `type.googleapis.com/${HTTP_OPTIONS}`,
          HttpProtocolOptions,
          httpOptions(http2, policy.idleMs),
        ),
      },
      transportSocketMatches: tlsMatches(cluster, http2),
      metadata: heddleMetadata({
        namespace: cluster.namespace,
        service: cluster.service,
        port: cluster.port,
        protocol: cluster.protocol,
        circuitBreaker: breakerMetadata(cluster),
        loadBalancer: policy.loadBalancer.policy,
        hash: policy.loadBalancer.hash === undefined ? undefined : { ...policy.loadBalancer.hash },
      }),
    }),
  );
}

function breakerMetadata(cluster: Cluster) {
  const breaker = cluster.policy.circuitBreaker;
  return breaker === undefined
    ? undefined
    : { ...breaker, errorCodes: breaker.errorCodes.map(([from, to]) => [from, to]) };
}

function httpOptions(http2: boolean, idleMs: number): HttpProtocolOptions {
  return HttpProtocolOptions.fromPartial({
    commonHttpProtocolOptions: { idleTimeout: toDuration(idleMs) },
    upstreamProtocolOptions: {
      $case: 'explicitHttpConfig',
      value: {
        protocolConfig: http2
          ? { $case: 'http2ProtocolOptions', value: {} }
          : { $case: 'httpProtocolOptions', value: {} },
      },
    },
  });
}

/** One TLS socket for each set of identities among the endpoints; endpoints without mTLS match none and go plain. */
function tlsMatches(cluster: Cluster, http2: boolean) {
  const sets = new Map<string, readonly string[]>();
  for (const endpoint of cluster.endpoints) {
    if (endpoint.mtls) sets.set(identityKey(endpoint.identities), endpoint.identities);
  }
  return [...sets].sort().map(([key, identities]) => ({
    name: `mtls:${key}`,
    match: { identities: key },
    transportSocket: {
      name: 'envoy.transport_sockets.tls',
      configType: {
        $case: 'typedConfig' as const,
        value: pack(TLS_CONTEXT, UpstreamTlsContext, tlsContext(identities, http2)),
      },
    },
  }));
}

function tlsContext(identities: readonly string[], http2: boolean): UpstreamTlsContext {
  return UpstreamTlsContext.fromPartial({
    commonTlsContext: {
      tlsParams: {
        tlsMinimumProtocolVersion: TlsParameters_TlsProtocol.TLSv1_3,
        tlsMaximumProtocolVersion: TlsParameters_TlsProtocol.TLSv1_3,
      },
      // A sidecar that doesn't speak HTTP/2 itself hands the bytes to an app that does.
      alpnProtocols: [ALPN.marker, ...(http2 ? [ALPN.http2, ALPN.opaque] : [ALPN.http1])],
      // A name alone means a static secret of the client's own bootstrap.
      tlsCertificateSdsSecretConfigs: [{ name: ENVOY_IDENTITY_SECRET }],
      validationContextType: {
        $case: 'combinedValidationContext',
        value: {
          defaultValidationContext: {
            matchTypedSubjectAltNames: identities.map((identity) => ({
              sanType: SubjectAltNameMatcher_SanType.URI,
              matcher: { matchPattern: { $case: 'exact' as const, value: identity } },
            })),
          },
          validationContextSdsSecretConfig: { name: RESOURCE.trustBundle, sdsConfig: overAds() },
        },
      },
    },
    // A resumed session would skip the check of the peer's identity against a changed list.
    maxSessionKeys: 0,
  });
}
