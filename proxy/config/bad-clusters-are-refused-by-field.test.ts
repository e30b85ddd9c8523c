import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Cluster_DiscoveryType,
  type Cluster as ClusterProto,
} from '../../common/gen/envoy/config/cluster/v3/cluster.ts';
import { HealthStatus } from '../../common/gen/envoy/config/core/v3/health_check.ts';
import type { ClusterLoadAssignment } from '../../common/gen/envoy/config/endpoint/v3/endpoint.ts';
import type { LbEndpoint } from '../../common/gen/envoy/config/endpoint/v3/endpoint_components.ts';
import { HttpProtocolOptions } from '../../common/gen/envoy/extensions/upstreams/http/v3/http_protocol_options.ts';
import { refuses, some } from '../../test/support/refusals.ts';
import { clusterProto, endpointsProto, setMetadata } from '../../test/support/xds-samples.ts';
import { decodeCluster, decodeEndpoints, endpointsPerClusterMax } from './clusters.ts';

const HTTP = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
const META = 'Cluster.metadata.filter_metadata["heddle.dev"]';
const tooLong = { seconds: 366 * 86_400, nanos: 0 };
const negative = { seconds: -1, nanos: 0 };

function options(cluster: ClusterProto, fields: Parameters<typeof HttpProtocolOptions.fromPartial>[0]): void {
  const packed = some(cluster.typedExtensionProtocolOptions[HTTP]);
  packed.value = Buffer.from(HttpProtocolOptions.encode(HttpProtocolOptions.fromPartial(fields)).finish());
}

refuses<ClusterProto>('a cluster', clusterProto, decodeCluster, [
  ['Cluster.alt_stat_name', (it) => (it.altStatName = 'x')],
  ['Cluster.health_checks', (it) => it.healthChecks.push({} as never)],
  ['type', (it) => (it.clusterDiscoveryType = { $case: 'type', value: Cluster_DiscoveryType.STRICT_DNS })],
  ['type', (it) => (it.clusterDiscoveryType = undefined)],
  ['eds_cluster_config.service_name', (it) => (some(it.edsClusterConfig).serviceName = 'other')],
  ['eds_cluster_config.eds_config', (it) => (some(it.edsClusterConfig).edsConfig = undefined)],
  [
    'common_lb_config.healthy_panic_threshold',
    (it) => (some(it.commonLbConfig).healthyPanicThreshold = { value: 50 }),
  ],
  [
    'common_lb_config.close_connections_on_host_set_change',
    (it) => (some(it.commonLbConfig).closeConnectionsOnHostSetChange = true),
  ],
  ['connect_timeout', (it) => (it.connectTimeout = undefined)],
  ['connect_timeout', (it) => (it.connectTimeout = negative)],
  ['connect_timeout', (it) => (it.connectTimeout = tooLong)],
  ['circuit_breakers.thresholds', (it) => (it.circuitBreakers = undefined)],
  ['circuit_breakers.thresholds', (it) => (some(it.circuitBreakers).thresholds = [])],
  [
    'circuit_breakers.thresholds[1]',
    (it) => some(it.circuitBreakers).thresholds.push(some(it.circuitBreakers?.thresholds[0])),
  ],
  [
    'circuit_breakers.per_host_thresholds',
    (it) => some(it.circuitBreakers).perHostThresholds.push(some(it.circuitBreakers?.thresholds[0])),
  ],
  [
    'circuit_breakers.thresholds[0].max_connections',
    (it) => (some(it.circuitBreakers?.thresholds[0]).maxConnections = undefined),
  ],
  [
    'circuit_breakers.thresholds[0].max_connection_pools',
    (it) => (some(it.circuitBreakers?.thresholds[0]).maxConnectionPools = 1),
  ],
  ['outlier_detection', (it) => (it.outlierDetection = undefined)],
  [
    'outlier_detection.consecutive_gateway_failure',
    (it) => (some(it.outlierDetection).consecutiveGatewayFailure = undefined),
  ],
  ['outlier_detection.max_ejection_percent', (it) => (some(it.outlierDetection).maxEjectionPercent = 101)],
  ['outlier_detection.base_ejection_time', (it) => (some(it.outlierDetection).baseEjectionTime = negative)],
  ['outlier_detection.max_ejection_time', (it) => (some(it.outlierDetection).maxEjectionTime = undefined)],
  [
    'outlier_detection.success_rate_minimum_hosts',
    (it) => (some(it.outlierDetection).successRateMinimumHosts = 3),
  ],
  [`typed_extension_protocol_options["${HTTP}"]`, (it) => (it.typedExtensionProtocolOptions = {})],
  [
    `typed_extension_protocol_options["${HTTP}"].type_url`,
    (it) => (some(it.typedExtensionProtocolOptions[HTTP]).typeUrl = 'other'),
  ],
  [
    `typed_extension_protocol_options["${HTTP}"].common_http_protocol_options.idle_timeout`,
    (it) => options(it, { commonHttpProtocolOptions: {} }),
  ],
  [
    `typed_extension_protocol_options["${HTTP}"].common_http_protocol_options.max_headers_count`,
    (it) => options(it, { commonHttpProtocolOptions: { idleTimeout: { seconds: 1 }, maxHeadersCount: 9 } }),
  ],
  [META, (it) => (it.metadata = undefined)],
  [`${META}.namespace`, (it) => setMetadata(it, ['namespace'], 1)],
  [`${META}.service`, (it) => setMetadata(it, ['service'], undefined)],
  [`${META}.port`, (it) => setMetadata(it, ['port'], 0)],
  [`${META}.port`, (it) => setMetadata(it, ['port'], 65_536)],
  [`${META}.port`, (it) => setMetadata(it, ['port'], 80.5)],
  [`${META}.protocol`, (it) => setMetadata(it, ['protocol'], 'gopher')],
  [`${META}.loadBalancer`, (it) => setMetadata(it, ['loadBalancer'], 'constructor')],
  [`${META}.hash.from`, (it) => setMetadata(it, ['hash', 'from'], 'body')],
  [`${META}.hash.name`, (it) => setMetadata(it, ['hash', 'name'], null)],
  [`${META}.circuitBreaker`, (it) => setMetadata(it, ['circuitBreaker'], [])],
  [
    `${META}.circuitBreaker.errorThresholdPercentage`,
    (it) => setMetadata(it, ['circuitBreaker', 'errorThresholdPercentage'], Number.NaN),
  ],
  [
    `${META}.circuitBreaker.rollingCountBuckets`,
    (it) => setMetadata(it, ['circuitBreaker', 'rollingCountBuckets'], 10_001),
  ],
  [
    `${META}.circuitBreaker.rollingCountTimeoutMs`,
    (it) => setMetadata(it, ['circuitBreaker', 'rollingCountTimeoutMs'], 0),
  ],
  [
    `${META}.circuitBreaker.errorCodes[0]`,
    (it) => setMetadata(it, ['circuitBreaker', 'errorCodes', 0], [500]),
  ],
  [
    `${META}.circuitBreaker.errorCodes[0][1]`,
    (it) => setMetadata(it, ['circuitBreaker', 'errorCodes', 0], [500, 600]),
  ],
]);

const FIRST = 'endpoints[0].lb_endpoints[0]';
const SOCKET = `${FIRST}.endpoint.address.socket_address`;
const FIRST_META = `${FIRST}.metadata.filter_metadata["heddle.dev"]`;

function first(assignment: ClusterLoadAssignment): LbEndpoint {
  return some(assignment.endpoints[0]?.lbEndpoints[0]);
}

function hostOf(assignment: ClusterLoadAssignment) {
  const host = first(assignment).hostIdentifier;
  return some(host?.$case === 'endpoint' ? host.value : undefined);
}

function socket(assignment: ClusterLoadAssignment) {
  const address = hostOf(assignment).address?.address;
  return some(address?.$case === 'socketAddress' ? address.value : undefined);
}

refuses<ClusterLoadAssignment>('endpoints', endpointsProto, decodeEndpoints, [
  ['ClusterLoadAssignment.policy', (it) => (it.policy = { dropOverloads: [{}] } as never)],
  ['endpoints[0].priority', (it) => (some(it.endpoints[0]).priority = 1)],
  ['endpoints[0].load_balancing_weight', (it) => (some(it.endpoints[0]).loadBalancingWeight = 1)],
  [`${FIRST}.endpoint.address`, (it) => (first(it).hostIdentifier = undefined)],
  [`${FIRST}.endpoint.address`, (it) => (socket(it).portSpecifier = { $case: 'namedPort', value: 'http' })],
  [`${FIRST}.endpoint.hostname`, (it) => (hostOf(it).hostname = 'catalog-1')],
  [`${SOCKET}.protocol`, (it) => (socket(it).protocol = 1)],
  [`${SOCKET}.address`, (it) => (socket(it).address = 'catalog.example.com')],
  [`${SOCKET}.address`, (it) => (socket(it).address = '')],
  [`${SOCKET}.port_value`, (it) => (socket(it).portSpecifier = { $case: 'portValue', value: 65_536 })],
  [`${SOCKET}.port_value`, (it) => (socket(it).portSpecifier = { $case: 'portValue', value: 0 })],
  [`${FIRST}.load_balancing_weight`, (it) => (first(it).loadBalancingWeight = 0)],
  [`${FIRST}.health_status`, (it) => (first(it).healthStatus = HealthStatus.TIMEOUT)],
  [`${FIRST_META}.mtls`, (it) => setMetadata(first(it), ['mtls'], 'true')],
  [`${FIRST_META}.pod`, (it) => setMetadata(first(it), ['pod'], 1)],
  [`${FIRST_META}.order`, (it) => setMetadata(first(it), ['order'], -1)],
  [`${FIRST_META}.identities`, (it) => setMetadata(first(it), ['identities'], undefined)],
  [
    `${FIRST_META}.identities[0]`,
    (it) => setMetadata(first(it), ['identities', 0], 'spiffe://cluster.local/*'),
  ],
  [FIRST, (it) => setMetadata(first(it), ['identities'], [])],
]);

test('endpoints of one cluster are bounded', () => {
  const assignment = endpointsProto();
  const zone = some(assignment.endpoints[0]);
  setMetadata(some(zone.lbEndpoints[0]), ['order'], undefined);
  zone.lbEndpoints = new Array<LbEndpoint>(endpointsPerClusterMax).fill(some(zone.lbEndpoints[0]));
  assignment.endpoints = [zone];
  assert.equal(decodeEndpoints(assignment).length, endpointsPerClusterMax);
  assignment.endpoints = [zone, { ...zone, lbEndpoints: zone.lbEndpoints.slice(0, 1) }];
  assert.throws(() => decodeEndpoints(assignment), /endpoints\[1\]: more than 100000 endpoints/);
});
