import { createHash, createPublicKey, type KeyObject, sign, type X509Certificate } from 'node:crypto';
import forge from 'node-forge';
import {
  type Asn1,
  bitString,
  commonName,
  der,
  ecdsaSha256,
  extension,
  OID,
  octets,
  oid,
  parseDer,
  pem,
  primitive,
  sequence,
  tagged,
  time,
} from '../../common/wire/der.ts';

const { asn1 } = forge;
const SPKI_P256_BYTES = 91;

export interface CertificateRequest {
  /** DER of the name: from the issuer's certificate, or its own for a root. */
  readonly issuerName: Asn1;
  readonly subject: Asn1;
  readonly publicKey: KeyObject;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** 16 random bytes. */
  readonly serial: Buffer;
  readonly extensions: readonly Asn1[];
  readonly issuerKey: KeyObject;
}

/** Builds and signs a certificate (RFC 5280): structure by node-forge, signature by node:crypto. Returns DER. */
export function buildCertificate(request: CertificateRequest): Buffer {
  const toBeSigned = sequence(
    tagged(0, [primitive(asn1.Type.INTEGER, '\x02')]),
    primitive(asn1.Type.INTEGER, positiveInteger(request.serial)),
    ecdsaSha256(),
    request.issuerName,
    sequence(time(request.notBeforeMs), time(request.notAfterMs)),
    request.subject,
    parseDer(spki(request.publicKey)),
    tagged(3, [sequence(...request.extensions)]),
  );
  const signature = sign('sha256', der(toBeSigned), { key: request.issuerKey, dsaEncoding: 'der' });
  return der(sequence(toBeSigned, ecdsaSha256(), bitString(signature.toString('binary'))));
}

export function spki(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}

/** A non-negative INTEGER in its shortest form, at most 20 bytes (RFC 5280, section 4.1.2.2). */
function positiveInteger(bytes: Buffer): string {
  const copy = Buffer.from(bytes);
  // The top bit clear and the next one set: positive, never zero, always the same length.
  copy[0] = ((copy[0] ?? 0) & 0x7f) | 0x40;
  return copy.toString('binary');
}

/** SHA-1 of the key bits, as RFC 5280 names it in section 4.2.1.2 (method 1). It identifies, it doesn't protect. */
export function keyIdentifier(key: KeyObject): Buffer {
  const encoded = spki(key);
  return createHash('sha1')
    .update(encoded.subarray(encoded.length - (SPKI_P256_BYTES - 26)))
    .digest();
}

export interface LeafNames {
  /** The SPIFFE ID. */
  readonly uri: string;
  readonly dns: readonly string[];
  /** IPv4 addresses. */
  readonly ips: readonly string[];
}

/** Extensions of a workload certificate (X509-SVID, sections 3 and 4). The SAN is critical, as the subject is empty. */
export function leafExtensions(names: LeafNames, key: KeyObject, issuerKeyId: Buffer): Asn1[] {
  const general = [
    tagged(6, names.uri),
    ...names.dns.map((name) => tagged(2, name)),
    ...names.ips.map((ip) => tagged(7, Buffer.from(ip.split('.').map(Number)).toString('binary'))),
  ];
  return [
    extension(OID.basicConstraints, true, sequence()),
    extension(OID.keyUsage, true, primitive(asn1.Type.BITSTRING, '\x07\x80')),
    extension(OID.extendedKeyUsage, false, sequence(oid(OID.serverAuth), oid(OID.clientAuth))),
    extension(OID.subjectKeyIdentifier, false, octets(keyIdentifier(key).toString('binary'))),
    extension(OID.authorityKeyIdentifier, false, sequence(tagged(0, issuerKeyId.toString('binary')))),
    extension(OID.subjectAltName, true, sequence(...general)),
  ];
}

/** A self-signed root: it signs certificates, and nothing below it may. */
export function selfSignedRoot(
  name: string,
  trustDomain: string,
  privateKey: KeyObject,
  serial: Buffer,
  notBeforeMs: number,
  notAfterMs: number,
): Buffer {
  const publicKey = createPublicKey(privateKey);
  const keyId = keyIdentifier(publicKey);
  return buildCertificate({
    issuerName: commonName(name),
    subject: commonName(name),
    publicKey,
    notBeforeMs,
    notAfterMs,
    serial,
    issuerKey: privateKey,
    extensions: [
      extension(
        OID.basicConstraints,
        true,
        sequence(primitive(asn1.Type.BOOLEAN, '\xff'), primitive(asn1.Type.INTEGER, '\0')),
      ),
      extension(OID.keyUsage, true, primitive(asn1.Type.BITSTRING, '\x01\x06')),
      extension(OID.subjectKeyIdentifier, false, octets(keyId.toString('binary'))),
      extension(OID.subjectAltName, false, sequence(tagged(6, `spiffe://${trustDomain}`))),
    ],
  });
}

/** The subject name of a certificate, as DER structure, to be the issuer name of what it signs. */
export function subjectOf(certificate: X509Certificate): Asn1 {
  const [toBeSigned] = members(parseDer(certificate.raw));
  const fields = toBeSigned === undefined ? [] : members(toBeSigned);
  const subject = fields[5];
  if (subject === undefined) throw new Error('the certificate has no subject');
  return subject;
}

/** The parts of a constructed value. */
export function members(value: Asn1): Asn1[] {
  return Array.isArray(value.value) ? value.value : [];
}

export function certificatePem(bytes: Buffer): string {
  return pem('CERTIFICATE', bytes);
}
