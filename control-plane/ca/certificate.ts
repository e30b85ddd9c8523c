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
/** What stands before the point in a SubjectPublicKeyInfo of P-256 (RFC 5480). */
const SPKI_HEADER_BYTES = 26;

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

/** What keys look like in certificates: a leaf needs that twice, and it takes as long as half a signature. */
const exported = new WeakMap<KeyObject, Buffer>();

function spki(key: KeyObject): Buffer {
  const known = exported.get(key);
  if (known !== undefined) return known;
  const bytes = key.export({ type: 'spki', format: 'der' });
  exported.set(key, bytes);
  return bytes;
}

/** A non-negative INTEGER in its shortest form, at most 20 bytes (RFC 5280, section 4.1.2.2). */
function positiveInteger(bytes: Buffer): string {
  const copy = Buffer.from(bytes);
  // The top bit clear and the next one set: positive, never zero, always the same length.
  copy[0] = ((copy[0] ?? 0) & 0x7f) | 0x40;
  return copy.toString('binary');
}

/** SHA-1 of the key bits, as RFC 5280 names it in section 4.2.1.2 (method 1). It identifies, it doesn't protect. */
function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha1').update(spki(key).subarray(SPKI_HEADER_BYTES)).digest();
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
  const subject = fieldsOf(certificate)[5];
  if (subject === undefined) throw new Error('the certificate has no subject');
  return subject;
}

/**
 * How a certificate names its own key, which may be any bytes (RFC 5280, section 4.2.1.2): what it signs must name the
 * issuer's key just so, or no chain is found. The usual hash where it says nothing.
 */
export function subjectKeyIdentifierOf(certificate: X509Certificate): Buffer {
  const explicit = fieldsOf(certificate).find(
    ({ tagClass, type }) => tagClass === asn1.Class.CONTEXT_SPECIFIC && (type as number) === 3,
  );
  const [list] = explicit === undefined ? [] : members(explicit);
  for (const one of list === undefined ? [] : members(list)) {
    const [id, ...rest] = members(one);
    const content = rest.at(-1)?.value;
    if (typeof id?.value !== 'string' || typeof content !== 'string') continue;
    if (asn1.derToOid(id.value) !== OID.subjectKeyIdentifier) continue;
    const identifier = parseDer(Buffer.from(content, 'binary')).value;
    if (typeof identifier === 'string') return Buffer.from(identifier, 'binary');
  }
  return keyIdentifier(certificate.publicKey);
}

/** The parts of what was signed (RFC 5280, section 4.1.2). */
function fieldsOf(certificate: X509Certificate): readonly Asn1[] {
  const [toBeSigned] = members(parseDer(certificate.raw));
  return toBeSigned === undefined ? [] : members(toBeSigned);
}

/** The parts of a constructed value. */
export function members(value: Asn1): Asn1[] {
  return Array.isArray(value.value) ? value.value : [];
}

export function certificatePem(bytes: Buffer): string {
  return pem('CERTIFICATE', bytes);
}
