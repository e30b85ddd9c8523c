import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeddleError } from '../../common/errors.ts';
import type { JsonObject } from '../../common/json.ts';
import { jsonLogger } from '../../common/log.ts';
import type { KubeObject } from '../../model/objects.ts';
import { p256 } from '../../test/support/certificate-requests.ts';
import { FakeClusterApi, refusal } from '../../test/support/fake-cluster-api.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import {
  changeableAuthority,
  createAuthority,
  makeRoot,
  normalPem,
  type RootMaterial,
} from '../ca/authority.ts';
import { followRootSecret, rootLookMs } from './root-follower.ts';
import {
  base64,
  besidesOf,
  loadOrMakeRootSecret,
  PREVIOUS_UNTIL,
  readRootSecret,
  rootRetryMs,
} from './root-secret.ts';
import { previousRootMinMs, rootSpreadMs } from './rotation.ts';
import { RotationDuty } from './rotation-duty.ts';

leakCheck();

const DAY_MS = 24 * 3_600_000;
const REF = { namespace: 'heddle-system', name: 'heddle-ca' };

function setUp() {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  const logged: string[] = [];
  const log = jsonLogger(clock, (line) => logged.push(line), 'debug');
  const load = () =>
    loadOrMakeRootSecret({
      ...{ api, clock, log, ref: REF },
      ...{ trustDomain: 'cluster.local', rootTtlMs: 3_650 * DAY_MS },
    });
  const newRoot = (ttlMs = 3_650 * DAY_MS) => makeRoot('cluster.local', ttlMs, clock);
  const secret = () => api.find('Secret', REF.namespace, REF.name);
  return { api, clock, log, logged, load, newRoot, secret };
}

function put(api: FakeClusterApi, data: Readonly<Record<string, string>>, metadata: JsonObject = {}): void {
  const encoded = Object.fromEntries(Object.entries(data).map(([key, text]) => [key, base64(text)]));
  api.put({ apiVersion: 'v1', kind: 'Secret', metadata: { ...REF, ...metadata }, data: encoded });
}

const pair = (root: RootMaterial, prefix = 'tls') => ({
  [`${prefix}.crt`]: root.certificatePem,
  [`${prefix}.key`]: root.privateKeyPem,
});

test('where there is no root one is made, as a TLS Secret, and every later start uses it', async () => {
  const { load, secret, clock, logged } = setUp();
  const first = await load();
  assert.equal(secret()?.type, 'kubernetes.io/tls');
  assert.deepEqual(Object.keys(secret()?.data ?? {}), ['tls.crt', 'tls.key']);
  createAuthority(first.issuer, clock);
  assert.deepEqual((await load()).issuer, first.issuer);
  assert.doesNotMatch(logged.join(''), /PRIVATE KEY/);
});

test('of replicas that start together all sign by one root', async () => {
  const { api, load } = setUp();
  let looks = 0;
  // Both have seen that there is none before either makes one.
  api.before = async ({ verb, object }) => {
    if (verb === 'get' && object.startsWith('Secret')) looks++;
    while (looks < 2) await new Promise((resolve) => setImmediate(resolve));
  };
  const [a, b] = await Promise.all([load(), load()]);
  assert.deepEqual(a.issuer, b.issuer);
});

test("an operator's own root is used as it is", async () => {
  const { api, load, newRoot } = setUp();
  const own = newRoot();
  put(api, pair(own));
  assert.deepEqual((await load()).issuer, own);
  assert.deepEqual(api.writes(), []);
});

const chainOf = ({ clock, newRoot }: ReturnType<typeof setUp>): RootMaterial => {
  const { privateKey, publicKey } = p256();
  const leaf = createAuthority(newRoot(), clock).issue({ publicKey, uri: 'spiffe://a/b', ttlMs: DAY_MS });
  const privateKeyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { certificatePem: leaf.certificatePem, privateKeyPem };
};
const UNSOUND: readonly (readonly [
  string,
  (world: ReturnType<typeof setUp>) => Record<string, string>,
  RegExp,
])[] = [
  ['nothing', () => ({}), /tls.crt and tls.key are missing/],
  ['a certificate alone', ({ newRoot }) => ({ 'tls.crt': newRoot().certificatePem }), /only one of tls.crt/],
  [
    "another root's key",
    ({ newRoot }) => ({ ...pair(newRoot()), 'tls.key': newRoot().privateKeyPem }),
    /does not belong/,
  ],
  ['a root that is over', ({ newRoot }) => pair(newRoot(-DAY_MS)), /has expired/],
  ['no root', (world) => pair(chainOf(world)), /may not sign/],
  [
    'a next root that is none',
    (world) => ({ ...pair(world.newRoot()), ...pair(chainOf(world), 'next') }),
    /may not sign/,
  ],
];
for (const [what, make, message] of UNSOUND) {
  test(`refused, and not written over: a Secret with ${what}`, async () => {
    const world = setUp();
    put(world.api, make(world));
    await assert.rejects(world.load(), (thrown: HeddleError) => {
      assert.equal(thrown.code, 'bad-root');
      assert.match(thrown.message, /^the root in Secret heddle-system\/heddle-ca .* can't be used: /);
      assert.match(thrown.message, message);
      assert.doesNotMatch(thrown.message, /PRIVATE KEY/);
      return true;
    });
    assert.deepEqual(world.api.writes(), []);
  });
}

test('a root that the pods of before do not trust is refused, and what to do is said', async () => {
  const { api, load, newRoot, secret } = setUp();
  api.put({
    ...{ apiVersion: 'v1', kind: 'ConfigMap' },
    metadata: {
      ...{ namespace: 'heddle-system', name: 'heddle-trust-bundle' },
      labels: { 'app.kubernetes.io/managed-by': 'heddle-control-plane' },
    },
    data: { 'root.pem': normalPem(newRoot().certificatePem) },
  });
  put(api, pair(newRoot()));
  await assert.rejects(load(), {
    code: 'bad-root',
    message: /running pods don't trust it.*Restore the Secret/,
  });
  api.drop('ConfigMap', 'heddle-system', 'heddle-trust-bundle');
  await load();
  assert.ok(secret() !== undefined);
});

test('the API server is waited for, and a refusal of it is an end', async () => {
  const { api, clock, load } = setUp();
  api.before = () => {
    throw new HeddleError('kubernetes-unreachable', 'away');
  };
  let done = false;
  const loading = load().then((root) => {
    done = true;
    return root;
  });
  await clock.advance(60_000);
  assert.equal(done, false);
  api.before = () => undefined;
  await clock.advance(rootRetryMs);
  await loading;
  api.before = () => {
    throw refusal('Forbidden');
  };
  await assert.rejects(load(), /Forbidden/);
});

/** A running replica on its root, and the duty that takes a rotation's steps. */
async function running() {
  const world = setUp();
  const { api, clock, log, load } = world;
  const first = await load();
  const authority = changeableAuthority(first.issuer, besidesOf(first), clock);
  const root = followRootSecret({ api, ref: REF, clock, log, authority, first });
  const duty = new RotationDuty({ api, clock, log, root });
  const state = { bundleWaiting: [] as string[], objectsBehind: [] as string[] };
  const step = async () => {
    const bundlePem = authority.trustBundlePem();
    await duty.round({ peers: [], bundlePem, leafTtlMs: 3_600_000, ...state });
  };
  const first0 = normalPem(first.issuer.certificatePem);
  const patch = async (data: Record<string, string | null>) => {
    const body = {
      data: Object.fromEntries(
        Object.entries(data).map(([key, text]) => [key, text === null ? null : base64(text)]),
      ),
    };
    await api.patch({ apiVersion: 'v1', kind: 'Secret', plural: 'secrets', namespaced: true }, REF, {
      type: 'merge',
      body,
    });
    await clock.advance(rootLookMs);
  };
  return { ...world, authority, root, duty, state, step, first0, patch };
}

test('a rotation: trusted by all first, then signing, and the old root goes when its leaves are over', async () => {
  const { authority, clock, duty, first0, newRoot, patch, root, secret, state, step } = await running();
  const next = newRoot();
  const next0 = normalPem(next.certificatePem);
  await patch(pair(next, 'next'));
  assert.equal(authority.trustBundlePem(), first0 + next0);
  state.bundleWaiting = ['shop/web-1'];
  await step();
  assert.match(duty.problems()[0]?.message ?? '', /waits for 1 proxies \(shop\/web-1\) to trust it/);
  await clock.advance(rootSpreadMs);
  await step();
  state.bundleWaiting = [];
  state.objectsBehind = ['ConfigMap shop/heddle-trust-bundle'];
  await step();
  assert.match(duty.problems()[0]?.message ?? '', /waits for 1 objects \(ConfigMap shop/);
  state.objectsBehind = [];
  await step();
  assert.match(duty.problems()[0]?.message ?? '', /it signs in 150 s/);
  await clock.advance(rootSpreadMs - 1_000);
  await step();
  assert.equal(normalPem(root.current().issuer.certificatePem), first0);
  await clock.advance(1_000);
  await step();
  assert.equal(normalPem(root.current().issuer.certificatePem), next0);
  assert.equal(authority.trustBundlePem(), next0 + first0);
  assert.deepEqual(duty.problems(), []);
  assert.deepEqual(Object.keys(secret()?.data ?? {}).toSorted(), ['previous.crt', 'tls.crt', 'tls.key']);
  await clock.advance(previousRootMinMs - 1_000);
  await step();
  assert.equal(authority.trustBundlePem(), next0 + first0);
  await clock.advance(1_000);
  await step();
  assert.equal(authority.trustBundlePem(), next0);
  assert.equal(secret()?.metadata.annotations?.[PREVIOUS_UNTIL], undefined);
  root.close();
});

test('a replica that starts within a rotation goes on with it', async () => {
  const { clock, load, newRoot, patch, root, secret, first0 } = await running();
  const next = newRoot();
  await patch(pair(next, 'next'));
  const other = await load();
  assert.deepEqual(besidesOf(other), [normalPem(next.certificatePem)]);
  assert.equal(normalPem(other.issuer.certificatePem), first0);
  assert.deepEqual(readRootSecret(secret() as KubeObject, clock), other);
  root.close();
});

test('a root that is put in place of the other at once is not used, and that is said', async () => {
  const { authority, duty, first0, newRoot, patch, root, step, logged } = await running();
  await patch(pair(newRoot()));
  assert.equal(authority.trustBundlePem(), first0);
  assert.match(
    root.problems()[0]?.message ?? '',
    /nobody trusts yet; the old one is still used.*next.crt and next.key/,
  );
  assert.equal(root.problems()[0]?.object, 'Secret heddle-system/heddle-ca');
  await step();
  assert.deepEqual(duty.problems(), []);
  assert.doesNotMatch(logged.join(''), /PRIVATE KEY/);
  root.close();
});

test('put back, the old root is no problem any more', async () => {
  const { newRoot, patch, root, secret } = await running();
  const before = secret() as KubeObject;
  await patch(pair(newRoot()));
  assert.equal(root.problems().length, 1);
  const { 'tls.crt': certificate, 'tls.key': key } = before.data as Record<string, string>;
  const text = (value = '') => Buffer.from(value, 'base64').toString();
  await patch({ 'tls.crt': text(certificate), 'tls.key': text(key) });
  assert.deepEqual(root.problems(), []);
  root.close();
});

test('a Secret that goes, or can not be read any more, changes nothing but is told', async () => {
  const { api, authority, clock, first0, patch, root } = await running();
  await patch({ 'next.crt': 'rubbish', 'next.key': 'rubbish' });
  assert.match(root.problems()[0]?.message ?? '', /can't be used, those of before are/);
  api.drop('Secret', REF.namespace, REF.name);
  await clock.advance(rootLookMs);
  assert.match(root.problems()[0]?.message ?? '', /the Secret is gone: restore it/);
  assert.equal(authority.trustBundlePem(), first0);
  root.close();
  assert.equal(clock.pendingTimers(), 0);
});
