import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import forge from 'node-forge';
import { makeKeyAndRequest } from '../../common/ca/csr.ts';
import {
  type Asn1,
  bitString,
  commonName,
  derText,
  extension,
  OID,
  octets,
  oid,
  parseDer,
  pem,
  primitive,
  sequence,
  set,
  tagged,
} from '../../common/wire/der.ts';
import {
  DNS_NAME,
  extensionRequest,
  p256,
  type RequestParts,
  requestDer,
  requestPem,
  sanExtension,
  URI_NAME,
} from '../../test/support/certificate-requests.ts';
import { asn1DepthMax, checkCsr, csrBytesMax } from './csr.ts';

const { Type, Class } = forge.asn1;
const URI = 'spiffe://cluster.local/ns/shop/sa/web';
const OTHER = 'spiffe://cluster.local/ns/shop/sa/payments';
const uri = (value: string) => tagged(URI_NAME, value);
const csr = (bytes: Buffer) => pem('CERTIFICATE REQUEST', bytes);
const good = requestDer();
const CA_TRUE = extension(OID.basicConstraints, true, sequence(primitive(Type.BOOLEAN, '\xff')));

function spkiOf(key: KeyObject): Asn1 {
  return parseDer(key.export({ type: 'spki', format: 'der' }));
}

/** A P-256 key whose bits are replaced. */
function pointInfo(bytes: Buffer): Asn1 {
  return sequence(sequence(oid(OID.ecPublicKey), oid(OID.p256)), bitString(bytes.toString('binary')));
}

function nested(depth: number): Asn1 {
  let value: Asn1 = sequence();
  for (let level = 0; level < depth; level++) value = sequence(value);
  return value;
}

function flipped(bytes: Buffer, position: number, mask = 1): Buffer {
  const copy = Buffer.from(bytes);
  copy[position] = (copy[position] ?? 0) ^ mask;
  return copy;
}

/** The same value with its outermost length written in a longer form. */
function paddedLength(bytes: Buffer): Buffer {
  assert.equal(bytes[1], 0x82, 'the request is of a length that needs two bytes');
  return Buffer.concat([Buffer.from([0x30, 0x83, 0x00]), bytes.subarray(2)]);
}

function indefinite(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x30, 0x80]), bytes.subarray(4), Buffer.from([0, 0])]);
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const ed25519 = generateKeyPairSync('ed25519');
const explicit = generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' });
const compressed = Buffer.concat([
  Buffer.from([2]),
  p256().publicKey.export({ type: 'spki', format: 'der' }).subarray(27, 59),
]);
const sized = (length: number) => `spiffe://cluster.local/ns/shop/sa/${'w'.repeat(length)}`;

const HOSTILE: readonly (readonly [string, string, RegExp])[] = [
  ['another identity', requestPem({ uri: OTHER }), /SAN must be spiffe/],
  ['another namespace', requestPem({ uri: URI.replace('/shop/', '/bank/') }), /SAN must be spiffe/],
  ['another trust domain', requestPem({ uri: URI.replace('cluster.local', 'elsewhere') }), /SAN must be/],
  ['the identity in capitals', requestPem({ uri: URI.toUpperCase() }), /SAN must be/],
  ['a scheme in capitals', requestPem({ uri: URI.replace('spiffe:', 'SPIFFE:') }), /SAN must be/],
  ['a percent-encoded identity', requestPem({ uri: URI.replace('web', '%77eb') }), /SAN must be/],
  ['a dot segment', requestPem({ uri: URI.replace('/sa/', '/sa/../sa/') }), /SAN must be/],
  ['a trailing slash', requestPem({ uri: `${URI}/` }), /SAN must be/],
  ['a query', requestPem({ uri: `${URI}?x` }), /SAN must be/],
  ['a NUL after the identity', requestPem({ uri: `${URI}\0.elsewhere` }), /SAN must be/],
  ['a line break after the identity', requestPem({ uri: `${URI}\n` }), /SAN must be/],
  [
    'a look-alike letter',
    requestPem({ uri: forge.util.encodeUtf8(URI.replace('web', 'wеb')) }),
    /SAN must be/,
  ],
  ['an empty identity', requestPem({ uri: '' }), /SAN must be/],
  ['a very long identity', requestPem({ uri: sized(4000) }), /SAN must be/],
  ['two identities', requestPem({ names: [uri(URI), uri(OTHER)] }), /exactly one URI/],
  ['the same identity twice', requestPem({ names: [uri(URI), uri(URI)] }), /exactly one URI/],
  ['no name at all', requestPem({ names: [] }), /exactly one URI/],
  ['a DNS name beside it', requestPem({ names: [uri(URI), tagged(DNS_NAME, 'web')] }), /exactly one URI/],
  ['a DNS name that spells it', requestPem({ names: [tagged(DNS_NAME, URI)] }), /must be a URI/],
  ['an e-mail address', requestPem({ names: [tagged(1, URI)] }), /must be a URI/],
  ['a URI in pieces', requestPem({ names: [tagged(URI_NAME, [octets(URI)])] }), /wrong type/],
  [
    'a name of the application class',
    requestPem({ names: [forge.asn1.create(Class.APPLICATION, URI_NAME as forge.asn1.Type, false, URI)] }),
    /must be a URI/,
  ],
  ['a name that is plain text', requestPem({ names: [primitive(Type.UTF8, URI)] }), /must be a URI/],
  ['a CA', requestPem({ extensions: [sanExtension(uri(URI)), CA_TRUE] }), /only extension/],
  ['a CA and nothing else', requestPem({ extensions: [CA_TRUE] }), /only extension/],
  [
    'two SANs',
    requestPem({ extensions: [sanExtension(uri(URI)), sanExtension(uri(OTHER))] }),
    /only extension/,
  ],
  ['no extension', requestPem({ extensions: [] }), /only extension/],
  ['no attribute', requestPem({ attributes: tagged(0, []) }), /exactly one thing/],
  ['no list of attributes', requestPem({ attributes: 'none' }), /exactly one thing/],
  [
    'attributes under another tag',
    requestPem({ attributes: tagged(1, [extensionRequest(sanExtension(uri(URI)))]) }),
    /exactly one thing/,
  ],
  [
    'attributes in a plain sequence',
    requestPem({ attributes: sequence(extensionRequest(sanExtension(uri(URI)))) }),
    /exactly one thing/,
  ],
  [
    'two requests for extensions',
    requestPem({
      attributes: tagged(0, [
        extensionRequest(sanExtension(uri(URI))),
        extensionRequest(sanExtension(uri(OTHER))),
      ]),
    }),
    /exactly one thing/,
  ],
  [
    'a challenge password',
    requestPem({
      attributes: tagged(0, [sequence(oid('1.2.840.113549.1.9.7'), set(primitive(Type.UTF8, 'x')))]),
    }),
    /only attribute/,
  ],
  [
    'two lists in one attribute',
    requestPem({
      attributes: tagged(0, [
        sequence(
          oid(OID.extensionRequest),
          set(sequence(sanExtension(uri(URI))), sequence(sanExtension(uri(OTHER)))),
        ),
      ]),
    }),
    /one list/,
  ],
  [
    'a SAN that holds more than it says',
    requestPem({
      extensions: [sequence(oid(OID.subjectAltName), octets(`${derText(sequence(uri(URI)))}\0`))],
    }),
    /bytes follow/,
  ],
  [
    'a SAN that is no list',
    requestPem({ extensions: [sequence(oid(OID.subjectAltName), octets(derText(uri(URI))))] }),
    /wrong type/,
  ],
  [
    'a SAN without content',
    requestPem({ extensions: [sequence(oid(OID.subjectAltName))] }),
    /malformed|wrong type/,
  ],
  [
    'a subject of two names',
    requestPem({
      subject: sequence(...[commonName('a'), commonName('b')].flatMap((name) => name.value as Asn1[])),
    }),
    /single name/,
  ],
  [
    'a subject with an e-mail address',
    requestPem({ subject: sequence(set(sequence(oid('1.2.840.113549.1.9.1'), primitive(Type.UTF8, 'x')))) }),
    /more than a name/,
  ],
  ['version 1', requestPem({ version: '\x01' }), /version/],
  ['a fourth part', requestPem({ trailing: [sequence()] }), /three parts/],
  ['an RSA key', requestPem({ key: rsa }), /ECDSA on P-256/],
  ['a key on P-384', requestPem({ key: p384 }), /curve P-256/],
  ['an Ed25519 key', requestPem({ key: ed25519 }), /ECDSA on P-256/],
  [
    'a curve written out',
    requestPem({ key: explicit, keyInfo: spkiOf(explicit.publicKey) }),
    /curve|wrong type/,
  ],
  ['a compressed point', requestPem({ keyInfo: pointInfo(compressed) }), /uncompressed point/],
  ['the point at infinity', requestPem({ keyInfo: pointInfo(Buffer.alloc(1)) }), /uncompressed point/],
  [
    'a point off the curve',
    requestPem({ keyInfo: pointInfo(Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 1)])) }),
    /can't be read/,
  ],
  ["somebody else's key", requestPem({ keyInfo: spkiOf(p256().publicKey) }), /signature is not valid/],
  ['a signature over SHA-1', requestPem({ digest: 'sha1' }), /signature is not valid/],
  [
    'a signature that says SHA-384',
    requestPem({ algorithm: sequence(oid('1.2.840.10045.4.3.3')) }),
    /ECDSA and SHA-256/,
  ],
  [
    'a signature with parameters',
    requestPem({ algorithm: sequence(oid(OID.ecdsaSha256), primitive(Type.NULL, '')) }),
    /ECDSA and SHA-256/,
  ],
  [
    'a bit flipped in the signature',
    csr(flipped(good, good.length - 1)),
    /signature is not valid|can't be read/,
  ],
  ['a bit flipped in the key', csr(flipped(good, 60)), /signature|can't be read|key/],
  ['one byte cut off', csr(good.subarray(0, -1)), /ends early/],
  ['half of it', csr(good.subarray(0, good.length >> 1)), /ends early/],
  ['the first byte alone', csr(good.subarray(0, 1)), /malformed/],
  ['a byte too many', csr(Buffer.concat([good, Buffer.alloc(1)])), /bytes follow/],
  ['a second request behind it', csr(Buffer.concat([good, good])), /bytes follow/],
  ['a padded length', csr(paddedLength(good)), /not DER/],
  ['an indefinite length', csr(indefinite(good)), /not DER/],
  ['a length of 4 GB', csr(Buffer.from([0x30, 0x84, 0xff, 0xff, 0xff, 0xff])), /not DER/],
  ['a tag of many bytes', csr(Buffer.from([0x3f, 0x81, 0x01, 0x00])), /malformed/],
  ['deep nesting', requestPem({ subject: sequence(set(nested(asn1DepthMax))) }), /nested deeper/],
  [
    'a tower of sequences',
    csr(Buffer.concat(Array.from({ length: 1000 }, () => Buffer.from([0x30, 0x80])))),
    /not DER/,
  ],
  ['a huge text', 'A'.repeat(csrBytesMax + 1), /larger than/],
  ['nothing', '', /one PEM block/],
  [
    'an empty block',
    '-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n',
    /one PEM block/,
  ],
  [
    'a block of line breaks',
    '-----BEGIN CERTIFICATE REQUEST-----\n\n-----END CERTIFICATE REQUEST-----\n',
    /ends early/,
  ],
  ['two blocks', requestPem() + requestPem(), /one PEM block/],
  ['text before the block', `x\n${requestPem()}`, /one PEM block/],
  ['text after the block', `${requestPem()}x`, /one PEM block/],
  ["a certificate's label", pem('CERTIFICATE', good), /one PEM block/],
  ['a private key', p256().privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), /one PEM block/],
  ['bytes that are no base64', requestPem().replace(/\n.{8}/, '\n\u{1F9F6}ABCDEF'), /one PEM block/],
];

for (const [what, text, message] of HOSTILE) {
  test(`refused: ${what}`, () => {
    const result = checkCsr(text, URI);
    assert.ok(!result.ok, 'it was accepted');
    assert.equal(result.error.code, 'bad-csr');
    assert.match(result.error.message, message);
  });
}

const HARMLESS: readonly (readonly [string, RequestParts])[] = [
  ['a common name', { subject: commonName('web') }],
  [
    'an organization',
    { subject: sequence(set(sequence(oid(OID.organization), primitive(Type.UTF8, 'shop')))) },
  ],
  ['a SAN that is not critical', { extensions: [extension(OID.subjectAltName, false, sequence(uri(URI)))] }],
];

for (const [what, parts] of HARMLESS) {
  test(`accepted, and not copied: ${what}`, () => {
    const key = p256();
    const result = checkCsr(requestPem({ ...parts, key }), URI);
    assert.ok(result.ok);
    assert.ok(result.value.equals(key.publicKey));
  });
}

test('what a sidecar sends is accepted, with line breaks of either kind', () => {
  const { csrPem } = makeKeyAndRequest(URI);
  assert.ok(checkCsr(csrPem, URI).ok);
  assert.ok(checkCsr(csrPem.replaceAll('\n', '\r\n'), URI).ok);
  assert.ok(checkCsr(csrPem.replaceAll('CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'), URI).ok);
});

test('whatever bytes are changed, nothing is signed but the very key for the very identity', () => {
  const key = p256();
  const original = requestDer({ key });
  const change = fc.record({
    at: fc.nat({ max: original.length - 1 }),
    with: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 8 }),
      fc.constantFrom(0x00, 0x30, 0x80, 0x81, 0x82, 0xff).map((byte) => Uint8Array.of(byte)),
    ),
    how: fc.constantFrom('over', 'in', 'out'),
  });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      let bytes = original;
      for (const { at, with: patch, how } of changes) {
        const skipped = how === 'in' ? 0 : patch.length;
        const added = how === 'out' ? Buffer.alloc(0) : Buffer.from(patch);
        bytes = Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + skipped)]);
      }
      const result = checkCsr(csr(bytes), URI);
      if (!result.ok) {
        assert.equal(result.error.code, 'bad-csr');
        return;
      }
      assert.ok(result.value.equals(key.publicKey));
    }),
    { numRuns: 3_000, seed: 20_261 },
  );
});
