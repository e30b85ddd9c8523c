import forge from 'node-forge';

export type Asn1 = forge.asn1.Asn1;
const { asn1 } = forge;

export const OID = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  ecPublicKey: '1.2.840.10045.2.1',
  p256: '1.2.840.10045.3.1.7',
  ecdsaSha256: '1.2.840.10045.4.3.2',
  extensionRequest: '1.2.840.113549.1.9.14',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  subjectKeyIdentifier: '2.5.29.14',
  authorityKeyIdentifier: '2.5.29.35',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** A universal primitive value. */
export function primitive(type: forge.asn1.Type, bytes: string): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, type, false, bytes);
}

export function sequence(...items: Asn1[]): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, items);
}

export function set(...items: Asn1[]): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SET, true, items);
}

export function oid(value: string): Asn1 {
  return primitive(asn1.Type.OID, asn1.oidToDer(value).getBytes());
}

export function octets(bytes: string): Asn1 {
  return primitive(asn1.Type.OCTETSTRING, bytes);
}

/** `[tag]` with content: constructed for a list, primitive for bytes. */
export function tagged(tag: number, content: Asn1[] | string): Asn1 {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, Array.isArray(content), content);
}

export function der(value: Asn1): Buffer {
  return Buffer.from(asn1.toDer(value).getBytes(), 'binary');
}

export function derText(value: Asn1): string {
  return asn1.toDer(value).getBytes();
}

/** Parses exactly one DER value. Throws where bytes are left over or malformed. */
export function parseDer(bytes: Buffer): Asn1 {
  // The published types know only a flag here; the options keep bit strings as bytes.
  const options = { strict: true, parseAllBytes: true, decodeBitStrings: false };
  const parsed: Asn1 = Reflect.apply(asn1.fromDer, asn1, [bytes.toString('binary'), options]);
  return parsed;
}

/** A name with one common name. */
export function commonName(value: string): Asn1 {
  return sequence(
    set(
      sequence(oid(OID.commonName), primitive(asn1.Type.UTF8, Buffer.from(value, 'utf8').toString('binary'))),
    ),
  );
}

/** GeneralizedTime from 2050 on, UTCTime before (RFC 5280, section 4.1.2.5). */
export function time(atMs: number): Asn1 {
  const date = new Date(atMs);
  return date.getUTCFullYear() >= 2050
    ? primitive(asn1.Type.GENERALIZEDTIME, asn1.dateToGeneralizedTime(date))
    : primitive(asn1.Type.UTCTIME, asn1.dateToUtcTime(date));
}

export function bitString(bytes: string): Asn1 {
  return primitive(asn1.Type.BITSTRING, `\0${bytes}`);
}

export function extension(id: string, critical: boolean, value: Asn1): Asn1 {
  const members = [oid(id)];
  if (critical) members.push(primitive(asn1.Type.BOOLEAN, '\xff'));
  return sequence(...members, octets(derText(value)));
}

export function ecdsaSha256(): Asn1 {
  return sequence(oid(OID.ecdsaSha256));
}

export function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
