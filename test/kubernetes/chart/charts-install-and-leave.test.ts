import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { at, listAt, objectAt, textAt } from '../../../cli/kube/fields.ts';
import type { JsonObject } from '../../../common/json.ts';
import { hasReason } from '../../../sources/kubernetes/errors.ts';
import { KINDS, type KubeKind } from '../../../sources/kubernetes/kinds.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type AdmissionCluster, admissionCluster } from '../support/admission-cluster.ts';
import { CHART, helm } from './helm.ts';

leakCheck();

const NAMESPACE = 'heddle-system';
const SUBJECT_ACCESS_REVIEW: KubeKind = {
  ...{ apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', plural: 'subjectaccessreviews' },
  namespaced: false,
};
const BUNDLE = Buffer.from('-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n').toString(
  'base64',
);

let cluster: AdmissionCluster;
before(async () => {
  cluster = await admissionCluster();
  await cluster.namespace(NAMESPACE, { 'pod-security.kubernetes.io/enforce': 'privileged' });
  // Of other tests with the same API server.
  for (const name of ['heddle-injector', 'heddle-injector-r2']) await removed(KINDS.mutatingWebhook, name);
  install('heddle', 'install');
});
after(async () => {
  for (const release of ['heddle-r2', 'heddle'])
    helm('uninstall', release, '--namespace', NAMESPACE, '--ignore-not-found', ...access());
  const kept: readonly (readonly [KubeKind, string, string?])[] = [
    ...[
      [KINDS.daemonSet, 'heddle-cni', NAMESPACE] as const,
      [KINDS.service, 'kube-dns', 'kube-system'] as const,
    ],
    [KINDS.serviceAccount, 'heddle-cni', NAMESPACE],
    ...['clusterroles', 'clusterrolebindings'].map((plural) => [rbac(plural), 'heddle-cni'] as const),
  ];
  for (const [kind, name, namespace] of kept) await removed(kind, name, namespace);
  cluster?.close();
});

function rbac(plural: string): KubeKind {
  const kind = plural === 'clusterroles' ? 'ClusterRole' : 'ClusterRoleBinding';
  return { apiVersion: 'rbac.authorization.k8s.io/v1', kind, plural, namespaced: false };
}

function access(): readonly string[] {
  return ['--kubeconfig', cluster.kubeconfig];
}

function install(release: string, verb: 'install' | 'upgrade', ...more: readonly string[]): string {
  return helm(verb, release, CHART, '--namespace', NAMESPACE, ...access(), ...more);
}

async function removed(kind: KubeKind, name: string, namespace?: string): Promise<void> {
  await cluster.client.delete(kind, { namespace, name }).catch((thrown: unknown) => {
    if (!hasReason(thrown, 'NotFound')) throw thrown;
  });
}

async function webhooks(name = 'heddle-injector') {
  return listAt(await cluster.client.get(KINDS.mutatingWebhook, { name }), 'webhooks');
}

async function bundles(): Promise<readonly (string | undefined)[]> {
  return (await webhooks()).map((webhook) => textAt(webhook, 'clientConfig', 'caBundle'));
}

test('upgrades leave the bundle that the control plane keeps in the webhook', async () => {
  assert.deepEqual(new Set(await bundles()), new Set([undefined]));
  const body = (await webhooks()).map((_, index): JsonObject => {
    return { op: 'add', path: `/webhooks/${index}/clientConfig/caBundle`, value: BUNDLE };
  });
  await cluster.client.patch(KINDS.mutatingWebhook, { name: 'heddle-injector' }, { type: 'json', body });
  for (const more of [
    ['--set', 'injector.replicas=3'],
    ['--set', 'injector.replicas=4', '--server-side=false'],
    ['--server-side=true'],
  ]) {
    install('heddle', 'upgrade', ...more);
    assert.deepEqual(new Set(await bundles()), new Set([BUNDLE]), more.join(' '));
  }
});

test('the pods of control plane and injector keep to the restricted Pod Security level', async () => {
  await cluster.namespace('restricted', { 'pod-security.kubernetes.io/enforce': 'restricted' });
  for (const name of ['heddle-control-plane', 'heddle-injector']) {
    const { template } = objectAt(
      await cluster.client.get(KINDS.deployment, { namespace: NAMESPACE, name }),
      'spec',
    );
    const spec = {
      ...objectAt(template, 'spec'),
      serviceAccountName: 'default',
      priorityClassName: undefined,
    };
    const metadata = { name, namespace: 'restricted' };
    const answer = await cluster.tried(KINDS.pod, { apiVersion: 'v1', kind: 'Pod', metadata, spec });
    assert.ok(typeof answer !== 'string', String(answer));
  }
});

/** Who, may he, and what: verb, resource, namespace, name. */
const RIGHTS: readonly (readonly [string, boolean, string])[] = [
  ['heddle-control-plane', true, 'list pods'],
  ['heddle-control-plane', true, 'watch gateway.networking.k8s.io/httproutes'],
  ['heddle-control-plane', true, 'patch heddle.dev/trafficpolicies/status shop'],
  ['heddle-control-plane', true, 'create authentication.k8s.io/tokenreviews'],
  ['heddle-control-plane', true, 'patch configmaps shop heddle-trust-bundle'],
  ['heddle-control-plane', true, 'get secrets heddle-system heddle-ca'],
  [
    'heddle-control-plane',
    true,
    'patch admissionregistration.k8s.io/mutatingwebhookconfigurations - heddle-injector',
  ],
  ['heddle-control-plane', false, 'get secrets heddle-system other'],
  ['heddle-control-plane', false, 'list secrets heddle-system'],
  ['heddle-control-plane', false, 'get secrets shop heddle-ca'],
  ['heddle-control-plane', false, 'patch configmaps shop other'],
  ['heddle-control-plane', false, 'patch pods shop'],
  ['heddle-control-plane', false, 'create apps/deployments shop'],
  ['heddle-control-plane', false, 'patch admissionregistration.k8s.io/mutatingwebhookconfigurations - other'],
  ['heddle-cni', true, 'watch networking.k8s.io/networkpolicies'],
  ['heddle-cni', true, 'list nodes'],
  ['heddle-cni', false, 'get secrets heddle-system heddle-ca'],
  ['heddle-cni', false, 'patch pods shop'],
  ['heddle-cni', false, 'patch nodes'],
  ['heddle-injector', false, 'get namespaces - shop'],
  ['heddle-injector', false, 'list pods shop'],
];
for (const [account, allowed, what] of RIGHTS) {
  test(`${account} ${allowed ? 'may' : 'may not'} ${what}`, async () => {
    const [verb = '', path = '', namespace = '-', name = ''] = what.split(' ');
    const parts = path.split('/');
    const group = path.includes('.') || parts[0] === 'apps' ? (parts.shift() ?? '') : '';
    const [resource = '', subresource = ''] = parts;
    const place = { namespace: namespace === '-' ? '' : namespace, name };
    const answer = await cluster.client.create(SUBJECT_ACCESS_REVIEW, {
      ...{ apiVersion: SUBJECT_ACCESS_REVIEW.apiVersion, kind: SUBJECT_ACCESS_REVIEW.kind, metadata: {} },
      spec: {
        user: `system:serviceaccount:${NAMESPACE}:${account}`,
        resourceAttributes: { verb, group, resource, subresource, ...place },
      },
    });
    assert.equal(at(answer.status as JsonObject, 'allowed'), allowed);
  });
}

test('a revision is installed beside the default one, and leaves it alone when it goes', async () => {
  const before = await cluster.client.get(KINDS.deployment, {
    namespace: NAMESPACE,
    name: 'heddle-injector',
  });
  const notes = install('heddle-r2', 'install', '--set', 'revision=r2');
  assert.match(notes, /heddle\.dev\/rev=r2/);
  assert.equal((await webhooks('heddle-injector-r2')).length, 4);
  helm('uninstall', 'heddle-r2', '--namespace', NAMESPACE, ...access());
  await assert.rejects(webhooks('heddle-injector-r2'), (thrown) => hasReason(thrown, 'NotFound'));
  const now = await cluster.client.get(KINDS.deployment, { namespace: NAMESPACE, name: 'heddle-injector' });
  assert.equal(now.metadata.uid, before.metadata.uid);
  assert.equal((await webhooks()).length, 6);
});

test('after uninstalling no webhook is in the way, and the network, the kinds and what is made of them stay', async () => {
  const policy = {
    ...{ apiVersion: 'heddle.dev/v1alpha1', kind: 'MTLSPolicy' },
    ...{ metadata: { name: 'kept', namespace: NAMESPACE }, spec: { mode: 'STRICT' } },
  };
  await cluster.ensure(KINDS.mtlsPolicy, policy);
  helm('uninstall', 'heddle', '--namespace', NAMESPACE, ...access());
  await assert.rejects(webhooks(), (thrown) => hasReason(thrown, 'NotFound'));
  const cni = await cluster.client.get(KINDS.daemonSet, { namespace: NAMESPACE, name: 'heddle-cni' });
  await cluster.client.get(KINDS.service, { namespace: 'kube-system', name: 'kube-dns' });
  await cluster.client.get(KINDS.mtlsPolicy, { namespace: NAMESPACE, name: 'kept' });
  install('heddle', 'install');
  const taken = await cluster.client.get(KINDS.daemonSet, { namespace: NAMESPACE, name: 'heddle-cni' });
  assert.equal(taken.metadata.uid, cni.metadata.uid, 'another installation takes over what stayed');
  await removed(KINDS.mtlsPolicy, 'kept', NAMESPACE);
});
