import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../common/json.ts';
import { webhookConfiguration } from '../../injector/patch/webhooks.ts';
import type { KubeObject } from '../../model/objects.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import {
  type InjectionFacts,
  injectionRows,
  readyEndpoints,
  type WebhookFacts,
  webhookFindings,
} from './injection.ts';

leakCheck();

const INJECT = 'heddle.dev/inject';
const REV = 'heddle.dev/rev';
const ENABLED = { [INJECT]: 'enabled' };
const SPEC = { containers: [{ name: 'app', image: 'shop' }] };
const SIDECAR = { initContainers: [{ name: 'heddle-proxy', restartPolicy: 'Always', env: [] }] };

function pod(metadata: JsonObject, spec: JsonObject = {}): KubeObject {
  const named = { name: 'web-1', namespace: 'shop', ...metadata };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: named,
    spec: { ...SPEC, ...spec },
  } as unknown as KubeObject;
}

function workload(kind: string, name: string, template: JsonObject): KubeObject {
  return { apiVersion: 'apps/v1', kind, metadata: { name, namespace: 'shop' }, spec: { template } };
}

function facts(some: Partial<InjectionFacts>): InjectionFacts {
  return { namespace: 'shop', labels: ENABLED, pods: [], workloads: [], webhooks: undefined, ...some };
}

const owned = (kind: string, name: string) => ({ ownerReferences: [{ kind, name, controller: true }] });
const injected = (revision: string) => ({ annotations: { 'heddle.dev/injected': revision } });

const PODS: readonly [
  what: string,
  InjectionFacts,
  state: string,
  reason: RegExp,
  remedy: RegExp | undefined,
][] = [
  [
    'has its sidecar',
    facts({ pods: [pod(injected('default'), SIDECAR)] }),
    'injected',
    /by revision default/,
    undefined,
  ],
  [
    'was made too early, by a Deployment',
    facts({
      pods: [pod(owned('ReplicaSet', 'web-6c8f'))],
      workloads: [workload('Deployment', 'web', { spec: SPEC })],
    }),
    'missing',
    /namespace shop says enabled, but it was created before that/,
    /kubectl rollout restart deployment\/web -n shop/,
  ],
  [
    'was made too early, by a Deployment that was not read',
    facts({ pods: [pod({ ...owned('ReplicaSet', 'web-6c8f'), labels: { 'pod-template-hash': '6c8f' } })] }),
    'missing',
    /created before/,
    /rollout restart deployment\/web -n shop/,
  ],
  [
    'was made too early, by a ReplicaSet of its own',
    facts({ pods: [pod(owned('ReplicaSet', 'web-6c8f'))] }),
    'missing',
    /created before/,
    /delete pod web-1 .* ReplicaSet/,
  ],
  [
    'was made too early, by a StatefulSet',
    facts({ pods: [pod(owned('StatefulSet', 'db'))] }),
    'missing',
    /created before/,
    /rollout restart statefulset\/db/,
  ],
  [
    'has ended, before there was a webhook',
    facts({ pods: [{ ...pod(owned('Job', 'j')), status: { phase: 'Succeeded' } }] }),
    'none',
    /it has ended/,
    undefined,
  ],
  [
    'was made too early, by a Job',
    facts({ pods: [pod(owned('Job', 'j'))] }),
    'missing',
    /before/,
    /delete pod web-1 .* Job/,
  ],
  ['was made too early, by nobody', facts({ pods: [pod({})] }), 'missing', /before/, /create it anew/],
  [
    'is left out by its label',
    facts({ pods: [pod({ labels: { [INJECT]: 'disabled' } })] }),
    'none',
    /its label/,
    undefined,
  ],
  ['is of a plain namespace', facts({ labels: {}, pods: [pod({})] }), 'none', /neither the label/, undefined],
  [
    "is on its node's network",
    facts({ pods: [pod({}, { hostNetwork: true })] }),
    'none',
    /hostNetwork/,
    undefined,
  ],
  [
    'has an annotation that is refused',
    facts({ pods: [pod({ annotations: { 'heddle.dev/log-level': 'loud' } })] }),
    'refused',
    /heddle\.dev\/log-level must be/,
    /change its manifest/,
  ],
  [
    'is of the revision before',
    facts({
      labels: { [REV]: 'r2' },
      pods: [pod({ ...injected('default'), ...owned('DaemonSet', 'd') }, SIDECAR)],
    }),
    'outdated',
    /of revision default; revision r2 takes it now/,
    /rollout restart daemonset\/d/,
  ],
  [
    'has a sidecar that nobody asks for any more',
    facts({ labels: {}, pods: [pod(injected('default'), SIDECAR)] }),
    'outdated',
    /has a sidecar still, but namespace shop has neither/,
    /create it anew/,
  ],
];
for (const [what, given, state, reason, remedy] of PODS)
  test(`a pod that ${what} is ${state}`, () => {
    const row = injectionRows(given).at(-1);
    assert.equal(row?.state, state);
    assert.match(row?.reason ?? '', reason);
    if (remedy === undefined) assert.equal(row?.remedy, undefined);
    else assert.match(row?.remedy ?? '', remedy);
  });

test('what heddle inject has made is as it is meant to be, whatever the labels say', () => {
  const template = { metadata: injected('default'), spec: { ...SPEC, ...SIDECAR } };
  const cronJob = {
    ...{ apiVersion: 'batch/v1', kind: 'CronJob', metadata: { name: 'night', namespace: 'shop' } },
    spec: { jobTemplate: { spec: { template } } },
  };
  for (const labels of [{}, ENABLED, { [REV]: 'next' }, { [INJECT]: 'disabled' }]) {
    const rows = injectionRows(
      facts({
        labels,
        workloads: [
          workload('Deployment', 'web', template),
          cronJob,
          workload('StatefulSet', 'db', { spec: SPEC }),
        ],
        pods: [
          pod({ ...injected('default'), ...owned('ReplicaSet', 'web-6c8f') }, SIDECAR),
          pod({ ...injected('default'), ...owned('Job', 'night-29000000') }, SIDECAR),
        ],
      }),
    ).filter(({ name }) => name !== 'db');
    assert.deepEqual(
      rows.map(({ state, reason, remedy }) => [state, reason, remedy]),
      rows.map(() => ['injected', 'its manifest has the sidecar of revision default', undefined]),
    );
    assert.equal(rows.length, 4);
  }
});

test('workloads say what becomes of the pods that they make, and pods that end are left out', () => {
  const rows = injectionRows(
    facts({
      pods: [pod({ deletionTimestamp: '2026-01-01T00:00:00Z' })],
      workloads: [
        workload('Deployment', 'web', { spec: SPEC }),
        workload('DaemonSet', 'agent', { spec: { ...SPEC, hostNetwork: true } }),
        workload('StatefulSet', 'db', { metadata: { labels: { [REV]: 'r2' } }, spec: SPEC }),
        workload('Job', 'bad', { spec: { containers: [{ name: 'heddle-proxy' }] } }),
      ],
    }),
  );
  assert.deepEqual(
    rows.map(({ kind, name, state }) => `${kind}/${name} ${state}`),
    ['Deployment/web injects', 'DaemonSet/agent none', 'StatefulSet/db injects', 'Job/bad refused'],
  );
  assert.match(rows[2]?.reason ?? '', /by revision r2, as its label heddle\.dev\/rev names r2/);
});

const CA = { caBundle: 'AAAA' };

function webhooks(some: Partial<WebhookFacts>, clientConfig: JsonObject = CA): WebhookFacts {
  const configurations = [webhookConfiguration('default', clientConfig) as unknown as KubeObject];
  return { configurations, readyInjectors: () => 2, ...some };
}

function problems(some: Partial<InjectionFacts>): string[] {
  return webhookFindings(facts(some)).map(({ level, message }) => `${level}: ${message}`);
}

test('a webhook that works is good, and of each revision that the namespace uses', () => {
  assert.deepEqual(problems({ webhooks: webhooks({}) }), ['good: 2 ready, trusted by the API server']);
  assert.deepEqual(problems({ labels: {}, webhooks: webhooks({}) }), []);
  const pods = [pod({ labels: { [REV]: 'r2' } })];
  assert.match(
    problems({ pods, webhooks: webhooks({}) })[1] ?? '',
    /no MutatingWebhookConfiguration for revision r2/,
  );
});

test('what keeps a webhook from working is named', () => {
  assert.match(
    problems({ webhooks: webhooks({ configurations: [] }) })[0] ?? '',
    /problem: there is no Mutating/,
  );
  assert.match(
    problems({ webhooks: webhooks({}, { caBundle: '' }) })[0] ?? '',
    /problem: its caBundle is empty/,
  );
  assert.match(
    problems({ webhooks: webhooks({ readyInjectors: () => 0 }) })[0] ?? '',
    /problem: no injector is ready/,
  );
  const lenient = structuredClone(webhookConfiguration('default', CA)) as {
    webhooks: { failurePolicy: string }[];
  };
  for (const one of lenient.webhooks) one.failurePolicy = 'Ignore';
  const configurations = [lenient as unknown as KubeObject];
  assert.match(
    problems({ webhooks: webhooks({ configurations }) })[0] ?? '',
    /warning: its failurePolicy is not Fail/,
  );
});

test('what may not be read is said', () => {
  assert.match(
    problems({ webhooks: webhooks({ configurations: undefined }) })[0] ?? '',
    /note: you may not read/,
  );
  assert.deepEqual(problems({ webhooks: webhooks({ readyInjectors: () => undefined }) }), []);
});

test('ready endpoints of the Service are counted, of others not', () => {
  const slice = (service: string, ready: (boolean | undefined)[]) =>
    ({
      ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice' },
      metadata: { name: 's', labels: { 'kubernetes.io/service-name': service } },
      endpoints: ready.map((one) => ({ conditions: one === undefined ? {} : { ready: one } })),
    }) as unknown as KubeObject;
  const slices = [slice('heddle-injector', [true, false, undefined]), slice('heddle-injector-r2', [true])];
  assert.equal(readyEndpoints(slices, 'heddle-injector'), 2);
});
