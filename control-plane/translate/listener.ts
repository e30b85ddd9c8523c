import { PORTS } from '../../common/contracts.ts';
import {
  ApiVersion,
  type ConfigSource,
  ConfigSource as ConfigSourceCodec,
} from '../../common/gen/envoy/config/core/v3/config_source.ts';
import { Listener } from '../../common/gen/envoy/config/listener/v3/listener.ts';
import { Router } from '../../common/gen/envoy/extensions/filters/http/router/v3/router.ts';
import { HttpConnectionManager } from '../../common/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.ts';
import { RESOURCE, TYPE } from '../../common/wire/types.ts';
import type { InboundConfig } from '../../model/snapshot.ts';
import { type EncodedResource, encodeResource, heddleMetadata, pack } from './encoding.ts';

export { HttpConnectionManager };

export const HCM_TYPE =
  'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
const ROUTER_TYPE = 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router';

/** "Ask me on this stream." */
export function overAds(): ConfigSource {
  return ConfigSourceCodec.fromPartial({
    configSourceSpecifier: { $case: 'ads', value: {} },
    resourceApiVersion: ApiVersion.V3,
  });
}

/** HTTP with routes by RDS. */
export function connectionManager(routeConfigName: string): HttpConnectionManager {
  return HttpConnectionManager.fromPartial({
    statPrefix: 'outbound',
    routeSpecifier: { $case: 'rds', value: { configSource: overAds(), routeConfigName } },
    httpFilters: [
      {
        name: 'envoy.filters.http.router',
        configType: { $case: 'typedConfig', value: pack(ROUTER_TYPE, Router, Router.fromPartial({})) },
      },
    ],
    upgradeConfigs: [{ upgradeType: 'websocket' }],
    // Gateway API compares paths as they came.
    normalizePath: false,
    mergeSlashes: false,
  });
}

export interface BindAddress {
  readonly address: string;
  readonly port: number;
}

function socketAddress(bind: BindAddress) {
  return {
    address: {
      $case: 'socketAddress' as const,
      value: { address: bind.address, portSpecifier: { $case: 'portValue' as const, value: bind.port } },
    },
  };
}

/** The one listener of a stock Envoy, with all destinations behind it. */
export function outboundListener(bind: BindAddress): EncodedResource {
  const manager = pack(HCM_TYPE, HttpConnectionManager, connectionManager(RESOURCE.outbound));
  return encodeResource(
    TYPE.listener,
    RESOURCE.outbound,
    [],
    Listener,
    Listener.fromPartial({
      name: RESOURCE.outbound,
      address: socketAddress(bind),
      filterChains: [
        {
          filters: [
            {
              name: 'envoy.filters.network.http_connection_manager',
              configType: { $case: 'typedConfig', value: manager },
            },
          ],
        },
      ],
    }),
  );
}

/** What a Heddle sidecar needs to serve its own pod. Envoy has no word for most of it, so it is all metadata. */
export function inboundListener(podIp: string, config: InboundConfig): EncodedResource {
  return encodeResource(
    TYPE.listener,
    RESOURCE.inbound,
    [],
    Listener,
    Listener.fromPartial({
      name: RESOURCE.inbound,
      address: socketAddress({ address: podIp, port: PORTS.proxyInbound }),
      metadata: heddleMetadata({
        ports: config.ports.map((port) => ({ ...port })),
        defaultMode: config.defaultMode,
        settings: { ...config.settings, tracing: { ...config.settings.tracing } },
        draining: config.draining,
      }),
    }),
  );
}
