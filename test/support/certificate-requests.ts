import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import forge from 'node-forge';
import {
  type Asn1,
  bitString,
  der,
  ecdsaSha256,
  extension,
  OID,
  oid,
  parseDer,
  pem,
  primitive,
  sequence,
  set,
  tagged,
} from '../../common/wire/der.ts';

/** What a request differs in from a good one. Everything else is as a sidecar makes it. */
export interface RequestParts {
  readonly uri?: string;
  readonly key?: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
  /** In place of the SAN's names. */
  readonly names?: readonly Asn1[];
  /** In place of the list of extensions. */
  readonly extensions?: readonly Asn1[];
  /** In place of the `[0]` of attributes, or nothing. */
  readonly attributes?: Asn1 | 'none';
  readonly version?: string;
  readonly subject?: Asn1;
  readonly keyInfo?: Asn1;
  readonly algorithm?: Asn1;
  readonly digest?: string;
  /** More parts at the end of the outer sequence. */
  readonly trailing?: readonly Asn1[];
}

export function p256() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

export const URI_NAME = 6;
export const DNS_NAME = 2;

export function sanExtension(...names: readonly Asn1[]): Asn1 {
  return extension(OID.subjectAltName, true, sequence(...names));
}

export function extensionRequest(...extensions: readonly Asn1[]): Asn1 {
  return sequence(oid(OID.extensionRequest), set(sequence(...extensions)));
}

/** A PKCS #10 request (RFC 2986) as DER, signed with its own key whatever it says. */
export function requestDer(parts: RequestParts = {}): Buffer {
  const { privateKey, publicKey } = parts.key ?? p256();
  const names = parts.names ?? [tagged(URI_NAME, parts.uri ?? 'spiffe://cluster.local/ns/shop/sa/web')];
  const extensions = parts.extensions ?? [sanExtension(...names)];
  const attributes = parts.attributes ?? tagged(0, [extensionRequest(...extensions)]);
  const info = sequence(
    primitive(forge.asn1.Type.INTEGER, parts.version ?? '\0'),
    parts.subject ?? sequence(),
    parts.keyInfo ?? parseDer(publicKey.export({ type: 'spki', format: 'der' })),
    ...(attributes === 'none' ? [] : [attributes]),
  );
  const isEd = privateKey.asymmetricKeyType === 'ed25519';
  const signature = sign(isEd ? null : (parts.digest ?? 'sha256'), der(info), privateKey);
  const algorithm = parts.algorithm ?? ecdsaSha256();
  return der(sequence(info, algorithm, bitString(signature.toString('binary')), ...(parts.trailing ?? [])));
}

export function requestPem(parts: RequestParts = {}): string {
  return pem('CERTIFICATE REQUEST', requestDer(parts));
}
