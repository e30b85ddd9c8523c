import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import forge from 'node-forge';
import { HeddleError, messageOf, type Result } from '../../common/errors.ts';
import { type Asn1, der, OID, parseDer } from '../../common/wire/der.ts';
import { members } from './certificate.ts';

const { asn1 } = forge;

export const csrBytesMax = 8 * 1024;
export const asn1DepthMax = 16;
/** An uncompressed point of P-256 (SEC 1, section 2.3.3). */
const POINT_BYTES = 65;

const PEM =
  /^-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END (?:NEW )?CERTIFICATE REQUEST-----\s*$/;

/**
 * Checks a certificate signing request (PKCS #10, RFC 2986) against the identity its token proved: one PEM block, a
 * P-256 key, a valid self-signature, exactly one URI SAN that equals `uri`, nothing else asked for. Returns the key; the
 * certificate's contents come from the CA alone.
 */
export function checkCsr(text: string, uri: string): Result<KeyObject> {
  try {
    return { ok: true, value: check(text, uri) };
  } catch (thrown) {
    const error =
      thrown instanceof HeddleError ? thrown : refusal(`the CSR can't be read: ${messageOf(thrown)}`);
    return { ok: false, error };
  }
}

function refusal(message: string): HeddleError {
  return new HeddleError('bad-csr', message);
}

function check(text: string, uri: string): KeyObject {
  if (text.length > csrBytesMax) throw refusal(`the CSR is larger than ${csrBytesMax} bytes`);
  const body = PEM.exec(text)?.[1];
  if (body === undefined) throw refusal('the CSR must be exactly one PEM block "CERTIFICATE REQUEST"');
  const bytes = Buffer.from(body, 'base64');
  checkStructure(bytes);
  const request = parseDer(bytes);
  // The bytes that were signed must be the bytes that were understood.
  if (!der(request).equals(bytes)) throw refusal('the CSR is not DER');
  const [info, algorithm, signature, ...rest] = members(expect(request, asn1.Type.SEQUENCE, 'the CSR'));
  if (info === undefined || algorithm === undefined || signature === undefined || rest.length > 0) {
    throw refusal('the CSR must have three parts');
  }
  const [version, subject, keyInfo, attributes, ...more] = members(
    expect(info, asn1.Type.SEQUENCE, 'the request'),
  );
  if (version === undefined || subject === undefined || keyInfo === undefined || more.length > 0) {
    throw refusal('the CSR lacks a part, or has too many');
  }
  if (expect(version, asn1.Type.INTEGER, 'the version').value !== '\0')
    throw refusal('the CSR version must be 0');
  checkSubject(subject);
  const key = readKey(keyInfo);
  checkSignature(info, algorithm, signature, key);
  checkAttributes(attributes, uri);
  return key;
}

/**
 * Walks the lengths before any recursive parser sees them. Depth, length forms and bounds are checked on the way: only
 * short definite lengths as DER writes them.
 */
function checkStructure(bytes: Buffer): void {
  const ends: number[] = [];
  let position = 0;
  while (position < bytes.length) {
    while (ends.length > 0 && position === ends.at(-1)) ends.pop();
    if (ends.length === 0 && position > 0) throw refusal('bytes follow the CSR');
    const tag = bytes[position] ?? 0;
    const first = bytes[position + 1];
    if (first === undefined || (tag & 0x1f) === 0x1f) throw refusal('the CSR is malformed');
    let length = first;
    let header = 2;
    if (first >= 0x80) {
      const count = first & 0x7f;
      if (count === 0 || count > 2) throw refusal('the CSR is not DER: a length has no definite short form');
      header += count;
      if (position + header > bytes.length) throw refusal('the CSR ends early');
      length = bytes.readUIntBE(position + 2, count);
      if (length < 0x80 || (count === 2 && length < 0x100))
        throw refusal('the CSR is not DER: a length is padded');
    }
    const end = position + header + length;
    if (end > (ends.at(-1) ?? bytes.length)) throw refusal('the CSR ends early');
    if ((tag & 0x20) !== 0) {
      if (ends.length >= asn1DepthMax) throw refusal(`the CSR is nested deeper than ${asn1DepthMax}`);
      ends.push(end);
      position += header;
    } else {
      position = end;
    }
  }
  while (ends.length > 0 && position === ends.at(-1)) ends.pop();
  if (bytes.length === 0 || ends.length > 0) throw refusal('the CSR ends early');
}

function expect(value: Asn1, type: forge.asn1.Type, what: string): Asn1 {
  if (value.tagClass !== asn1.Class.UNIVERSAL || value.type !== type)
    throw refusal(`${what} has the wrong type`);
  return value;
}

function textOf(value: Asn1, what: string): string {
  if (typeof value.value !== 'string') throw refusal(`${what} has the wrong type`);
  return value.value;
}

function oidOf(value: Asn1 | undefined, what: string): string {
  if (value === undefined) throw refusal(`${what} is missing`);
  const bytes = textOf(expect(value, asn1.Type.OID, what), what);
  const text = bytes === '' ? '' : asn1.derToOid(bytes);
  // An identifier has one encoding (X.690, section 8.19); another one could mean something else to another reader.
  if (text === '' || asn1.oidToDer(text).getBytes() !== bytes) throw refusal(`${what} is badly encoded`);
  return text;
}

/** Empty, or one common name or organization: the CA doesn't copy it, so anything more is a misunderstanding. */
function checkSubject(subject: Asn1): void {
  const names = members(expect(subject, asn1.Type.SEQUENCE, 'the subject'));
  if (names.length > 1) throw refusal('the subject must be empty or a single name');
  for (const name of names) {
    const [pair, ...others] = members(expect(name, asn1.Type.SET, 'the subject'));
    if (pair === undefined || others.length > 0) throw refusal('the subject must be empty or a single name');
    const type = oidOf(members(pair)[0], 'the subject');
    if (type !== OID.commonName && type !== OID.organization)
      throw refusal('the subject holds more than a name');
  }
}

function readKey(keyInfo: Asn1): KeyObject {
  const [algorithm, point, ...others] = members(expect(keyInfo, asn1.Type.SEQUENCE, 'the key'));
  const [type, curve, ...rest] = members(expect(algorithm ?? keyInfo, asn1.Type.SEQUENCE, 'the key'));
  if (oidOf(type, 'the key type') !== OID.ecPublicKey) throw refusal('the key must be ECDSA on P-256');
  if (oidOf(curve, 'the curve') !== OID.p256 || rest.length > 0)
    throw refusal('the key must be on the curve P-256');
  const bits = textOf(expect(point ?? keyInfo, asn1.Type.BITSTRING, 'the key'), 'the key');
  if (bits.length !== POINT_BYTES + 1 || !bits.startsWith('\0\x04') || others.length > 0)
    throw refusal('the key must be one uncompressed point');
  // Whether the point lies on the curve is checked here.
  return createPublicKey({ key: der(keyInfo), format: 'der', type: 'spki' });
}

function checkSignature(info: Asn1, algorithm: Asn1, signature: Asn1, key: KeyObject): void {
  const [type, ...rest] = members(expect(algorithm, asn1.Type.SEQUENCE, 'the signature algorithm'));
  if (oidOf(type, 'the signature algorithm') !== OID.ecdsaSha256 || rest.length > 0) {
    throw refusal('the CSR must be signed with ECDSA and SHA-256');
  }
  const bits = Buffer.from(
    textOf(expect(signature, asn1.Type.BITSTRING, 'the signature'), 'the signature'),
    'binary',
  );
  if (bits[0] !== 0 || !verify('sha256', der(info), { key, dsaEncoding: 'der' }, bits.subarray(1))) {
    throw refusal("the CSR's own signature is not valid");
  }
}

function checkAttributes(attributes: Asn1 | undefined, uri: string): void {
  const isList = attributes?.tagClass === asn1.Class.CONTEXT_SPECIFIC && (attributes.type as number) === 0;
  const [attribute, ...others] = attributes === undefined || !isList ? [] : members(attributes);
  if (attribute === undefined || others.length > 0)
    throw refusal('the CSR must ask for exactly one thing: its SAN');
  const [type, values, ...more] = members(expect(attribute, asn1.Type.SEQUENCE, 'the attribute'));
  if (oidOf(type, 'the attribute') !== OID.extensionRequest || values === undefined || more.length > 0) {
    throw refusal('the only attribute may be an extension request');
  }
  const [extensions, ...sets] = members(expect(values, asn1.Type.SET, 'the attribute'));
  if (extensions === undefined || sets.length > 0) throw refusal('the extension request must be one list');
  const [san, ...extra] = members(expect(extensions, asn1.Type.SEQUENCE, 'the extensions'));
  if (san === undefined || extra.length > 0)
    throw refusal('the only extension may be the subject alternative name');
  checkSan(san, uri);
}

function checkSan(san: Asn1, uri: string): void {
  const parts = members(expect(san, asn1.Type.SEQUENCE, 'the extension'));
  if (oidOf(parts[0], 'the extension') !== OID.subjectAltName) {
    throw refusal('the only extension may be the subject alternative name');
  }
  const content = parts.at(-1);
  const critical = parts.length === 3 ? parts[1] : undefined;
  if (content === undefined || parts.length < 2 || parts.length > 3) throw refusal('the SAN is malformed');
  if (critical !== undefined) expect(critical, asn1.Type.BOOLEAN, 'the SAN');
  const bytes = Buffer.from(textOf(expect(content, asn1.Type.OCTETSTRING, 'the SAN'), 'the SAN'), 'binary');
  checkStructure(bytes);
  const names = members(expect(parseDer(bytes), asn1.Type.SEQUENCE, 'the SAN'));
  const [name, ...others] = names;
  if (name === undefined || others.length > 0) throw refusal('the SAN must be exactly one URI');
  if (name.tagClass !== asn1.Class.CONTEXT_SPECIFIC || (name.type as number) !== 6)
    throw refusal('the SAN must be a URI');
  if (textOf(name, 'the SAN') !== uri) throw refusal(`the SAN must be ${uri}, the identity of the token`);
}
