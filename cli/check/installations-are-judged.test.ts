import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import type { JsonObject } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { meshCa } from '../../test/support/mesh-ca.ts';
import type { InstallationFacts } from './cluster-facts.ts';
import type { Finding } from './findings.ts';
import { checkInstallation } from './installation.ts';

leakCheck();

const DAY_MS = 86_400_000;
const PEM = meshCa(systemClock).rootPem;
const OTHER_PEM = meshCa(systemClock).rootPem;
const VERSION = { 'app.kubernetes.io/version': '0.1.0' };

const object = (kind: string, name: string, rest: JsonObject = {}, metadata: JsonObject = {}): KubeObject =>
  ({
    apiVersion: 'v1',
    kind,
    metadata: { name, namespace: 'heddle-system', ...metadata },
    ...rest,
  }) as KubeObject;

const deployment = (name: string, ready = 2, labels: JsonObject = VERSION, replicas = 2) =>
  object(
    'Deployment',
    name,
    {
      spec: {
        replicas,
        template: {
          spec: {
            containers: [{ name: 'control-plane', image: 'r.example:5000/heddle-control-plane:0.1.0' }],
          },
        },
      },
      status: { readyReplicas: ready },
    },
    { labels },
  );
const daemonSet = (ready: number, labels: JsonObject = VERSION) =>
  object(
    'DaemonSet',
    'heddle-cni',
    { status: { desiredNumberScheduled: 2, numberReady: ready } },
    { labels },
  );
const agentOn = (node: string) =>
  object(
    'Pod',
    `heddle-cni-${node}`,
    { spec: { nodeName: node }, status: { conditions: [{ type: 'Ready', status: 'True' }] } },
    { labels: { 'app.kubernetes.io/name': 'heddle-cni' } },
  );
const webhook = (pem: string, name = 'heddle-injector') =>
  object('MutatingWebhookConfiguration', name, {
    webhooks: [{ name: 'x', clientConfig: { caBundle: Buffer.from(pem).toString('base64') } }],
  });
const bundle = (pem: string) => object('ConfigMap', 'heddle-trust-bundle', { data: { 'root.pem': pem } });

const SOUND: InstallationFacts = {
  ...{ nowMs: Date.now(), version: '0.1.0', namespaces: [], pods: [] },
  deployments: [deployment('heddle-control-plane'), deployment('heddle-injector')],
  daemonSets: [daemonSet(2)],
  ownPods: [agentOn('n1'), agentOn('n2')],
  nodes: [object('Node', 'n1'), object('Node', 'n2')],
  webhooks: [webhook(PEM), webhook('', 'another-injector')],
  trustBundle: bundle(PEM),
};

function troubles(change: Partial<InstallationFacts>): readonly string[] {
  const findings = checkInstallation({ ...SOUND, ...change });
  const bad = findings.filter(({ level }) => level !== 'good');
  for (const finding of bad) assert.ok((finding.remedy ?? '') !== '', finding.message);
  return bad.map(({ level, about, message }: Finding) => `${level} ${about}: ${message}`);
}

test('a sound installation has nothing wrong, and says what was looked at', () => {
  const findings = checkInstallation(SOUND);
  assert.deepEqual(new Set(findings.map(({ level }) => level)), new Set(['good']));
  assert.equal(findings.length, 6);
});

const CASES: readonly (readonly [string, Partial<InstallationFacts>, readonly RegExp[]])[] = [
  [
    'fewer replicas than wanted warn, and none is a problem',
    { deployments: [deployment('heddle-control-plane', 1), deployment('heddle-injector', 0)] },
    [/^warning deployment .*control-plane: 1 of 2/, /^problem deployment .*injector: 0 of 2/],
  ],
  [
    'one that somebody scaled down to nothing',
    {
      deployments: [deployment('heddle-control-plane'), deployment('heddle-injector', 0, VERSION, 0)],
    },
    [/^problem deployment .*injector: is scaled to 0 replicas/],
  ],
  [
    'a change whose replicas do not come up beside those of before',
    {
      deployments: [
        {
          ...deployment('heddle-control-plane'),
          status: { readyReplicas: 2, unavailableReplicas: 1 },
        },
        deployment('heddle-injector'),
      ],
    },
    [/^warning deployment .*control-plane: 2 of 2 replicas ready, but 1 of a change under way not yet/],
  ],
  [
    'what is not installed',
    { deployments: [], daemonSets: [], webhooks: [], trustBundle: null },
    [
      /^problem heddle-control-plane: there is no Deployment/,
      /^problem heddle-injector: there is no Deployment/,
      /^problem daemonset .*heddle-cni: there is no DaemonSet/,
      /^problem root certificate: .* holds no certificate/,
      /^problem webhook: there is no MutatingWebhookConfiguration/,
    ],
  ],
  [
    'a node without a ready agent is named',
    { daemonSets: [daemonSet(1)], ownPods: [agentOn('n1')] },
    [/^problem daemonset .*: ready on 1 of 2 nodes; not on n2: new pods there/],
  ],
  [
    'a caBundle of another root, or of none',
    { webhooks: [webhook(OTHER_PEM), webhook('', 'heddle-injector-next')] },
    [/^problem webhook heddle-injector: its caBundle is not/, /^problem webhook heddle-injector-next: its/],
  ],
  [
    'a root that ends soon, and one that is over',
    { nowMs: Date.now() + 3_640 * DAY_MS },
    [/^warning root certificate: expires on/],
  ],
  ['a root that is over', { nowMs: Date.now() + 3_700 * DAY_MS }, [/^problem root certificate: expired on/]],
  [
    'a command of another version',
    { version: '0.2.0' },
    [/^warning versions: the cluster runs Heddle 0\.1\.0, this command is 0\.2\.0/],
  ],
  [
    'parts of different versions',
    {
      daemonSets: [daemonSet(2, { 'app.kubernetes.io/version': '0.0.9' })],
      pods: [sidecarPod('old', '0.0.9'), sidecarPod('new', '0.1.0'), sidecarPod('by-digest', undefined)],
    },
    [
      /^warning daemonset .*heddle-cni: is of version 0\.0\.9, the control plane of 0\.1\.0/,
      /^warning versions: 1 sidecars are of another version than the control plane \(0\.1\.0\): shop\/old$/,
    ],
  ],
  [
    'pods that should have a sidecar and have none',
    {
      namespaces: [
        object('Namespace', 'shop', {}, { labels: { 'heddle.dev/inject': 'enabled' } }),
        object('Namespace', 'bank'),
      ],
      pods: [
        sidecarPod('meshed', '0.1.0'),
        object('Pod', 'alone', { spec: { containers: [] } }, { namespace: 'shop' }),
        object(
          'Pod',
          'done',
          { spec: { containers: [] }, status: { phase: 'Succeeded' } },
          { namespace: 'shop' },
        ),
        object('Pod', 'other', { spec: { containers: [] } }, { namespace: 'bank' }),
      ],
    },
    [/^problem pod shop\/alone: has no sidecar/],
  ],
  [
    'what we may not look at',
    {
      ...{ deployments: undefined, daemonSets: undefined, webhooks: undefined },
      ...{ trustBundle: undefined, namespaces: undefined },
    },
    [
      /^warning control plane: can't be looked at: you may not list deployments/,
      /^warning heddle-cni: .* daemonsets/,
      /^warning root certificate: .* configmaps/,
      /^warning webhook: .* mutatingwebhookconfigurations/,
      /^warning sidecars: .* namespaces/,
    ],
  ],
];
for (const [what, change, expected] of CASES) {
  test(`told: ${what}`, () => {
    const told = troubles(change);
    assert.equal(told.length, expected.length, told.join('\n'));
    for (const [index, pattern] of expected.entries()) assert.match(told[index] ?? '', pattern);
  });
}

test('a bundle of two roots is the same in any order and spacing', () => {
  const both = { trustBundle: bundle(`${PEM}${OTHER_PEM}`), webhooks: [webhook(`\n${OTHER_PEM}\n\n${PEM}`)] };
  assert.deepEqual(troubles(both), []);
});

function sidecarPod(name: string, version: string | undefined): KubeObject {
  const image =
    version === undefined ? `heddle-proxy@sha256:${'0'.repeat(64)}` : `r.example/heddle-proxy:${version}`;
  return object(
    'Pod',
    name,
    { spec: { containers: [], initContainers: [{ name: 'heddle-proxy', image }] } },
    { namespace: 'shop', annotations: { 'heddle.dev/injected': 'default' } },
  );
}
