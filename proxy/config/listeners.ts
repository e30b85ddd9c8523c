import type { Listener } from '../../common/gen/envoy/config/listener/v3/listener.ts';
import { HttpConnectionManager } from '../../common/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.ts';
import type { Secret } from '../../common/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import type { InboundConfig, MtlsMode, SidecarSettings } from '../../model/snapshot.ts';
import { durationMaxMs } from './policy.ts';
import { ConfigError, heddleMetadataOf, onlyFields, type Reader } from './reader.ts';
import { PROTOCOLS } from './routes.ts';

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
  if (manager.routeSpecifier?.$case !== 'rds') {
    throw new ConfigError('api_listener.route_specifier', 'must be rds');
  }
  return manager.routeSpecifier.value.routeConfigName;
}

/** What the pod's own side is served by. */
export function decodeInbound(listener: Listener): InboundConfig {
  onlyFields(listener, ['name', 'address', 'metadata'], 'Listener');
  const metadata = heddleMetadataOf(listener, 'Listener');
  return {
    ports: metadata.field('ports').list((port) => ({
      port: port.field('port').integer(1, 65_535),
      protocol: port.field('protocol').oneOf(PROTOCOLS),
      mode: port.field('mode').oneOf(MODES),
    })),
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
  const context = secret.type;
  if (context?.$case !== 'validationContext') throw new ConfigError('type', 'must be a validation_context');
  const source = context.value.trustedCa?.specifier;
  const pem =
    source?.$case === 'inlineString'
      ? source.value
      : source?.$case === 'inlineBytes'
        ? source.value.toString('utf8')
        : undefined;
  if (pem === undefined) throw new ConfigError('validation_context.trusted_ca', 'must be inline');
  if (pem.length > trustBundleBytesMax) {
    throw new ConfigError('validation_context.trusted_ca', `is larger than ${trustBundleBytesMax} bytes`);
  }
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw new ConfigError('validation_context.trusted_ca', 'holds no certificate');
  }
  return pem;
}
