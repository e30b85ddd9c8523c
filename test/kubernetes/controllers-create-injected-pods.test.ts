import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { parse } from 'yaml';
import { listAt, textAt } from '../../cli/kube/fields.ts';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { KINDS, type KubeKind } from '../../sources/kubernetes/kinds.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { type AdmissionCluster, admissionCluster } from './support/admission-cluster.ts';
import { otherWebhook } from './support/other-webhook.ts';
import { type RunningInjector, startCa, startInjectorProcess, type WebhookCa } from './support/webhook.ts';

leakCheck();

const NAMESPACE = 'made-by-controllers';
const RESTRICTED = { 'pod-security.kubernetes.io/enforce': 'restricted' };

let cluster: AdmissionCluster;
let ca: WebhookCa;
let injector: RunningInjector;

before(async () => {
  cluster = await admissionCluster();
  ca = await startCa(cluster.address);
  injector = await startInjectorProcess(ca, cluster.address);
  await cluster.configure('default', injector.clientConfig);
  await cluster.namespace(NAMESPACE, { ...RESTRICTED, 'heddle.dev/inject': 'enabled' });
  await eventually(async () => isInjected(await tried(pod('first'))), {
    deadlineMs: 20_000,
    what: 'the API server has read the webhook configuration',
  });
});
after(async () => {
  await cluster?.client.delete(KINDS.namespace, { name: NAMESPACE });
  await injector?.stop();
  ca?.close();
  await cluster?.close();
});

const POD_SPEC = `
securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
containers:
- name: app
  image: shop
  ports: [{containerPort: 8080}]
  readinessProbe: {httpGet: {port: 8080}}
  securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`;
const spec = (more: JsonObject = {}): JsonObject => ({ ...(parse(POD_SPEC) as JsonObject), ...more });
const pod = (
  name: string,
  namespace = NAMESPACE,
  labels: JsonObject = {},
  more: JsonObject = {},
): JsonObject => ({
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels }, spec: spec(more) },
});
const tried = (object: JsonObject) => cluster.tried(KINDS.pod, object);

function isInjected(answer: JsonValue): boolean {
  return textAt(answer, 'spec', 'initContainers', 0, 'name') === 'heddle-proxy';
}

function apps(name: string, plural: string): KubeKind {
  return { apiVersion: 'apps/v1', kind: name, plural, namespaced: true };
}
const batch = (name: string, plural: string): KubeKind => ({ ...apps(name, plural), apiVersion: 'batch/v1' });

const labels = { app: 'made' };
const selector = { matchLabels: labels };
const template = (more: JsonObject = {}) => ({ metadata: { labels }, spec: spec(more) });
const job = { template: { spec: spec({ restartPolicy: 'Never' }) } };
const WORKLOADS: readonly (readonly [KubeKind, JsonObject, ownerKind: string])[] = [
  [apps('Deployment', 'deployments'), { selector, template: template() }, 'ReplicaSet'],
  [apps('ReplicaSet', 'replicasets'), { selector, template: template() }, 'ReplicaSet'],
  [
    apps('StatefulSet', 'statefulsets'),
    { selector, serviceName: 'made', template: template() },
    'StatefulSet',
  ],
  [apps('DaemonSet', 'daemonsets'), { selector, template: template() }, 'DaemonSet'],
  [batch('Job', 'jobs'), job, 'Job'],
  [batch('CronJob', 'cronjobs'), { schedule: '* * * * *', jobTemplate: { spec: job } }, 'Job'],
];

test('pods that controllers make are injected, under the restricted level', async () => {
  // A DaemonSet has pods where there are nodes.
  await cluster.ensure(KINDS.node, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'admission-1' } });
  try {
    for (const [kind, workload] of WORKLOADS)
      await cluster.client.create(kind, {
        ...{ apiVersion: kind.apiVersion, kind: kind.kind, spec: workload },
        metadata: { name: `made-by-${kind.kind.toLowerCase()}`, namespace: NAMESPACE, labels },
      });
    let made: readonly KubeObject[] = [];
    const missing = () =>
      WORKLOADS.filter(
        ([kind]) =>
          !made.some(({ metadata }) => metadata.name.startsWith(`made-by-${kind.kind.toLowerCase()}-`)),
      ).map(([kind]) => kind.kind);
    await eventually(
      async () => {
        made = (await cluster.client.list(KINDS.pod, { namespace: NAMESPACE })).items;
        return missing().length === 0;
      },
      { deadlineMs: 100_000, what: 'each controller has made a pod (the CronJob at the full minute)' },
    );
    for (const one of made) {
      assert.ok(isInjected(one as unknown as JsonValue), one.metadata.name);
      assert.equal(one.metadata.annotations?.['heddle.dev/injected'], 'default', one.metadata.name);
    }
    for (const [kind, , ownerKind] of WORKLOADS) {
      const own = made.find(({ metadata }) =>
        metadata.name.startsWith(`made-by-${kind.kind.toLowerCase()}-`),
      );
      assert.equal(textAt(own as unknown as JsonValue, 'metadata', 'ownerReferences', 0, 'kind'), ownerKind);
    }
  } finally {
    await cluster.client.delete(KINDS.node, { name: 'admission-1' });
  }
});

/** An init container in front, and a probe on the app. */
function othersPatch(given: JsonValue | undefined): readonly JsonObject[] {
  if (listAt(given, 'spec', 'initContainers').some((one) => textAt(one, 'name') === 'first')) return [];
  const { readinessProbe: _probe, ...app } = listAt(spec(), 'containers')[0] as JsonObject;
  return [
    { op: 'add', path: '/spec/initContainers/0', value: { ...app, name: 'first', ports: [] } },
    { op: 'add', path: '/spec/containers/0/livenessProbe', value: { tcpSocket: { port: 8080 } } },
  ];
}

test('after another webhook the sidecar is first again, and takes on the new probe', async () => {
  const other = await otherWebhook(cluster.address, othersPatch);
  const name = 'z-other';
  try {
    await cluster.client.create(KINDS.mutatingWebhook, {
      ...{ apiVersion: 'admissionregistration.k8s.io/v1', kind: 'MutatingWebhookConfiguration' },
      metadata: { name },
      webhooks: [
        {
          ...{ name: 'other.example.org', clientConfig: other.clientConfig, sideEffects: 'None' },
          admissionReviewVersions: ['v1'],
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': NAMESPACE } },
          rules: [{ operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'] }],
        },
      ],
    });
    let answer: KubeObject | string = '';
    await eventually(
      async () => {
        answer = await tried(pod('twice'));
        return other.calls() > 0;
      },
      { deadlineMs: 20_000, what: 'the API server asks the other webhook' },
    );
    const given = answer as unknown as JsonValue;
    assert.deepEqual(
      listAt(given, 'spec', 'initContainers').map((one) => textAt(one, 'name')),
      ['heddle-proxy', 'first'],
      JSON.stringify(given),
    );
    const env = listAt(given, 'spec', 'initContainers', 0, 'env');
    const carried =
      textAt(
        env.find((one) => textAt(one, 'name') === 'HEDDLE_APP_PROBES'),
        'value',
      ) ?? '';
    assert.deepEqual(JSON.parse(carried), {
      app: {
        readyz: { httpGet: { path: '/', port: 8080 }, timeoutSeconds: 1 },
        livez: { tcpSocket: { port: 8080 }, timeoutSeconds: 1 },
      },
    });
  } finally {
    await cluster.client.delete(KINDS.mutatingWebhook, { name });
    await other.close();
  }
});

test('kubectl apply twice changes nothing the second time', async () => {
  const manifest = [
    {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'applied', namespace: NAMESPACE } },
      spec: { selector, template: template() },
    },
    {
      ...pod('applied-bare'),
      spec: {
        ...spec(),
        containers: listAt(spec(), 'containers').map((one) => {
          const { readinessProbe: _probe, ...rest } = one as JsonObject;
          return rest;
        }),
      },
    },
  ];
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifest });
  const apply = () => cluster.kubectl(['apply', '-f', '-'], list);
  assert.match(await apply(), /deployment.apps\/applied created\s+pod\/applied-bare created/);
  assert.match(
    await apply(),
    /deployment.apps\/applied unchanged\s+pod\/applied-bare (unchanged|configured)/,
  );
  const kept = await cluster.client.get(KINDS.pod, { name: 'applied-bare', namespace: NAMESPACE });
  assert.ok(isInjected(kept as unknown as JsonValue));
});
