import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { p256 } from '../../test/support/certificate-requests.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { backdateMs, createAuthority, makeRoot } from './authority.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const URI = 'spiffe://cluster.local/ns/shop/sa/web';

function setUp(rootTtlMs = 3_650 * DAY_MS) {
  const clock = new VirtualClock();
  const root = makeRoot('cluster.local', rootTtlMs, clock);
  const authority = createAuthority(root, clock);
  const { publicKey } = p256();
  const issue = (more: { dns?: string[]; ips?: string[]; ttlMs?: number } = {}) =>
    authority.issue({ publicKey, uri: URI, ttlMs: DAY_MS, ...more });
  return { clock, root: new X509Certificate(root.certificatePem), authority, publicKey, issue };
}

test('a leaf holds the identity, the key, both uses, and chains to the root', () => {
  const { root, publicKey, issue } = setUp();
  const leaf = new X509Certificate(issue().certificatePem);
  assert.equal(leaf.subjectAltName, `URI:${URI}`);
  assert.equal(leaf.subject, undefined);
  assert.ok(leaf.publicKey.equals(publicKey));
  assert.equal(leaf.ca, false);
  assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  assert.ok(leaf.checkIssued(root));
  assert.ok(leaf.verify(root.publicKey));
});

test('it is valid from a little before it was made, for as long as was asked', () => {
  const { clock, issue } = setUp();
  const { certificatePem, notAfterMs } = issue({ ttlMs: HOUR_MS });
  const leaf = new X509Certificate(certificatePem);
  assert.equal(leaf.validFromDate.getTime(), clock.wallMs() - backdateMs);
  assert.equal(leaf.validToDate.getTime(), clock.wallMs() + HOUR_MS);
  assert.equal(notAfterMs, leaf.validToDate.getTime());
});

test('DNS names and addresses come along where the caller is a server that is called by them', () => {
  const { issue } = setUp();
  const leaf = new X509Certificate(issue({ dns: ['a.svc', 'localhost'], ips: ['127.0.0.1'] }).certificatePem);
  assert.equal(leaf.subjectAltName, `URI:${URI}, DNS:a.svc, DNS:localhost, IP Address:127.0.0.1`);
});

test('a leaf never outlives the root', async () => {
  const { clock, root, issue } = setUp(DAY_MS);
  await clock.advance(DAY_MS - HOUR_MS);
  assert.equal(issue().notAfterMs, root.validToDate.getTime());
});

test('once the root has expired nothing is signed any more', async () => {
  const { clock, issue } = setUp(DAY_MS);
  await clock.advance(DAY_MS);
  assert.throws(() => issue(), { code: 'bad-root', message: /expired: replace it/ });
});

test('serial numbers are positive, of 126 random bits, and never the same', () => {
  const { issue } = setUp();
  const serials = Array.from({ length: 500 }, () => new X509Certificate(issue().certificatePem).serialNumber);
  assert.equal(new Set(serials).size, serials.length);
  for (const serial of serials) assert.match(serial, /^[4-7][0-9A-F]{31}$/);
});

test('dates on both sides of 2050 are written as RFC 5280 wants them', async () => {
  const { clock, issue } = setUp(40 * 365 * DAY_MS);
  const { certificatePem } = issue({ ttlMs: 30 * 365 * DAY_MS });
  assert.equal(new X509Certificate(certificatePem).validToDate.getTime(), clock.wallMs() + 30 * 365 * DAY_MS);
});

test('the root says that it signs certificates, and nothing below it may', () => {
  const { root } = setUp();
  assert.equal(root.ca, true);
  assert.ok(root.checkIssued(root));
  assert.equal(root.subjectAltName, 'URI:spiffe://cluster.local');
});
