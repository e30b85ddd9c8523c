import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { jsonLogger } from '../../common/log.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { type CertificateAuthority, createAuthority, makeRoot } from './authority.ts';
import { serverIdentity } from './server-credentials.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

function setUp(
  ttlMs: () => number,
  wrap = (authority: CertificateAuthority) => authority,
  rootTtlMs = 3_650 * DAY_MS,
) {
  const clock = new VirtualClock();
  const logged: string[] = [];
  const log = jsonLogger(clock, (line) => logged.push(line));
  const root = makeRoot('cluster.local', rootTtlMs, clock);
  const authority = wrap(createAuthority(root, clock));
  const identity = serverIdentity({ authority, trustDomain: 'cluster.local', ttlMs, clock, log });
  return { clock, identity, logged };
}

test('it is the control plane by SPIFFE ID, and by the names that clients may dial', () => {
  const { identity } = setUp(() => DAY_MS);
  assert.equal(
    new X509Certificate(identity.current().certificatePem).subjectAltName,
    'URI:spiffe://cluster.local/ns/heddle-system/sa/heddle-control-plane, ' +
      'DNS:heddle-control-plane.heddle-system.svc, DNS:localhost, IP Address:127.0.0.1',
  );
  identity.close();
});

test('it is renewed at half its life with a new key, with the life that the settings say by then', async () => {
  let ttlMs = DAY_MS;
  const { clock, identity } = setUp(() => ttlMs);
  const first = identity.current();
  await clock.advance(12 * HOUR_MS - 1);
  assert.equal(identity.current(), first);
  ttlMs = HOUR_MS;
  await clock.advance(1);
  const second = identity.current();
  assert.notEqual(second.privateKeyPem, first.privateKeyPem);
  const { validToDate } = new X509Certificate(second.certificatePem);
  assert.equal(validToDate.getTime(), clock.wallMs() + HOUR_MS);
  await clock.advance(HOUR_MS / 2);
  assert.notEqual(identity.current(), second);
  identity.close();
});

test('a life beyond what timers reach is renewed after a day', async () => {
  const { clock, identity } = setUp(() => 365 * DAY_MS);
  const first = identity.current();
  await clock.advance(DAY_MS);
  assert.notEqual(identity.current(), first);
  identity.close();
});

test('a renewal that fails is logged and tried again; the one before stays', async () => {
  let broken = false;
  const { clock, identity, logged } = setUp(
    () => HOUR_MS,
    (authority) => ({
      ...authority,
      issue(request) {
        if (broken) throw new Error('no randomness');
        return authority.issue(request);
      },
    }),
  );
  const first = identity.current();
  broken = true;
  await clock.advance(HOUR_MS / 2);
  assert.equal(identity.current(), first);
  assert.match(logged[0] ?? '', /can't be renewed.*no randomness/);
  broken = false;
  await clock.advance(HOUR_MS / 4);
  assert.notEqual(identity.current(), first);
  identity.close();
});

test('a root that expires ends renewals, not the process', async () => {
  const { clock, identity, logged } = setUp(
    () => DAY_MS,
    (authority) => authority,
    HOUR_MS,
  );
  await clock.advance(HOUR_MS + 60_000);
  assert.match(logged.at(-1) ?? '', /expired: replace it/);
  // Tried again at a steady pace, not ever faster towards the end.
  assert.ok(logged.length <= 7, `${logged.length} tries in a minute`);
  identity.close();
});

test('once closed nothing is renewed any more', async () => {
  const { clock, identity } = setUp(() => HOUR_MS);
  identity.close();
  const last = identity.current();
  await clock.advance(DAY_MS);
  assert.equal(identity.current(), last);
});
