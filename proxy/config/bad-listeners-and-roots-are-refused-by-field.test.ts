import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Listener } from '../../common/gen/envoy/config/listener/v3/listener.ts';
import { HttpConnectionManager } from '../../common/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.ts';
import { makeCa } from '../../test/integration/engine/ca.ts';
import { refuses, some } from '../../test/support/refusals.ts';
import { inboundProto, listenerProto, secretProto, setMetadata } from '../../test/support/xds-samples.ts';
import { decodeInbound, decodeListener, decodeTrustBundle, trustBundleBytesMax } from './listeners.ts';

function manager(spoil: (manager: HttpConnectionManager) => void): (listener: Listener) => void {
  return (listener) => {
    const packed = some(listener.apiListener?.apiListener);
    const message = HttpConnectionManager.decode(packed.value);
    spoil(message);
    packed.value = Buffer.from(HttpConnectionManager.encode(message).finish());
  };
}

function rds(message: HttpConnectionManager) {
  return some(message.routeSpecifier?.$case === 'rds' ? message.routeSpecifier.value : undefined);
}

refuses<Listener>('a listener', listenerProto, decodeListener, [
  ['Listener.use_original_dst', (it) => (it.useOriginalDst = true)],
  ['api_listener', (it) => (it.apiListener = undefined)],
  ['api_listener.type_url', (it) => (some(it.apiListener?.apiListener).typeUrl = 'a.v3.TcpProxy')],
  ['api_listener.route_specifier', manager((it) => (it.routeSpecifier = undefined))],
  ['api_listener.rds.config_source', manager((it) => (rds(it).configSource = undefined))],
  ['api_listener.rds.route_config_name', manager((it) => (rds(it).routeConfigName = ''))],
  ['api_listener.via', manager((it) => (it.via = 'me'))],
  [
    'api_listener.http_filters[0]',
    manager((it) => (some(it.httpFilters[0]).name = 'envoy.filters.http.rbac')),
  ],
]);

const META = 'Listener.metadata.filter_metadata["heddle.dev"]';

refuses<Listener>("the pod's own side", inboundProto, decodeInbound, [
  ['Listener.api_listener', (it) => (it.apiListener = { apiListener: undefined })],
  [META, (it) => (it.metadata = undefined)],
  [`${META}.ports`, (it) => setMetadata(it, ['ports'], {})],
  [`${META}.ports[1].port`, (it) => setMetadata(it, ['ports', 1, 'port'], '9000')],
  [`${META}.ports[1]`, (it) => setMetadata(it, ['ports', 1, 'port'], 8080)],
  [`${META}.ports[0].protocol`, (it) => setMetadata(it, ['ports', 0, 'protocol'], 'HTTP')],
  [`${META}.ports[0].mode`, (it) => setMetadata(it, ['ports', 0, 'mode'], 'strict')],
  [`${META}.defaultMode`, (it) => setMetadata(it, ['defaultMode'], undefined)],
  [`${META}.draining`, (it) => setMetadata(it, ['draining'], 1)],
  [`${META}.settings`, (it) => setMetadata(it, ['settings'], undefined)],
  [`${META}.settings.trustDomain`, (it) => setMetadata(it, ['settings', 'trustDomain'], 7)],
  [`${META}.settings.outboundUnknown`, (it) => setMetadata(it, ['settings', 'outboundUnknown'], 'MAYBE')],
  [`${META}.settings.drainGraceMs`, (it) => setMetadata(it, ['settings', 'drainGraceMs'], -1)],
  [`${META}.settings.detectionTimeoutMs`, (it) => setMetadata(it, ['settings', 'detectionTimeoutMs'], 1e15)],
  [
    `${META}.settings.tracing.samplingPercent`,
    (it) => setMetadata(it, ['settings', 'tracing', 'samplingPercent'], 100.5),
  ],
]);

const PEM = makeCa('Test root').rootPem;
const CA = 'validation_context.trusted_ca';

refuses(
  'roots',
  () => ({ secret: secretProto(PEM) }),
  ({ secret }) => decodeTrustBundle(secret),
  [
    ['type', (it) => (it.secret.type = undefined)],
    ['type', (it) => (it.secret.type = { $case: 'genericSecret', value: {} as never })],
    [CA, (it) => (it.secret = secretProto(''))],
    [CA, (it) => (it.secret = secretProto(PEM.replaceAll('CERTIFICATE', 'PRIVATE KEY')))],
    [`${CA}[0]`, (it) => (it.secret = secretProto(PEM.replace('MII', 'MIJ')))],
    [`${CA}[1]`, (it) => (it.secret = secretProto(`${PEM}${PEM.slice(0, 200)}`))],
    [CA, (it) => (it.secret = secretProto(`${PEM}${' '.repeat(trustBundleBytesMax)}`))],
  ],
);

test('roots may be as large as the limit says, and come as bytes', () => {
  const bundle = `${PEM}${' '.repeat(trustBundleBytesMax - PEM.length)}`;
  const secret = secretProto('');
  secret.type = {
    $case: 'validationContext',
    value: {
      ...some(secret.type?.$case === 'validationContext' ? secret.type.value : undefined),
      trustedCa: {
        specifier: { $case: 'inlineBytes', value: Buffer.from(bundle) },
        watchedDirectory: undefined,
      },
    },
  };
  assert.equal(decodeTrustBundle(secret), bundle);
});
