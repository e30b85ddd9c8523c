import { isIP } from 'node:net';
import {
  Cluster_DiscoveryType,
  type Cluster as ClusterProto,
} from '../../common/gen/envoy/config/cluster/v3/cluster.ts';
import { HealthStatus } from '../../common/gen/envoy/config/core/v3/health_check.ts';
import type { ClusterLoadAssignment } from '../../common/gen/envoy/config/endpoint/v3/endpoint.ts';
import type { LbEndpoint } from '../../common/gen/envoy/config/endpoint/v3/endpoint_components.ts';
import { HttpProtocolOptions } from '../../common/gen/envoy/extensions/upstreams/http/v3/http_protocol_options.ts';
import { destinationKey } from '../../common/names.ts';
import { parseSpiffeId } from '../../common/spiffe.ts';
import type { CircuitBreakerPolicy, ClusterPolicy, LoadBalancerPolicy } from '../../model/policy-types.ts';
import type { Cluster, Endpoint } from '../../model/snapshot.ts';
import { PROTOCOLS } from './protocols.ts';
import {
  ConfigError,
  durationMaxMs,
  durationMs,
  heddleMetadataOf,
  onlyFields,
  overAdsOnly,
  Reader,
} from './reader.ts';

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
  if (cluster.edsClusterConfig !== undefined) {
    // Endpoints are asked for by the cluster's own name.
    onlyFields(cluster.edsClusterConfig, ['edsConfig'], 'eds_cluster_config');
    overAdsOnly(cluster.edsClusterConfig.edsConfig, 'eds_cluster_config.eds_config');
  }
  if (cluster.commonLbConfig !== undefined) {
    onlyFields(cluster.commonLbConfig, ['healthyPanicThreshold'], 'common_lb_config');
    // Ejected endpoints are never all taken back at once; Envoy is told the same by a threshold of 0.
    const panic = cluster.commonLbConfig.healthyPanicThreshold?.value ?? 0;
    if (panic !== 0) throw new ConfigError('common_lb_config.healthy_panic_threshold', 'must be 0');
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
  return {
    connectMs: durationMs(cluster.connectTimeout, 'connect_timeout'),
    idleMs: idleMs(cluster),
    circuitBreaker: decodeBreaker(metadata.field('circuitBreaker')),
    outlierEjection: decodeEjection(cluster),
    limits: decodeLimits(cluster),
    loadBalancer: decodeBalancer(metadata),
  };
}

function count(value: unknown, path: string, max = countMax): number {
  return new Reader(value, path).integer(0, max);
}

function decodeEjection({ outlierDetection: outlier }: ClusterProto): ClusterPolicy['outlierEjection'] {
  const path = 'outlier_detection';
  if (outlier === undefined) throw new ConfigError(path, 'is missing');
  onlyFields(outlier, EJECTION_FIELDS, path);
  return {
    consecutiveErrors: count(outlier.consecutiveGatewayFailure, `${path}.consecutive_gateway_failure`),
    baseEjectionMs: durationMs(outlier.baseEjectionTime, `${path}.base_ejection_time`),
    maxEjectionMs: durationMs(outlier.maxEjectionTime, `${path}.max_ejection_time`),
    maxEjectionPercent: count(outlier.maxEjectionPercent, `${path}.max_ejection_percent`, 100),
  };
}

/** The rest of these says to Envoy what Heddle's ejection always does: counting failures of both kinds, in a row. */
const EJECTION_FIELDS = [
  'consecutiveGatewayFailure',
  'baseEjectionTime',
  'maxEjectionTime',
  'maxEjectionPercent',
  'interval',
  'enforcingConsecutiveGatewayFailure',
  'splitExternalLocalOriginErrors',
  'consecutiveLocalOriginFailure',
  'enforcingConsecutiveLocalOriginFailure',
];

function decodeLimits({ circuitBreakers }: ClusterProto): ClusterPolicy['limits'] {
  const path = 'circuit_breakers.thresholds';
  const [limits, ...others] = circuitBreakers?.thresholds ?? [];
  if (circuitBreakers === undefined || limits === undefined) throw new ConfigError(path, 'is missing');
  onlyFields(circuitBreakers, ['thresholds'], 'circuit_breakers');
  if (others.length > 0) throw new ConfigError(`${path}[1]`, 'is not supported by this proxy');
  onlyFields(limits, LIMIT_FIELDS, `${path}[0]`);
  return {
    maxConnections: count(limits.maxConnections, `${path}[0].max_connections`),
    maxPendingRequests: count(limits.maxPendingRequests, `${path}[0].max_pending_requests`),
    maxRequests: count(limits.maxRequests, `${path}[0].max_requests`),
    maxRetries: count(limits.maxRetries, `${path}[0].max_retries`),
  };
}

const LIMIT_FIELDS = ['maxConnections', 'maxPendingRequests', 'maxRequests', 'maxRetries'];

function idleMs(cluster: ClusterProto): number {
  const packed = cluster.typedExtensionProtocolOptions[HTTP_OPTIONS];
  const path = `typed_extension_protocol_options["${HTTP_OPTIONS}"]`;
  if (packed === undefined) throw new ConfigError(path, 'is missing');
  if (packed.typeUrl !== `type.googleapis.com/${HTTP_OPTIONS}`) {
    throw new ConfigError(`${path}.type_url`, `"${packed.typeUrl}" is not supported by this proxy`);
  }
  const common = HttpProtocolOptions.decode(packed.value).commonHttpProtocolOptions;
  const at = `${path}.common_http_protocol_options`;
  if (common !== undefined) onlyFields(common, ['idleTimeout'], at);
  return durationMs(common?.idleTimeout, `${at}.idle_timeout`);
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
  if (host?.$case === 'endpoint') onlyFields(host.value, ['address'], `${path}.endpoint`);
  const at = `${path}.endpoint.address.socket_address`;
  onlyFields(socket.value, ['address', 'portSpecifier'], at);
  const { address } = socket.value;
  // A name would be looked up when it is dialled, by whoever answers for it then.
  if (isIP(address) === 0) throw new ConfigError(`${at}.address`, `"${address}" is not an IP address`);
  const port = new Reader(socket.value.portSpecifier.value, `${at}.port_value`).integer(1, 65_535);
  const metadata = heddleMetadataOf(member, path);
  const order = metadata.field('order');
  const endpoint: Endpoint = {
    key: destinationKey(address, port),
    address,
    port,
    pod: metadata.field('pod').optionalString(),
    node: metadata.field('node').optionalString(),
    zone,
    weight: new Reader(member.loadBalancingWeight ?? 1, `${path}.load_balancing_weight`).integer(1, countMax),
    health: healthOf(member, path),
    mtls: metadata.field('mtls').boolean(),
    identities: metadata.field('identities').list(spiffeIdOf),
  };
  if (endpoint.mtls && endpoint.identities.length === 0) {
    throw new ConfigError(path, 'speaks mTLS, but no identity is allowed there');
  }
  return { endpoint, order: order.absent ? position : order.integer(0, endpointsPerClusterMax) };
}

function spiffeIdOf(item: Reader): string {
  const text = item.string();
  return parseSpiffeId(text) === undefined ? item.fail('must be the SPIFFE ID of a workload') : text;
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
