import {
  Cluster_DiscoveryType,
  type Cluster as ClusterProto,
} from '../../common/gen/envoy/config/cluster/v3/cluster.ts';
import { HealthStatus } from '../../common/gen/envoy/config/core/v3/health_check.ts';
import type { ClusterLoadAssignment } from '../../common/gen/envoy/config/endpoint/v3/endpoint.ts';
import type { LbEndpoint } from '../../common/gen/envoy/config/endpoint/v3/endpoint_components.ts';
import { HttpProtocolOptions } from '../../common/gen/envoy/extensions/upstreams/http/v3/http_protocol_options.ts';
import { destinationKey } from '../../common/names.ts';
import { fromDuration } from '../../common/wire/values.ts';
import type { CircuitBreakerPolicy, ClusterPolicy, LoadBalancerPolicy } from '../../model/policy-types.ts';
import type { Cluster, Endpoint } from '../../model/snapshot.ts';
import { durationMaxMs } from './policy.ts';
import { ConfigError, heddleMetadataOf, onlyFields, Reader } from './reader.ts';
import { PROTOCOLS } from './routes.ts';

export const endpointsPerClusterMax = 100_000;
const HTTP_OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
const countMax = 0xffff_ffff;

/** A cluster as CDS brings it: its endpoints come by EDS. */
export type ClusterWithoutEndpoints = Omit<Cluster, 'endpoints'>;

const CLUSTER_FIELDS = [
  'name',
  'clusterDiscoveryType',
  'edsClusterConfig',
  'connectTimeout',
  'lbPolicy',
  'commonLbConfig',
  'circuitBreakers',
  'outlierDetection',
  'typedExtensionProtocolOptions',
  'transportSocketMatches',
  'metadata',
];

/** Throws `ConfigError` for what can't be honoured. */
export function decodeCluster(cluster: ClusterProto): ClusterWithoutEndpoints {
  onlyFields(cluster, CLUSTER_FIELDS, 'Cluster');
  const type = cluster.clusterDiscoveryType;
  if (type?.$case !== 'type' || type.value !== Cluster_DiscoveryType.EDS) {
    throw new ConfigError('type', 'only EDS is supported by this proxy');
  }
  const metadata = heddleMetadataOf(cluster, 'Cluster');
  return {
    name: cluster.name,
    namespace: metadata.field('namespace').string(),
    service: metadata.field('service').string(),
    port: metadata.field('port').integer(1, 65_535),
    protocol: metadata.field('protocol').oneOf(PROTOCOLS),
    policy: decodePolicy(cluster, metadata),
  };
}

function decodePolicy(cluster: ClusterProto, metadata: Reader): ClusterPolicy {
  const [limits] = cluster.circuitBreakers?.thresholds ?? [];
  const outlier = cluster.outlierDetection;
  if (limits === undefined) throw new ConfigError('circuit_breakers.thresholds', 'is missing');
  if (outlier === undefined) throw new ConfigError('outlier_detection', 'is missing');
  if (cluster.connectTimeout === undefined) throw new ConfigError('connect_timeout', 'is missing');
  const read = (value: unknown, path: string, max = countMax) => new Reader(value, path).number(0, max);
  const duration = (value: { seconds: number; nanos: number } | undefined, path: string) =>
    read(value === undefined ? undefined : fromDuration(value), path, durationMaxMs);
  return {
    connectMs: fromDuration(cluster.connectTimeout),
    idleMs: idleMs(cluster),
    circuitBreaker: decodeBreaker(metadata.field('circuitBreaker')),
    outlierEjection: {
      consecutiveErrors: read(
        outlier.consecutiveGatewayFailure,
        'outlier_detection.consecutive_gateway_failure',
      ),
      baseEjectionMs: duration(outlier.baseEjectionTime, 'outlier_detection.base_ejection_time'),
      maxEjectionMs: duration(outlier.maxEjectionTime, 'outlier_detection.max_ejection_time'),
      maxEjectionPercent: read(outlier.maxEjectionPercent, 'outlier_detection.max_ejection_percent', 100),
    },
    limits: {
      maxConnections: read(limits.maxConnections, 'circuit_breakers.thresholds[0].max_connections'),
      maxPendingRequests: read(
        limits.maxPendingRequests,
        'circuit_breakers.thresholds[0].max_pending_requests',
      ),
      maxRequests: read(limits.maxRequests, 'circuit_breakers.thresholds[0].max_requests'),
      maxRetries: read(limits.maxRetries, 'circuit_breakers.thresholds[0].max_retries'),
    },
    loadBalancer: decodeBalancer(metadata),
  };
}

function idleMs(cluster: ClusterProto): number {
  const packed = cluster.typedExtensionProtocolOptions[HTTP_OPTIONS];
  const path = `typed_extension_protocol_options["${HTTP_OPTIONS}"]`;
  if (packed === undefined) throw new ConfigError(path, 'is missing');
  const idle = HttpProtocolOptions.decode(packed.value).commonHttpProtocolOptions?.idleTimeout;
  if (idle === undefined)
    throw new ConfigError(`${path}.common_http_protocol_options.idle_timeout`, 'is missing');
  return fromDuration(idle);
}

function decodeBreaker(breaker: Reader): CircuitBreakerPolicy | undefined {
  if (breaker.absent) return undefined;
  return {
    errorThresholdPercentage: breaker.field('errorThresholdPercentage').number(0, 100),
    volumeThreshold: breaker.field('volumeThreshold').integer(0, countMax),
    rollingCountTimeoutMs: breaker.field('rollingCountTimeoutMs').number(1, durationMaxMs),
    rollingCountBuckets: breaker.field('rollingCountBuckets').integer(1, 10_000),
    resetTimeoutMs: breaker.field('resetTimeoutMs').number(0, durationMaxMs),
    errorCodes: breaker.field('errorCodes').list((range) => {
      const [from, to, ...rest] = range.list((item) => item.integer(100, 599));
      if (from === undefined || to === undefined || rest.length > 0) return range.fail('must be [from, to]');
      return [from, to] as const;
    }),
  };
}

function decodeBalancer(metadata: Reader): LoadBalancerPolicy {
  const policy = metadata
    .field('loadBalancer')
    .oneOf(['PeakEwma', 'LeastRequest', 'RoundRobin', 'Random', 'Maglev']);
  const hash = metadata.field('hash');
  if (hash.absent) return { policy, hash: undefined };
  const from = hash.field('from').oneOf(['header', 'cookie', 'query', 'sourceIp']);
  return { policy, hash: from === 'sourceIp' ? { from } : { from, name: hash.field('name').string() } };
}

/** Throws `ConfigError` for what can't be honoured. */
export function decodeEndpoints(assignment: ClusterLoadAssignment): readonly Endpoint[] {
  onlyFields(assignment, ['clusterName', 'endpoints'], 'ClusterLoadAssignment');
  const found: { readonly endpoint: Endpoint; readonly order: number }[] = [];
  for (const [group, locality] of assignment.endpoints.entries()) {
    const path = `endpoints[${group}]`;
    onlyFields(locality, ['locality', 'lbEndpoints'], path);
    if (found.length + locality.lbEndpoints.length > endpointsPerClusterMax) {
      throw new ConfigError(path, `more than ${endpointsPerClusterMax} endpoints`);
    }
    const zone = locality.locality?.zone;
    for (const [index, member] of locality.lbEndpoints.entries()) {
      found.push(
        decodeEndpoint(
          member,
          zone === '' ? undefined : zone,
          found.length,
          `${path}.lb_endpoints[${index}]`,
        ),
      );
    }
  }
  return found.sort((left, right) => left.order - right.order).map(({ endpoint }) => endpoint);
}

function decodeEndpoint(member: LbEndpoint, zone: string | undefined, position: number, path: string) {
  onlyFields(member, ['hostIdentifier', 'healthStatus', 'metadata', 'loadBalancingWeight'], path);
  const host = member.hostIdentifier;
  const socket = host?.$case === 'endpoint' ? host.value.address?.address : undefined;
  if (socket?.$case !== 'socketAddress' || socket.value.portSpecifier?.$case !== 'portValue') {
    throw new ConfigError(`${path}.endpoint.address`, 'must be a socket address with a port number');
  }
  const { address } = socket.value;
  const port = socket.value.portSpecifier.value;
  const metadata = heddleMetadataOf(member, path);
  const order = metadata.field('order');
  const endpoint: Endpoint = {
    key: destinationKey(address, port),
    address,
    port,
    pod: metadata.field('pod').optionalString(),
    node: metadata.field('node').optionalString(),
    zone,
    weight: member.loadBalancingWeight ?? 1,
    health: healthOf(member, path),
    mtls: metadata.field('mtls').boolean(),
    identities: metadata.field('identities').list((item) => item.string()),
  };
  if (endpoint.mtls && endpoint.identities.length === 0) {
    throw new ConfigError(path, 'speaks mTLS, but no identity is allowed there');
  }
  return { endpoint, order: order.absent ? position : order.integer(0, endpointsPerClusterMax) };
}

function healthOf(member: LbEndpoint, path: string): Endpoint['health'] {
  switch (member.healthStatus) {
    case HealthStatus.HEALTHY:
    case HealthStatus.UNKNOWN:
      return 'ready';
    case HealthStatus.DRAINING:
      return 'draining';
    default:
      throw new ConfigError(`${path}.health_status`, `${member.healthStatus} is not supported by this proxy`);
  }
}
