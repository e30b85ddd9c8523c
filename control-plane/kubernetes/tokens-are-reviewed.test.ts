import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeddleError } from '../../common/errors.ts';
import type { KubeObject } from '../../model/objects.ts';
import { FakeClusterApi } from '../../test/support/fake-cluster-api.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import { tokenBytesMax } from '../ca/token.ts';
import {
  reviewKeptMs,
  reviewsInFlightMax,
  reviewsKeptMax,
  tokenReviewAuthenticator,
} from './token-review.ts';

leakCheck();

const POD = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: 'shop', name: 'web-1', uid: 'u1' },
  spec: { serviceAccountName: 'web' },
  status: { phase: 'Running' },
};
const USER = {
  username: 'system:serviceaccount:shop:web',
  groups: ['system:serviceaccounts', 'system:serviceaccounts:shop', 'system:authenticated'],
  extra: {
    'authentication.kubernetes.io/pod-name': ['web-1'],
    'authentication.kubernetes.io/pod-uid': ['u1'],
  },
};
const GOOD = { authenticated: true, audiences: ['heddle-ca'], user: USER };

function setUp(status: object = GOOD, watched: readonly object[] = [POD]) {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  api.answer = (review) => ({ ...review, status }) as KubeObject;
  const pods = [...watched] as KubeObject[];
  const tokens = tokenReviewAuthenticator({
    ...{ api, clock },
    pod: (namespace, name) =>
      pods.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name),
  });
  const verdict = async (token = 'secret') => {
    const result = await tokens.authenticate(token);
    return result.ok ? result.value : `${result.error.code}: ${result.error.message}`;
  };
  return { api, clock, pods, verdict };
}

test("a token's identity is what the API server says, for the CA's audience", async () => {
  const { api, verdict } = setUp();
  assert.deepEqual(await verdict(), { namespace: 'shop', serviceAccount: 'web', pod: 'web-1' });
  assert.deepEqual(api.calls, [
    {
      verb: 'create',
      object: 'TokenReview ',
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        metadata: {},
        spec: { token: 'secret', audiences: ['heddle-ca'] },
      },
    },
  ]);
});

const { 'authentication.kubernetes.io/pod-uid': _uid, ...withoutUid } = USER.extra;
const REFUSED: readonly (readonly [string, object, RegExp])[] = [
  ['no answer at all', {}, /does not accept/],
  ['not authenticated', { authenticated: false, error: 'bad secret' }, /does not accept the token: bad …/],
  ['authenticated by a word', { ...GOOD, authenticated: 'true' }, /does not accept/],
  ['no audiences', { ...GOOD, audiences: undefined }, /audience must be heddle-ca/],
  ['another audience', { ...GOOD, audiences: ['https://kubernetes'] }, /audience must be heddle-ca/],
  ['a person', { ...GOOD, user: { ...USER, username: 'admin' } }, /not a service account/],
  [
    'a name of an account from elsewhere',
    { ...GOOD, user: { ...USER, groups: ['oidc:staff'] } },
    /not a service account/,
  ],
  [
    'a name that makes no SPIFFE ID',
    { ...GOOD, user: { ...USER, username: 'system:serviceaccount:shop:we/b' } },
    /not a service account/,
  ],
  ['no pod', { ...GOOD, user: { ...USER, extra: {} } }, /not bound to a pod/],
  ['a pod without a uid', { ...GOOD, user: { ...USER, extra: withoutUid } }, /not bound to a pod/],
];
for (const [what, status, message] of REFUSED) {
  test(`refused: ${what}`, async () => {
    const { verdict } = setUp(status);
    const said = await verdict();
    assert.match(String(said), /^bad-token: /);
    assert.match(String(said), message);
    assert.doesNotMatch(String(said), /secret/, 'the token is never quoted');
  });
}

const PODS: readonly (readonly [string, object | undefined, RegExp])[] = [
  ['gone', undefined, /pod shop\/web-1 is gone/],
  ['another of that name', { ...POD, metadata: { ...POD.metadata, uid: 'u2' } }, /earlier pod shop\/web-1/],
  [
    'of another account',
    { ...POD, spec: { serviceAccountName: 'db' } },
    /does not run as service account web/,
  ],
  ['of the default account', { ...POD, spec: {} }, /does not run as service account web/],
  ['done', { ...POD, status: { phase: 'Succeeded' } }, /has finished/],
  ['failed', { ...POD, status: { phase: 'Failed' } }, /has finished/],
];
for (const [what, pod, message] of PODS) {
  test(`refused: the token's pod is ${what}`, async () => {
    const { api, verdict } = setUp(GOOD, []);
    if (pod !== undefined) api.put(pod as KubeObject);
    assert.match(String(await verdict()), message);
  });
}

test('a pod that the watch does not know yet is looked up', async () => {
  const { api, verdict } = setUp(GOOD, []);
  api.put(POD);
  assert.deepEqual(await verdict(), { namespace: 'shop', serviceAccount: 'web', pod: 'web-1' });
  assert.deepEqual(
    api.calls.map(({ verb, object }) => `${verb} ${object}`),
    ['create TokenReview ', 'get Pod shop/web-1'],
  );
});

test('one pod after another of the same name is told by its uid', async () => {
  const { api, pods, verdict } = setUp();
  api.put({ ...POD, metadata: { ...POD.metadata, uid: 'u1' } });
  pods[0] = { ...POD, metadata: { ...POD.metadata, uid: 'u0' } } as KubeObject;
  assert.deepEqual(await verdict(), { namespace: 'shop', serviceAccount: 'web', pod: 'web-1' });
});

test('an answer is used again for seconds, good or bad, but the pod is looked at each time', async () => {
  const { api, clock, pods, verdict } = setUp();
  await verdict();
  await verdict();
  assert.equal(api.calls.length, 1);
  pods.length = 0;
  assert.match(String(await verdict()), /is gone/);
  assert.equal(api.writes().length, 1);
  await clock.advance(reviewKeptMs);
  await verdict();
  assert.equal(api.writes().length, 2);
  await verdict('another');
  assert.equal(api.writes().length, 3);
});

test('callers with one token at one time share a question', async () => {
  const { api, verdict } = setUp();
  await Promise.all([verdict(), verdict(), verdict()]);
  assert.equal(api.writes().length, 1);
});

test('an API server that can not be asked says nothing against the token, and is asked again at once', async () => {
  const { api, verdict } = setUp();
  api.before = () => {
    throw new HeddleError('kubernetes-unreachable', 'connect ECONNREFUSED, body: secret');
  };
  assert.equal(
    await verdict(),
    'token-unchecked: the token could not be checked, ask again: TokenReview: unavailable',
  );
  api.before = () => undefined;
  assert.deepEqual(await verdict(), { namespace: 'shop', serviceAccount: 'web', pod: 'web-1' });
});

test('a pod that can not be looked up says nothing against the token', async () => {
  const { api, verdict } = setUp(GOOD, []);
  api.before = ({ verb }) => {
    if (verb === 'get') throw new HeddleError('kubernetes-unreachable', 'away');
  };
  assert.match(String(await verdict()), /^token-unchecked: .*pod shop\/web-1 could not be looked up: away/);
});

test('no more questions at a time than the API server is asked to bear', async () => {
  const { api, verdict } = setUp();
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  api.before = () => gate;
  const first = Array.from({ length: reviewsInFlightMax }, (_, index) => verdict(`t${index}`));
  await settle();
  assert.match(String(await verdict('one more')), /^token-unchecked: .* are being checked already/);
  release();
  for (const one of await Promise.all(first)) assert.equal(typeof one, 'object');
  assert.equal(typeof (await verdict('one more')), 'object');
});

test('a huge token is refused unasked', async () => {
  const { api, verdict } = setUp();
  assert.match(String(await verdict('x'.repeat(tokenBytesMax + 1))), /^bad-token: .*larger than/);
  assert.equal(api.calls.length, 0);
});

test('answers that are kept are bounded: the oldest is asked anew', async () => {
  const { api, verdict } = setUp();
  for (let index = 0; index <= reviewsKeptMax; index++) await verdict(`t${index}`);
  const asked = api.writes().length;
  await verdict(`t${reviewsKeptMax}`);
  assert.equal(api.writes().length, asked);
  await verdict('t0');
  assert.equal(api.writes().length, asked + 1);
});
