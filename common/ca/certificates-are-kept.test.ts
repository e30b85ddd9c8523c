import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { afterEach, test } from 'node:test';
import { leakCheck } from '../../test/support/leak-check.ts';
import { meshCa } from '../../test/support/mesh-ca.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import { HeddleError } from '../errors.ts';
import { silentLogger } from '../log.ts';
import type { Random } from '../random.ts';
import type { RequestCertificate } from './client.ts';
import {
  type Credentials,
  FIRST_BACKOFF,
  keepIdentity,
  RENEWAL_BACKOFF,
  renewalDelayMaxMs,
  renewalDelayMinMs,
  type WorkloadIdentity,
} from './workload-identity.ts';

leakCheck();

const URI = 'spiffe://cluster.local/ns/shop/sa/web';
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const kept: WorkloadIdentity[] = [];
afterEach(() => {
  for (const identity of kept.splice(0)) identity.close();
});

interface Kept {
  readonly identity: WorkloadIdentity;
  readonly taken: Credentials[];
}

function keep(clock: VirtualClock, requestCertificate: RequestCertificate, random = 0.5): Kept {
  const fixed: Random = { next: () => random, hex: () => '' };
  const identity = keepIdentity({ uri: URI, requestCertificate, clock, random: fixed, log: silentLogger });
  kept.push(identity);
  const taken: Credentials[] = [];
  identity.onChange((credentials) => taken.push(credentials));
  return { identity, taken };
}

test('the first certificate is asked for at once and carries the identity', async () => {
  const clock = new VirtualClock();
  const { identity, taken } = keep(clock, meshCa(clock).requester(URI, DAY_MS));
  assert.equal(identity.current(), undefined);
  await settle();
  const [first] = taken;
  assert.ok(first !== undefined);
  assert.equal(first, identity.current());
  assert.equal(new X509Certificate(first.certificateChainPem).subjectAltName, `URI:${URI}`);
  assert.equal(first.expiresAtMs, clock.wallMs() + DAY_MS);
  assert.match(first.privateKeyPem, /BEGIN PRIVATE KEY/);
});

for (const [random, share] of [
  [0, 0.4],
  [0.5, 0.5],
  [1, 0.6],
] as const) {
  test(`with ${random} for luck it is renewed, with a new key, at ${share} of its life`, async () => {
    const clock = new VirtualClock();
    const { taken } = keep(clock, meshCa(clock).requester(URI, DAY_MS), random);
    await clock.advance(DAY_MS * share - 1_000);
    assert.equal(taken.length, 1);
    await clock.advance(2_000);
    assert.equal(taken.length, 2);
    assert.notEqual(taken[0]?.privateKeyPem, taken[1]?.privateKeyPem);
    assert.equal(taken[1]?.version, 2);
  });
}

test('a certificate that outlives timers is renewed after as long as one reaches', async () => {
  const clock = new VirtualClock();
  const { identity } = keep(clock, meshCa(clock).requester(URI, 365 * DAY_MS));
  await settle();
  assert.equal(identity.renewalAtMs(), clock.wallMs() + renewalDelayMaxMs);
});

test('while the CA is away it is asked again, ever more slowly, and the old certificate stays', async () => {
  const clock = new VirtualClock();
  const ca = meshCa(clock).requester(URI, DAY_MS);
  const asked: number[] = [];
  let away = false;
  const { identity, taken } = keep(
    clock,
    (csr) => {
      asked.push(clock.now());
      return away ? Promise.reject(new HeddleError('ca-unavailable', 'away')) : ca(csr);
    },
    1,
  );
  await settle();
  away = true;
  await clock.advance(0.6 * DAY_MS + 120_000);
  const waits = asked.slice(1).map((at, index) => at - (asked[index] ?? 0));
  assert.deepEqual(waits.slice(1, 6), [500, 1_000, 2_000, 4_000, 8_000]);
  assert.equal(Math.max(...waits.slice(1)), RENEWAL_BACKOFF.maxMs);
  assert.equal(taken.length, 1);
  assert.equal(identity.current(), taken[0]);
  away = false;
  await clock.advance(RENEWAL_BACKOFF.maxMs);
  assert.equal(taken.length, 2);
});

test('the first certificate is asked for again after moments, and ever more rarely', async () => {
  const clock = new VirtualClock();
  const asked: number[] = [];
  const { identity } = keep(
    clock,
    () => {
      asked.push(clock.now());
      return Promise.reject(new HeddleError('ca-unavailable', 'away'));
    },
    1,
  );
  await clock.advance(120_000);
  const waits = asked.slice(1).map((at, index) => at - (asked[index] ?? 0));
  assert.deepEqual(waits.slice(0, 5), [50, 100, 200, 400, 800]);
  assert.equal(Math.max(...waits), FIRST_BACKOFF.maxMs);
  assert.equal(identity.current(), undefined);
});

test('a certificate for somebody else, or none that can be read, is not taken', async () => {
  const clock = new VirtualClock();
  const other = 'spiffe://cluster.local/ns/shop/sa/other';
  const { makeKeyAndRequest } = await import('./csr.ts');
  const stolen = await meshCa(clock).requester(other, DAY_MS)(makeKeyAndRequest(other).csrPem);
  const answers = [stolen, { certificateChainPem: 'nonsense', rootsPem: '' }];
  const { identity } = keep(clock, async () => answers.shift() ?? stolen);
  await clock.advance(10_000);
  assert.equal(identity.current(), undefined);
  assert.equal(answers.length, 0);
});

test('a certificate for another key than the one asked about is not taken', async () => {
  const clock = new VirtualClock();
  const { makeKeyAndRequest } = await import('./csr.ts');
  const ca = meshCa(clock).requester(URI, DAY_MS);
  const answers = [await ca(makeKeyAndRequest(URI).csrPem)];
  const { identity, taken } = keep(clock, async (csr) => answers.shift() ?? ca(csr), 1);
  await settle();
  assert.equal(identity.current(), undefined);
  await clock.advance(RENEWAL_BACKOFF.baseMs);
  assert.equal(taken.length, 1);
});

test('however short its life, a certificate is not renewed without pause', async () => {
  const clock = new VirtualClock();
  const { taken } = keep(clock, meshCa(clock).requester(URI, 1_000), 0);
  await clock.advance(10_000);
  assert.ok(taken.length > 1 && taken.length <= 10_000 / renewalDelayMinMs + 1, `${taken.length} renewals`);
});

test('an expired certificate is not taken', async () => {
  const clock = new VirtualClock();
  const late = new VirtualClock(clock.wallMs() + 2 * DAY_MS);
  const { identity } = keep(late, meshCa(clock).requester(URI, DAY_MS));
  await late.advance(5_000);
  assert.equal(identity.current(), undefined);
});

test('roots that the control plane streams take the place of those that came with the certificate', async () => {
  const clock = new VirtualClock();
  const ca = meshCa(clock);
  const { identity, taken } = keep(clock, ca.requester(URI, DAY_MS));
  await settle();
  assert.equal(identity.current()?.trustBundlePem, ca.rootPem);
  identity.trust('streamed');
  identity.trust('streamed');
  assert.deepEqual([taken.length, identity.current()?.trustBundlePem], [2, 'streamed']);
  await clock.advance(DAY_MS);
  assert.equal(identity.current()?.trustBundlePem, 'streamed', 'also after a renewal');
});

test('once closed, an answer that is under way changes nothing', async () => {
  const clock = new VirtualClock();
  const { identity, taken } = keep(clock, meshCa(clock).requester(URI, HOUR_MS));
  identity.close();
  await clock.advance(DAY_MS);
  assert.deepEqual(taken, []);
  assert.equal(clock.pendingTimers(), 0);
});
