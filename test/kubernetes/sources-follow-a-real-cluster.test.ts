import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { systemClock } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import { silentLogger } from '../../common/log.ts';
import { seededRandom } from '../../common/random.ts';
import { type KubeObject, namespacedName } from '../../model/objects.ts';
import { connectKubernetes, type KubernetesClient, orMissing } from '../../sources/kubernetes/client.ts';
import { hasReason } from '../../sources/kubernetes/errors.ts';
import { KINDS, type KubeKind } from '../../sources/kubernetes/kinds.ts';
import { LIST_PAGE_OBJECTS } from '../../sources/kubernetes/limits.ts';
import { watchClusterSettings } from '../../sources/kubernetes/settings.ts';
import { trimObject } from '../../sources/kubernetes/trim.ts';
import { type ClusterSource, watchCluster } from '../../sources/kubernetes/watch.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { KubernetesCluster } from './support/cluster.ts';

leakCheck();

const { configMap, service, serviceAccount, trafficPolicy } = KINDS;
const NAMESPACE = 'default';
const SEED = 20_261;
const CRD = new URL('../../charts/heddle/crds/trafficpolicies.yaml', import.meta.url);
/** After the API server began again, which takes it some seconds itself. */
const FOLLOWED_MS = 90_000;

let cluster: KubernetesCluster;
let client: KubernetesClient;
let source: ClusterSource | undefined;

before(async () => {
  cluster = await KubernetesCluster.start({ nodes: 0 });
  client = await connectKubernetes({ kubeconfig: cluster.kubeconfig, context: undefined });
});
KubernetesCluster.logsAfterFailures(() => cluster);
afterEach(() => {
  source?.close();
  source = undefined;
});
after(async () => {
  client?.close();
  await cluster?.stop();
});

function follow(...kinds: readonly KubeKind[]): ClusterSource {
  source = watchCluster({
    ...{ client, clock: systemClock, log: silentLogger, onChange: () => undefined },
    kinds: kinds.map((kind) => ({ kind })),
  });
  return source;
}

const keyOf = (object: KubeObject) => `${object.kind} ${namespacedName(object)}`;
const sorted = (objects: readonly KubeObject[]) => objects.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));

async function listed(...kinds: readonly KubeKind[]): Promise<readonly KubeObject[]> {
  const lists = await Promise.all(kinds.map((kind) => client.list(kind)));
  return sorted(lists.flatMap(({ items }) => items).map(trimObject));
}

async function becomesWhatListsSay(followed: ClusterSource, ...kinds: readonly KubeKind[]): Promise<void> {
  const held = () => sorted(followed.current().objects.map(({ object }) => object));
  const deadline = { deadlineMs: FOLLOWED_MS, what: 'the state is that of lists' };
  const isSame = async () => {
    const wanted = await listed(...kinds).catch(() => undefined);
    return wanted !== undefined && isDeepStrictEqual(held(), wanted);
  };
  await eventually(isSame, deadline).catch(async (late: unknown) => {
    assert.deepEqual(held(), await listed(...kinds));
    throw late;
  });
}

function config(name: string, value: string) {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: NAMESPACE, name }, data: { value } };
}

/** Creates, changes and deletes, as often as `count` says, whether the server hears it or not. */
async function churn(count: number, seed: number): Promise<void> {
  const random = seededRandom(seed);
  const patience = { timeoutMs: 1_000 };
  for (let index = 0; index < count; index++) {
    const name = `churned-${Math.floor(random.next() * 12)}`;
    const ref = { namespace: NAMESPACE, name };
    const draw = random.next();
    const write =
      draw < 0.3
        ? client.delete(configMap, ref, patience)
        : client.patch(
            configMap,
            ref,
            {
              ...{ type: 'apply', fieldManager: draw < 0.6 ? 'one' : 'other', force: true },
              body: config(name, draw < 0.8 ? String(index) : 'as before'),
            },
            patience,
          );
    await write.catch(() => undefined);
  }
}

test('many objects come in pages, and changes after them', async () => {
  for (let start = 0; start < LIST_PAGE_OBJECTS + 50; start += 50)
    await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        client.create(configMap, config(`page-${start + index}`, 'x')),
      ),
    );
  const followed = follow(configMap, service, serviceAccount);
  await followed.synced;
  assert.ok(followed.current().objects.length > LIST_PAGE_OBJECTS);
  await churn(100, SEED);
  await becomesWhatListsSay(followed, configMap, service, serviceAccount);
});

test('an API server that is killed, kept down and started again changes nothing but what changed', async () => {
  const followed = follow(configMap, service);
  await followed.synced;
  await churn(20, SEED + 1);
  const { first } = cluster.layout;
  const isUp = () =>
    client.read('/readyz?verbose', { timeoutMs: 2_000 }).then(
      () => true,
      (thrown: unknown) => thrown instanceof HeddleError && thrown.code === 'kubernetes-answer',
    );
  const returns = () => eventually(isUp, { deadlineMs: FOLLOWED_MS, what: 'the API server is ready' });
  await cluster.endProgram(first, 'kube-apiserver');
  await churn(15, SEED + 2);
  await returns();
  const before = followed.current().objects.length;
  await cluster.holdProgram(first, 'kube-apiserver');
  await eventually(() => followed.current().problems.length > 0, {
    deadlineMs: FOLLOWED_MS,
    what: 'the loss is told',
  });
  assert.ok(Math.abs(followed.current().objects.length - before) <= 12, 'what was known is still known');
  cluster.letProgramGo(first, 'kube-apiserver');
  await returns();
  await churn(40, SEED + 3);
  await becomesWhatListsSay(followed, configMap, service);
  await eventually(() => followed.current().problems.length === 0, {
    deadlineMs: FOLLOWED_MS,
    what: 'nothing is said against the API server',
  });
});

test('a version that the API server forgot is refused, and one that is still to come is met with silence', async () => {
  const watch = async (resourceVersion: string) => {
    for await (const events of client.watch(configMap, { resourceVersion, lastsMs: 3_000 }))
      for (const { type, object } of events)
        return { type, code: 'code' in object ? object.code : undefined };
    return undefined;
  };
  // It has begun again since, and knows nothing of what was before.
  assert.deepEqual(await watch('1'), { type: 'ERROR', code: 410 });
  const toCome = watch('9000000000');
  await client.patch(
    configMap,
    { namespace: NAMESPACE, name: 'unseen' },
    { type: 'apply', fieldManager: 'test', body: config('unseen', 'x') },
  );
  assert.equal(await toCome, undefined);
});

test('a kind is followed once its definition is installed, and gone when that is deleted', async () => {
  const followed = follow(service, trafficPolicy);
  await followed.synced;
  assert.deepEqual(
    followed.kinds().map(({ condition }) => condition),
    ['listed', 'absent'],
  );
  await cluster.apply(readFileSync(CRD, 'utf8'));
  const policy = {
    ...{
      apiVersion: 'heddle.dev/v1alpha1',
      kind: 'TrafficPolicy',
      metadata: { namespace: NAMESPACE, name: 'p' },
    },
    spec: { targetRefs: [{ group: '', kind: 'Service', name: 'kubernetes' }], timeouts: { request: '1s' } },
  };
  const create = () =>
    client.create(trafficPolicy, policy).then(
      () => true,
      () => false,
    );
  await eventually(create, { deadlineMs: FOLLOWED_MS, what: 'the policy is created' });
  await becomesWhatListsSay(followed, service, trafficPolicy);
  assert.equal(followed.kinds()[1]?.objects, 1);
  await cluster.kubectl(['delete', 'crd', 'trafficpolicies.heddle.dev']);
  await eventually(() => followed.kinds()[1]?.condition === 'absent', {
    deadlineMs: FOLLOWED_MS,
    what: 'the kind is gone',
  });
  assert.equal(followed.kinds()[1]?.objects, 0);
});

test('settings come from their ConfigMap, with their last good values', async () => {
  const settings = await watchClusterSettings({
    ...{ client, namespace: NAMESPACE, clock: systemClock, log: silentLogger, onChange: () => undefined },
  });
  const set = (text: string) =>
    client.patch(
      configMap,
      { namespace: NAMESPACE, name: 'heddle' },
      {
        ...{ type: 'apply', fieldManager: 'test' },
        body: { ...config('heddle', ''), data: { 'mesh.yaml': text } },
      },
    );
  const tells = (problems: number) =>
    eventually(() => settings.current().problems.length === problems, {
      ...{ deadlineMs: 10_000, what: `${problems} problems are told` },
    });
  assert.match(settings.current().problems[0]?.message ?? '', /ConfigMap is missing/);
  await set('mtls: {mode: STRICT}\n');
  await tells(0);
  assert.equal(settings.current().settings.mtlsMode, 'STRICT');
  await set('mtls: {mode: LOOSE}\n');
  await tells(1);
  assert.equal(settings.current().settings.mtlsMode, 'STRICT');
  await client.delete(configMap, { namespace: NAMESPACE, name: 'heddle' });
  await tells(1);
  assert.equal(settings.current().settings.mtlsMode, 'STRICT');
  settings.close();
});

test('writes meet the answers that callers tell apart', async () => {
  const ref = { namespace: NAMESPACE, name: 'written' };
  const made = await client.create(configMap, config('written', '1'));
  await assert.rejects(client.create(configMap, config('written', '1')), (thrown) =>
    hasReason(thrown, 'AlreadyExists'),
  );
  const changed = await client.replace(configMap, { ...made, data: { value: '2' } });
  await assert.rejects(client.replace(configMap, made), (thrown) => hasReason(thrown, 'Conflict'));
  await assert.rejects(
    client.patch(configMap, ref, { type: 'json', body: [{ op: 'test', path: '/data/value', value: '1' }] }),
    (thrown) => hasReason(thrown, 'Invalid'),
  );
  await client.patch(configMap, ref, { type: 'merge', body: { data: { value: null, more: 'x' } } });
  assert.deepEqual((await client.get(configMap, ref)).data, { more: 'x' });
  const { uid = '' } = changed.metadata;
  await assert.rejects(client.delete(configMap, ref, { preconditions: { uid: `${uid}x` } }), (thrown) =>
    hasReason(thrown, 'Conflict'),
  );
  await client.delete(configMap, ref, { preconditions: { uid } });
  assert.equal(await orMissing(client.get(configMap, ref)), undefined);
});
