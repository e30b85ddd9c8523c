import { controlPlaneIdentity } from '../../../common/ca/control-plane-tls.ts';
import { formatNodeId } from '../../../common/wire/node-id.ts';
import type { PodRecord } from '../mesh/manifests.ts';

export type XdsApi = 'DELTA_GRPC' | 'GRPC';

export interface BootstrapOptions {
  readonly api: XdsApi;
  readonly pod: PodRecord;
  /** Of the control plane's xDS, on loopback. */
  readonly xdsPort: number;
  /** Where the outbound listener binds, as the node metadata asks for it. */
  readonly outbound: { readonly outboundAddress: string; readonly outboundPort: number };
  /** PEM files. */
  readonly files: { readonly chain: string; readonly key: string; readonly root: string };
}

const DISCOVERY = { ads: {}, resource_api_version: 'V3' };
const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext';
const HTTP = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';

/** What an operator writes to put a stock Envoy into the mesh: who it is, its certificate, and where the control plane is. */
export function envoyBootstrap({ api, pod, xdsPort, outbound, files }: BootstrapOptions): object {
  const own = {
    certificate_chain: { filename: files.chain },
    private_key: { filename: files.key },
  };
  return {
    node: {
      id: formatNodeId({ podIp: pod.ip, pod: pod.name, namespace: pod.namespace }),
      cluster: pod.namespace,
      metadata: { 'heddle.dev': outbound },
    },
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
    dynamic_resources: {
      ads_config: {
        api_type: api,
        transport_api_version: 'V3',
        set_node_on_first_message_only: true,
        grpc_services: [{ envoy_grpc: { cluster_name: 'heddle' } }],
      },
      lds_config: DISCOVERY,
      cds_config: DISCOVERY,
    },
    static_resources: {
      secrets: [{ name: 'default', tls_certificate: own }],
      clusters: [controlPlaneCluster(xdsPort, own, files.root)],
    },
  };
}

function controlPlaneCluster(xdsPort: number, own: object, root: string): object {
  const identity = controlPlaneIdentity('cluster.local');
  return {
    name: 'heddle',
    type: 'STATIC',
    connect_timeout: '2s',
    load_assignment: {
      cluster_name: 'heddle',
      endpoints: [
        {
          lb_endpoints: [
            { endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: xdsPort } } } },
          ],
        },
      ],
    },
    typed_extension_protocol_options: {
      [HTTP]: {
        '@type': `type.googleapis.com/${HTTP}`,
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': TLS,
        common_tls_context: {
          tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
          alpn_protocols: ['h2'],
          tls_certificates: [own],
          validation_context: {
            trusted_ca: { filename: root },
            match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: identity } }],
          },
        },
      },
    },
  };
}
