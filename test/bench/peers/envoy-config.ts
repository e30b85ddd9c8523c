import { SERVICE_HOST } from '../cases.ts';
import type { Upstream } from '../upstream.ts';

const TYPES = 'type.googleapis.com/envoy.extensions';

/** How one side of a pair speaks to the other. */
export interface PairTls {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  /** The SPIFFE ID that the peer must have. */
  readonly peer: string;
}

/**
 * What a sidecar does with outbound requests, in Envoy's words: the same rules, retries, limits and ejection. With `tls`
 * to the other proxy of a pair, by HTTP/2, which costs Envoy less than HTTP/1.1 there.
 */
export function outboundConfig(port: number, adminPort: number, to: Addresses, tls?: PairTls): object {
  const plain = cluster(to);
  return bootstrap(adminPort, {
    listener: { address: socketAddress('127.0.0.1', port), filter_chains: [chain('outbound', routes())] },
    cluster: tls === undefined ? plain : { ...plain, ...http2, transport_socket: upstreamTls(tls) },
  });
}

/** What the app's own sidecar does: it takes mTLS and hands everything to the app. */
export function inboundConfig(port: number, adminPort: number, app: Addresses, tls: PairTls): object {
  const everything = [{ match: { prefix: '/' }, route: { cluster: 'web', timeout: '0s' } }];
  return bootstrap(adminPort, {
    listener: {
      address: socketAddress('127.0.0.1', port),
      filter_chains: [{ ...chain('inbound', everything), transport_socket: downstreamTls(tls) }],
    },
    cluster: cluster(app),
  });
}

type Addresses = Pick<Upstream, 'addresses' | 'port'>;

function bootstrap(adminPort: number, parts: { listener: object; cluster: object }): object {
  return {
    admin: { address: socketAddress('127.0.0.1', adminPort) },
    static_resources: { listeners: [{ name: 'in', ...parts.listener }], clusters: [parts.cluster] },
  };
}

function chain(name: string, rules: readonly object[]): object {
  const manager = {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: name,
      use_remote_address: true,
      route_config: {
        name,
        virtual_hosts: [{ name: 'web', domains: [SERVICE_HOST, `${SERVICE_HOST}:80`], routes: rules }],
      },
      http_filters: [
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': `${TYPES}.filters.http.router.v3.Router` },
        },
      ],
    },
  };
  return { filters: [manager] };
}

const http2 = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': `${TYPES}.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};

function upstreamTls(tls: PairTls): object {
  return tlsSocket('UpstreamTlsContext', { sni: 'web', common_tls_context: commonTls(tls) });
}

function downstreamTls(tls: PairTls): object {
  const common = { require_client_certificate: true, common_tls_context: commonTls(tls) };
  return tlsSocket('DownstreamTlsContext', common);
}

function tlsSocket(kind: string, config: object): object {
  const type = `${TYPES}.transport_sockets.tls.v3.${kind}`;
  return { name: 'envoy.transport_sockets.tls', typed_config: { '@type': type, ...config } };
}

function commonTls({ ca, certificate, key, peer }: PairTls): object {
  return {
    alpn_protocols: ['h2'],
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificates: [{ certificate_chain: { filename: certificate }, private_key: { filename: key } }],
    validation_context: {
      trusted_ca: { filename: ca },
      match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: peer } }],
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

function cluster(to: Addresses): object {
  const endpoints = to.addresses.map((address) => ({
    endpoint: { address: socketAddress(address, to.port) },
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
