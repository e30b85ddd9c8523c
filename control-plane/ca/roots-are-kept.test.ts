import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import forge from 'node-forge';
import { commonName, extension, OID, octets, primitive, sequence } from '../../common/wire/der.ts';
import { p256 } from '../../test/support/certificate-requests.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { createAuthority, loadOrMakeRoot, makeRoot, type RootMaterial } from './authority.ts';
import { buildCertificate, certificatePem, subjectOf } from './certificate.ts';

leakCheck();

const { asn1 } = forge;

const DAY_MS = 24 * 3_600_000;
const YEAR_MS = 365 * DAY_MS;
let directory: string;
let clock: VirtualClock;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-root-'));
  clock = new VirtualClock();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const load = (stateDir = directory) => loadOrMakeRoot(stateDir, 'cluster.local', YEAR_MS, clock);
const mode = (file: string) => statSync(join(directory, file)).mode & 0o777;

test('the first start makes a root that only its owner can use', () => {
  const root = load();
  assert.equal(mode('root-key.pem'), 0o600);
  assert.equal(mode('root.pem'), 0o644);
  const certificate = new X509Certificate(root.certificatePem);
  assert.equal(certificate.validToDate.getTime(), clock.wallMs() + YEAR_MS);
  assert.equal(certificate.subjectAltName, 'URI:spiffe://cluster.local');
});

test('a state directory that is not there yet is made for its owner alone', () => {
  const stateDir = join(directory, 'new', 'state');
  load(stateDir);
  assert.equal(statSync(stateDir).mode & 0o777, 0o700);
});

test('every later start uses the same root, whatever the settings say by then', () => {
  const first = load();
  assert.deepEqual(loadOrMakeRoot(directory, 'elsewhere', DAY_MS, clock), first);
});

test('a key that others can read is closed to them', () => {
  load();
  chmodSync(join(directory, 'root-key.pem'), 0o644);
  load();
  assert.equal(mode('root-key.pem'), 0o600);
});

for (const file of ['root.pem', 'root-key.pem']) {
  test(`${file} alone is no root, and is not written over`, () => {
    const root = load();
    const other = file === 'root.pem' ? 'root-key.pem' : 'root.pem';
    rmSync(join(directory, other));
    assert.throws(() => load(), { code: 'bad-root', message: /only one of root-key.pem and root.pem/ });
    const kept = file === 'root.pem' ? root.certificatePem : root.privateKeyPem;
    assert.equal(readFileSync(join(directory, file), 'utf8'), kept);
  });
}

test("an operator's own root is used as it is", () => {
  const own = makeRoot('shop.example', YEAR_MS, clock);
  writeFileSync(join(directory, 'root.pem'), own.certificatePem);
  writeFileSync(join(directory, 'root-key.pem'), own.privateKeyPem);
  assert.equal(
    createAuthority(load(), clock).trustBundlePem(),
    new X509Certificate(own.certificatePem).toString(),
  );
});

/** A certificate that the root signed: anything but a root. */
function leafOf(root: RootMaterial) {
  const { privateKey, publicKey } = p256();
  const uri = 'spiffe://cluster.local/ns/shop/sa/web';
  const { certificatePem } = createAuthority(root, clock).issue({ publicKey, uri, ttlMs: DAY_MS });
  return { certificatePem, privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

const keyPem = (type: 'ec' | 'encrypted' | 'rsa'): string => {
  if (type === 'rsa') {
    return generateKeyPairSync('rsa', { modulusLength: 2048 })
      .privateKey.export({ type: 'pkcs8', format: 'pem' })
      .toString();
  }
  const cipher = type === 'encrypted' ? { cipher: 'aes-256-cbc', passphrase: 'x' } : {};
  return p256()
    .privateKey.export({ type: 'pkcs8', format: 'pem', ...cipher })
    .toString();
};

const BAD: readonly (readonly [string, (root: RootMaterial) => RootMaterial, RegExp])[] = [
  ['no certificate', (root) => ({ ...root, certificatePem: 'x' }), /root certificate can't be read/],
  ['no key', (root) => ({ ...root, privateKeyPem: 'x' }), /root key can't be read/],
  ['an encrypted key', (root) => ({ ...root, privateKeyPem: keyPem('encrypted') }), /without a passphrase/],
  ['an RSA key', (root) => ({ ...root, privateKeyPem: keyPem('rsa') }), /ECDSA key on P-256/],
  ["another root's key", (root) => ({ ...root, privateKeyPem: keyPem('ec') }), /does not belong/],
  ['a leaf', leafOf, /may not sign/],
  [
    'a chain',
    (root) => ({ ...root, certificatePem: root.certificatePem + root.certificatePem }),
    /exactly one certificate/,
  ],
];

for (const [what, make, message] of BAD) {
  test(`refused as a root: ${what}`, () => {
    const root = make(makeRoot('cluster.local', YEAR_MS, clock));
    assert.throws(() => createAuthority(root, clock), { code: 'bad-root', message });
  });
}

test('refused as a root: one that has expired, and one that is not valid yet', async () => {
  const early = makeRoot('cluster.local', YEAR_MS, new VirtualClock(clock.wallMs() + DAY_MS));
  assert.throws(() => createAuthority(early, clock), { message: /not valid yet/ });
  const root = makeRoot('cluster.local', DAY_MS, clock);
  await clock.advance(DAY_MS);
  assert.throws(() => createAuthority(root, clock), { code: 'bad-root', message: /has expired/ });
});

test('no message about a root holds its key', () => {
  const root = makeRoot('cluster.local', YEAR_MS, clock);
  const body = root.privateKeyPem.split('\n')[1] ?? '';
  assert.equal(body.length, 64);
  for (const privateKeyPem of [
    `${body}${root.privateKeyPem}`,
    root.privateKeyPem.replace('BEGIN', 'begin'),
  ]) {
    assert.throws(
      () => createAuthority({ ...root, privateKeyPem }, clock),
      (thrown) => !String(thrown).includes(body),
    );
  }
});

/** A CA certificate as an operator's own tools might make it: `keyId` names its key, `issuer` signs it. */
function operatorCa(keyId: string, issuer?: RootMaterial): RootMaterial {
  const { privateKey, publicKey } = p256();
  const issuerKey = issuer === undefined ? privateKey : createPrivateKey(issuer.privateKeyPem);
  const subject = commonName(`Operator ${keyId}`);
  const der = buildCertificate({
    issuerName: issuer === undefined ? subject : subjectOf(new X509Certificate(issuer.certificatePem)),
    ...{ subject, publicKey, issuerKey },
    notBeforeMs: clock.wallMs(),
    notAfterMs: clock.wallMs() + YEAR_MS,
    serial: Buffer.alloc(16, 7),
    extensions: [
      extension(OID.basicConstraints, true, sequence(primitive(asn1.Type.BOOLEAN, '\xff'))),
      extension(OID.subjectKeyIdentifier, false, octets(keyId)),
    ],
  });
  return {
    certificatePem: certificatePem(der),
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

test("a leaf names its issuer's key as the operator's root does, whatever that is", () => {
  const root = operatorCa('vault-7');
  const leaf = new X509Certificate(leafOf(root).certificatePem);
  const issuer = new X509Certificate(root.certificatePem);
  // checkIssued compares the two identifiers; the raw bytes show that the leaf has one at all.
  assert.ok(leaf.checkIssued(issuer));
  assert.ok(leaf.raw.includes(Buffer.from('vault-7')));
});

test('refused as a root: an intermediate, which no proxy would trust by itself', () => {
  const intermediate = operatorCa('below', operatorCa('above'));
  assert.throws(() => createAuthority(intermediate, clock), { message: /must be signed by itself/ });
});
