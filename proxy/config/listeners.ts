import { X509Certificate } from 'node:crypto';
import { messageOf } from '../../common/errors.ts';
import type { Listener } from '../../common/gen/envoy/config/listener/v3/listener.ts';
import { HttpConnectionManager } from '../../common/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.ts';
import type { Secret } from '../../common/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import type { InboundConfig, MtlsMode, SidecarSettings } from '../../model/snapshot.ts';
import { PROTOCOLS } from './protocols.ts';
import {
  ConfigError,
  durationMaxMs,
  heddleMetadataOf,
  onlyFields,
  overAdsOnly,
  type Reader,
} from './reader.ts';

const MODES: readonly MtlsMode[] = ['STRICT', 'PERMISSIVE', 'DISABLE'];
export const trustBundleBytesMax = 1024 * 1024;

/** The route configuration that an on-demand listener asks for. */
export function decodeListener(listener: Listener): string {
  onlyFields(listener, ['name', 'apiListener'], 'Listener');
  const packed = listener.apiListener?.apiListener;
  if (packed === undefined) throw new ConfigError('api_listener', 'is missing');
  if (!packed.typeUrl.endsWith('.v3.HttpConnectionManager')) {
    throw new ConfigError('api_listener.type_url', `"${packed.typeUrl}" is not supported by this proxy`);
  }
  const manager = HttpConnectionManager.decode(packed.value);
  onlyFields(manager, MANAGER_FIELDS, 'api_listener');
  for (const [index, filter] of manager.httpFilters.entries()) {
    if (filter.name === ROUTER_FILTER) continue;
    throw new ConfigError(
      `api_listener.http_filters[${index}]`,
      `"${filter.name}" is not supported by this proxy`,
    );
  }
  const routes = manager.routeSpecifier;
  if (routes?.$case !== 'rds') throw new ConfigError('api_listener.route_specifier', 'must be rds');
  overAdsOnly(routes.value.configSource, 'api_listener.rds.config_source');
  if (routes.value.routeConfigName === '')
    throw new ConfigError('api_listener.rds.route_config_name', 'is missing');
  return routes.value.routeConfigName;
}

const ROUTER_FILTER = 'envoy.filters.http.router';
/** Statistics have names of their own here, and upgrades are always carried. */
const MANAGER_FIELDS = ['statPrefix', 'routeSpecifier', 'httpFilters', 'upgradeConfigs'];

/** What the pod's own side is served by. */
export function decodeInbound(listener: Listener): InboundConfig {
  onlyFields(listener, ['name', 'address', 'metadata'], 'Listener');
  const metadata = heddleMetadataOf(listener, 'Listener');
  const seen = new Set<number>();
  return {
    ports: metadata.field('ports').list((entry) => {
      const port = entry.field('port').integer(1, 65_535);
      if (seen.has(port)) return entry.fail(`names port ${port} a second time`);
      seen.add(port);
      return {
        port,
        protocol: entry.field('protocol').oneOf(PROTOCOLS),
        mode: entry.field('mode').oneOf(MODES),
      };
    }),
    defaultMode: metadata.field('defaultMode').oneOf(MODES),
    settings: decodeSettings(metadata.field('settings')),
    draining: metadata.field('draining').boolean(),
  };
}

function decodeSettings(settings: Reader): SidecarSettings {
  const tracing = settings.field('tracing');
  return {
    trustDomain: settings.field('trustDomain').string(),
    outboundUnknown: settings.field('outboundUnknown').oneOf(['ALLOW', 'DENY']),
    tracing: {
      samplingPercent: tracing.field('samplingPercent').number(0, 100),
      keepErrors: tracing.field('keepErrors').boolean(),
      keepSlowerThanMs: tracing.field('keepSlowerThanMs').number(0, durationMaxMs),
      otlpEndpoint: tracing.field('otlpEndpoint').string(),
    },
    detectionTimeoutMs: settings.field('detectionTimeoutMs').number(0, durationMaxMs),
    drainGraceMs: settings.field('drainGraceMs').number(0, durationMaxMs),
  };
}

/** The roots to trust, PEM. */
export function decodeTrustBundle(secret: Secret): string {
  onlyFields(secret, ['name', 'type'], 'Secret');
  const context = secret.type;
  if (context?.$case !== 'validationContext') throw new ConfigError('type', 'must be a validation_context');
  onlyFields(context.value, ['trustedCa'], 'validation_context');
  const source = context.value.trustedCa?.specifier;
  const pem =
    source?.$case === 'inlineString'
      ? source.value
      : source?.$case === 'inlineBytes'
        ? source.value.toString('utf8')
        : undefined;
  if (pem === undefined) throw new ConfigError('validation_context.trusted_ca', 'must be inline');
  const path = 'validation_context.trusted_ca';
  if (Buffer.byteLength(pem) > trustBundleBytesMax) {
    throw new ConfigError(path, `is larger than ${trustBundleBytesMax} bytes`);
  }
  // TLS passes over what it can't read: with a broken bundle it would trust nobody, and without a word.
  const certificates = pem.match(CERTIFICATE) ?? [];
  if (certificates.length === 0) throw new ConfigError(path, 'holds no certificate');
  for (const [index, certificate] of certificates.entries()) {
    try {
      new X509Certificate(certificate);
    } catch (thrown) {
      throw new ConfigError(`${path}[${index}]`, `is not a certificate: ${messageOf(thrown)}`);
    }
  }
  return pem;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*(-----END CERTIFICATE-----|$)/g;
