import { SERVICE_HOST } from '../cases.ts';
import type { Upstream } from '../upstream.ts';

const TYPES = 'type.googleapis.com/envoy.extensions';

/** What a sidecar does with outbound requests, in Envoy's words: the same rules, retries, limits and ejection. */
export function outboundConfig(port: number, adminPort: number, upstream: Upstream): object {
  return {
    admin: { address: socketAddress('127.0.0.1', adminPort) },
    static_resources: {
      listeners: [
        {
          name: 'outbound',
          address: socketAddress('127.0.0.1', port),
          filter_chains: [{ filters: [connectionManager()] }],
        },
      ],
      clusters: [cluster(upstream)],
    },
  };
}

function connectionManager(): object {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: 'outbound',
      use_remote_address: true,
      route_config: {
        name: 'outbound',
        virtual_hosts: [{ name: 'web', domains: [SERVICE_HOST, `${SERVICE_HOST}:80`], routes: routes() }],
      },
      http_filters: [
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': `${TYPES}.filters.http.router.v3.Router` },
        },
      ],
    },
  };
}

function routes(): object[] {
  const matches = [
    { path_separated_prefix: '/items', headers: [{ name: 'x-canary', string_match: { exact: 'yes' } }] },
    { path: '/healthz' },
    { path_separated_prefix: '/admin' },
    { path_separated_prefix: '/items' },
  ];
  const route = {
    cluster: 'web',
    timeout: '15s',
    retry_policy: {
      retry_on: 'connect-failure,refused-stream,reset-before-request,retriable-status-codes',
      retriable_status_codes: [503],
      num_retries: 2,
      retry_back_off: { base_interval: '0.025s', max_interval: '0.25s' },
    },
  };
  return matches.map((match) => ({ match, route }));
}

function cluster(upstream: Upstream): object {
  const endpoints = upstream.addresses.map((address) => ({
    endpoint: { address: socketAddress(address, upstream.port) },
  }));
  return {
    name: 'web',
    type: 'STATIC',
    connect_timeout: '2s',
    lb_policy: 'LEAST_REQUEST',
    circuit_breakers: {
      thresholds: [
        {
          max_connections: 1024,
          max_pending_requests: 1024,
          max_requests: 1024,
          retry_budget: { budget_percent: { value: 20 }, min_retry_concurrency: 10 },
        },
      ],
    },
    outlier_detection: {
      consecutive_5xx: 5,
      consecutive_gateway_failure: 5,
      base_ejection_time: '30s',
      max_ejection_percent: 50,
    },
    load_assignment: { cluster_name: 'web', endpoints: [{ lb_endpoints: endpoints }] },
  };
}

function socketAddress(address: string, port: number): object {
  return { socket_address: { address, port_value: port } };
}
