import { Secret } from '../../common/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import { RESOURCE, TYPE } from '../../common/wire/types.ts';
import { type EncodedResource, encodeResource } from './encoding.ts';

/** The roots to trust, PEM, one after the other. Private keys never travel this way. */
export function trustBundleSecret(bundlePem: string): EncodedResource {
  return encodeResource(
    TYPE.secret,
    RESOURCE.trustBundle,
    [],
    Secret,
    Secret.fromPartial({
      name: RESOURCE.trustBundle,
      type: {
        $case: 'validationContext',
        value: { trustedCa: { specifier: { $case: 'inlineString', value: bundlePem } } },
      },
    }),
  );
}
