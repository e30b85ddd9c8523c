import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import type { ListOptions } from '../../sources/kubernetes/client.ts';
import type { KubeKind } from '../../sources/kubernetes/kinds.ts';
import { refusal } from '../../test/support/fake-cluster-api.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import type { Finding } from '../check/findings.ts';
import { type ClusterFacts, type FactsClient, gatherClusterFacts, NEEDED_RIGHTS } from './cluster-facts.ts';
import { preCheck } from './pre-check.ts';
import type { PlannedValues } from './values.ts';

leakCheck();

function object(kind: string, name: string, more: Readonly<Record<string, JsonValue>> = {}): KubeObject {
  const { labels = {}, annotations = {}, ...rest } = more;
  return { apiVersion: 'v1', kind, metadata: { name, labels, annotations }, ...rest } as KubeObject;
}

function node(name: string, more: JsonObject = {}): KubeObject {
  const nodeInfo = {
    ...{ kernelVersion: '6.8.0-45-generic', kubeletVersion: 'v1.35.0', architecture: 'amd64' },
    ...{ operatingSystem: 'linux', ...more },
  };
  return object('Node', name, { status: { nodeInfo } });
}

const httpRoutes = (version: string, channel: string) =>
  object('CustomResourceDefinition', 'httproutes.gateway.networking.k8s.io', {
    annotations: {
      'gateway.networking.k8s.io/bundle-version': version,
      'gateway.networking.k8s.io/channel': channel,
    },
  });
const daemonSet = (name: string) => object('DaemonSet', name);
const dnsService = (labels: JsonObject) =>
  object('Service', 'kube-dns', { labels, spec: { clusterIP: '10.96.0.10' } });

const SOUND: ClusterFacts = {
  version: 'v1.34.4',
  denied: [],
  nodes: [node('n1'), node('n2')],
  daemonSets: [daemonSet('kube-proxy')],
  webhooks: [],
  kinds: [httpRoutes('v1.5.1', 'experimental')],
  apiService: object('Service', 'kubernetes', {
    spec: { clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1'] },
  }),
  dnsServices: [],
};
const PLANNED: PlannedValues = {
  ...{ cniEnabled: true, cniMode: 'tunnel', dnsEnabled: true, dnsCreatesService: true },
  ...{ dnsAddress: '10.96.0.10', apiServerHost: '' },
};
const right = NEEDED_RIGHTS[0];
assert.ok(right);

test('a cluster on which everything is well has nothing but good findings', () => {
  const findings = preCheck(SOUND, PLANNED);
  assert.deepEqual(new Set(findings.map(({ level }) => level)), new Set(['good']));
  assert.deepEqual(
    findings.map(({ about }) => about),
    [
      ...['Kubernetes', 'rights', 'Gateway API', "Heddle's kinds", 'webhooks', 'nodes', 'pod network'],
      ...['API server', 'DNS'],
    ],
  );
});

type Case = readonly [
  what: string,
  facts: Partial<ClusterFacts>,
  planned: Partial<PlannedValues>,
  level: Finding['level'],
  about: string,
  says: RegExp,
];
const CASES: readonly Case[] = [
  [
    'an old Kubernetes',
    { version: 'v1.28.9' },
    {},
    'problem',
    'Kubernetes',
    /v1\.28\.9; sidecars need 1\.29/,
  ],
  ['a version that nobody can read', { version: '' }, {}, 'problem', 'Kubernetes', /1\.29 or newer/],
  ['a missing right', { denied: [right] }, {}, 'problem', 'rights', /you may not create namespaces/],
  ['no Gateway API', { kinds: [] }, {}, 'warning', 'Gateway API', /not installed: there can be no routes/],
  [
    'an old Gateway API',
    { kinds: [httpRoutes('v1.4.0', 'experimental')] },
    {},
    ...(['warning', 'Gateway API', /v1\.4\.0.*made for 1\.5/] as const),
  ],
  [
    'the standard channel',
    { kinds: [httpRoutes('v1.5.0', 'standard')] },
    {},
    ...(['warning', 'Gateway API', /standard channel: routes can't say how to retry/] as const),
  ],
  [
    "another Heddle's kinds",
    {
      kinds: [
        object('CustomResourceDefinition', 'meshes.heddle.dev', { spec: { versions: [{ name: 'v2' }] } }),
      ],
    },
    {},
    ...(['problem', "Heddle's kinds", /meshes\.heddle\.dev without version v1alpha1/] as const),
  ],
  [
    'Istio beside it',
    { webhooks: [object('MutatingWebhookConfiguration', 'istio-sidecar-injector')] },
    {},
    ...(['warning', 'webhooks', /is of Istio: .* two sidecars/] as const),
  ],
  [
    'Linkerd beside it',
    { webhooks: [object('MutatingWebhookConfiguration', 'linkerd-proxy-injector-webhook-config')] },
    {},
    ...(['warning', 'webhooks', /is of Linkerd/] as const),
  ],
  ['no node', { nodes: [] }, {}, 'warning', 'nodes', /no Linux node/],
  [
    'a Windows node',
    { nodes: [node('n1'), node('w', { operatingSystem: 'windows' })] },
    {},
    'note',
    'nodes',
    /Windows/,
  ],
  [
    'another processor',
    { nodes: [node('n1', { architecture: 's390x' })] },
    {},
    'problem',
    'node n1',
    /s390x/,
  ],
  [
    'an old kernel',
    { nodes: [node('n1', { kernelVersion: '5.15.0-1' })] },
    {},
    ...(['problem', 'node n1', /5\.15\.0-1; the pod network needs 5\.17/] as const),
  ],
  [
    'a kernel that will do',
    { nodes: [node('n1', { kernelVersion: '6.1.0' })] },
    {},
    'note',
    'node n1',
    /6\.6 or newer/,
  ],
  [
    'kubelets that take cgroup v1',
    { nodes: [node('n1', { kubeletVersion: 'v1.34.4' })] },
    {},
    ...(['note', 'nodes', /cgroup v2, which the API doesn't tell/] as const),
  ],
  [
    'another pod network',
    { daemonSets: [daemonSet('kube-proxy'), daemonSet('calico-node')] },
    {},
    ...(['problem', 'pod network', /Calico is there: a cluster can't have two/] as const),
  ],
  [
    'a chain behind it',
    { daemonSets: [daemonSet('cilium')] },
    { cniMode: 'capture', dnsEnabled: false },
    ...(['good', 'pod network', /Cilium carries pods/] as const),
  ],
  [
    'a chain behind nothing',
    {},
    { cniMode: 'capture', dnsEnabled: false },
    ...(['warning', 'pod network', /no pod network that is known/] as const),
  ],
  ['no CNI', {}, { cniEnabled: false, dnsEnabled: false }, 'warning', 'pod network', /cni\.enabled is false/],
  ['no kube-proxy', { daemonSets: [] }, {}, 'warning', 'API server', /no apiServerHost/],
  [
    'no kube-proxy, and an address',
    { daemonSets: [] },
    { apiServerHost: '10.0.0.5' },
    'good',
    'API server',
    /10\.0\.0\.5/,
  ],
  [
    "the cluster's own DNS",
    { dnsServices: [dnsService({ 'k8s-app': 'kube-dns' })] },
    {},
    ...(['problem', 'DNS', /kube-system\/kube-dns has it already, at 10\.96\.0\.10/] as const),
  ],
  [
    'DNS of an earlier installation',
    { dnsServices: [dnsService({ 'app.kubernetes.io/part-of': 'heddle' })] },
    {},
    ...(['good', 'DNS', /at 10\.96\.0\.10/] as const),
  ],
  [
    'DNS outside of the range of Services',
    { apiService: object('Service', 'kubernetes', { spec: { clusterIPs: ['10.43.0.1'] } }) },
    {},
    ...(['problem', 'DNS', /not in the range of Services, where 10\.43\.0\.1 is/] as const),
  ],
];
for (const [what, facts, planned, level, about, says] of CASES) {
  test(`before an installation ${what} is a ${level}`, () => {
    const findings = preCheck({ ...SOUND, ...facts }, { ...PLANNED, ...planned });
    const found = findings.find((one) => one.about === about && one.level === level);
    assert.match(found?.message ?? JSON.stringify(findings), says);
    if (level === 'problem') assert.ok(found?.remedy, 'a problem comes with what to do about it');
  });
}

test('what may not be looked at is said to be unknown, and hides nothing else', () => {
  const hidden = {
    nodes: undefined,
    daemonSets: undefined,
    webhooks: undefined,
    kinds: undefined,
    dnsServices: undefined,
  };
  const findings = preCheck({ ...SOUND, ...hidden }, PLANNED);
  assert.deepEqual(
    findings.filter(({ message }) => message.startsWith("can't be looked at")).map(({ about }) => about),
    ['Gateway API', 'webhooks', 'nodes', 'pod network', 'DNS'],
  );
});

/** An API server with two pages of nodes, where nobody may list DaemonSets or create Secrets. */
function fakeClient(): FactsClient & { readonly asked: JsonObject[] } {
  const asked: JsonObject[] = [];
  return {
    asked,
    read: async () => ({ gitVersion: 'v1.34.4' }),
    async list({ plural }: KubeKind, options: ListOptions = {}) {
      if (plural === 'daemonsets') throw refusal('Forbidden');
      const page = plural !== 'nodes' ? [] : [node(options.continue === undefined ? 'n1' : 'n2')];
      const next = plural === 'nodes' && options.continue === undefined ? 'more' : undefined;
      return { items: page, resourceVersion: '1', continue: next };
    },
    async create(_kind, review) {
      asked.push(review);
      const { resource } = (review.spec as { resourceAttributes: JsonObject }).resourceAttributes;
      return { ...review, status: { allowed: resource !== 'secrets' } } as unknown as KubeObject;
    },
  };
}

test('facts are gathered page by page, and a list that is forbidden is not an error', async () => {
  const client = fakeClient();
  const facts = await gatherClusterFacts(client);
  assert.deepEqual(
    facts.nodes?.map(({ metadata }) => metadata.name),
    ['n1', 'n2'],
  );
  assert.equal(facts.daemonSets, undefined);
  assert.deepEqual(
    facts.denied.map(({ resource }) => resource),
    ['secrets'],
  );
  assert.equal(client.asked.length, NEEDED_RIGHTS.length);
});
