import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../common/json.ts';
import type { Workload } from '../../model/mesh.ts';
import type { KubeObject } from '../../model/objects.ts';
import { FakeClusterApi } from '../../test/support/fake-cluster-api.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { planTrustBundles } from './trust-bundles.ts';
import { planWebhookBundles } from './webhook-bundle.ts';

leakCheck();

const OWN = { 'app.kubernetes.io/managed-by': 'heddle-control-plane' };

function namespace(name: string, labels: Record<string, string> = {}, more: JsonObject = {}): JsonObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels }, ...more };
}

function configMap(ns: string, data: JsonObject, labels: Record<string, string> = OWN): JsonObject {
  const metadata = { namespace: ns, name: 'heddle-trust-bundle', labels };
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata, data };
}

/** Plans against what the API server has, and does all of it. */
function setUp(namespaces: readonly JsonObject[], meshed: readonly string[] = []) {
  const api = new FakeClusterApi();
  const workloads = meshed.map((ns) => ({ namespace: ns, meshed: true })) as unknown as Workload[];
  const plan = (bundlePem = 'PEM') =>
    planTrustBundles(
      {
        ...{ namespaces: namespaces as unknown as KubeObject[], workloads, bundlePem },
        configMaps: [...api.objects.values()].filter(({ kind }) => kind === 'ConfigMap'),
        systemNamespace: 'heddle-system',
      },
      api,
    );
  const carryOut = async (bundlePem?: string) => {
    for (const work of plan(bundlePem).works) await work.run();
  };
  const bundleIn = (ns: string) => api.find('ConfigMap', ns, 'heddle-trust-bundle')?.data;
  return { api, plan, carryOut, bundleIn };
}

test('the bundle is where sidecars are or may come, and nowhere else', async () => {
  const { carryOut, bundleIn, plan } = setUp(
    [
      namespace('heddle-system'),
      namespace('shop', { 'heddle.dev/inject': 'enabled' }),
      namespace('canary', { 'heddle.dev/rev': 'r2' }),
      namespace('off', { 'heddle.dev/inject': 'disabled' }),
      namespace('pods-only'),
      namespace('plain'),
    ],
    ['pods-only'],
  );
  await carryOut();
  const there = ['heddle-system', 'shop', 'canary', 'off', 'pods-only', 'plain'].filter(
    (name) => bundleIn(name) !== undefined,
  );
  assert.deepEqual(there, ['heddle-system', 'shop', 'canary', 'pods-only']);
  assert.deepEqual(bundleIn('shop'), { 'root.pem': 'PEM' });
  assert.deepEqual(plan().works, []);
});

test('it follows the roots', async () => {
  const { carryOut, bundleIn, plan } = setUp([namespace('heddle-system')]);
  await carryOut();
  assert.deepEqual(plan('PEM2').behind, ['ConfigMap heddle-system/heddle-trust-bundle']);
  await carryOut('PEM2');
  assert.deepEqual(bundleIn('heddle-system'), { 'root.pem': 'PEM2' });
});

for (const [what, data] of [
  ['another root', { 'root.pem': 'theirs' }],
  ['no root', {}],
  ['a second file', { 'root.pem': 'PEM', 'more.pem': 'theirs' }],
] as const) {
  test(`edited to hold ${what}, it is mended`, async () => {
    const { api, carryOut, bundleIn } = setUp([namespace('heddle-system')]);
    api.put(configMap('heddle-system', data));
    await carryOut();
    assert.deepEqual(bundleIn('heddle-system'), { 'root.pem': 'PEM' });
  });
}

test("somebody else's ConfigMap of that name is left alone, and told of", async () => {
  const { api, carryOut, bundleIn, plan } = setUp([namespace('heddle-system')]);
  api.put(configMap('heddle-system', { a: 'b' }, {}));
  api.put(configMap('plain', { a: 'b' }, {}));
  await carryOut();
  assert.deepEqual([bundleIn('heddle-system'), bundleIn('plain')], [{ a: 'b' }, { a: 'b' }]);
  const { problems } = plan();
  assert.equal(problems.length, 1);
  assert.equal(problems[0]?.object, 'ConfigMap heddle-system/heddle-trust-bundle');
  assert.match(problems[0]?.message ?? '', /is not of Heddle and is left alone/);
});

test('one that became theirs between the plan and the write is left alone', async () => {
  const { api, bundleIn, plan } = setUp([namespace('heddle-system')]);
  api.put(configMap('heddle-system', { 'root.pem': 'old' }));
  const { works } = plan();
  api.put(configMap('heddle-system', { a: 'b' }, {}));
  for (const work of works) await work.run();
  assert.deepEqual(bundleIn('heddle-system'), { a: 'b' });
});

test('it leaves a namespace that is no longer meshed once no injected pod is there', async () => {
  const meshed = ['shop'];
  const { api, carryOut, bundleIn } = setUp([namespace('heddle-system'), namespace('shop')], meshed);
  await carryOut();
  assert.ok(bundleIn('shop') !== undefined);
  const gone = setUp([namespace('heddle-system'), namespace('shop')]);
  for (const object of api.objects.values()) gone.api.put(object);
  await gone.carryOut();
  assert.equal(gone.bundleIn('shop'), undefined);
  assert.ok(gone.bundleIn('heddle-system') !== undefined);
});

test('a namespace that is being deleted takes nothing new', () => {
  const ending = namespace('shop', { 'heddle.dev/inject': 'enabled' }, { status: { phase: 'Terminating' } });
  assert.deepEqual(
    setUp([ending])
      .plan()
      .works.map(({ key }) => key),
    [],
  );
});

const webhook = (name: string, caBundle?: string) => ({
  ...{ name, failurePolicy: 'Fail' },
  clientConfig: {
    service: { name: 'heddle-injector', namespace: 'heddle-system' },
    ...(caBundle === undefined ? {} : { caBundle }),
  },
});
const configuration = (name: string, ...webhooks: readonly JsonObject[]): JsonObject => ({
  ...{ apiVersion: 'admissionregistration.k8s.io/v1', kind: 'MutatingWebhookConfiguration' },
  ...{ metadata: { name }, webhooks },
});

test('every webhook of every revision gets the bundle, and keeps all else', async () => {
  const api = new FakeClusterApi();
  api.put(configuration('heddle-injector', webhook('a'), webhook('b', 'Cg==')));
  api.put(configuration('heddle-injector-r2', webhook('a')));
  const plan = () => planWebhookBundles([...api.objects.values()], 'PEM', api);
  for (const work of plan()) await work.run();
  const caBundle = Buffer.from('PEM').toString('base64');
  assert.deepEqual(api.find('MutatingWebhookConfiguration', undefined, 'heddle-injector')?.webhooks, [
    webhook('a', caBundle),
    webhook('b', caBundle),
  ]);
  assert.deepEqual(plan(), []);
});

test('what somebody did to the webhooks in between is kept', async () => {
  const api = new FakeClusterApi();
  api.put(configuration('heddle-injector', webhook('a')));
  const works = planWebhookBundles([...api.objects.values()], 'PEM', api);
  api.put(configuration('heddle-injector', { ...webhook('a'), timeoutSeconds: 3 }, webhook('new')));
  for (const work of works) await work.run();
  const caBundle = Buffer.from('PEM').toString('base64');
  assert.deepEqual(api.find('MutatingWebhookConfiguration', undefined, 'heddle-injector')?.webhooks, [
    { ...webhook('a', caBundle), timeoutSeconds: 3 },
    webhook('new', caBundle),
  ]);
});
