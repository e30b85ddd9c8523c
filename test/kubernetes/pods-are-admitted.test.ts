import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { listAt, objectAt, textAt } from '../../cli/kube/fields.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import { injectPod } from '../../injector/patch/inject.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { injectionCases } from '../support/injection-cases.ts';
import { patched } from '../support/injection-simulator.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { type AdmissionCluster, admissionCluster } from './support/admission-cluster.ts';
import { type RunningInjector, startCa, startInjectorProcess, type WebhookCa } from './support/webhook.ts';

leakCheck();

const LEVELS = ['restricted', 'baseline', 'privileged'] as const;
type Level = (typeof LEVELS)[number];
const ENFORCE = 'pod-security.kubernetes.io/enforce';
/** What the restricted level asks of each container, and apps rarely say. */
const HARDENED = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  runAsNonRoot: true,
  seccompProfile: { type: 'RuntimeDefault' },
};
/** What no more words make restricted: paths of the node, probes and hooks of another host, root of its own accord. */
const NEVER_RESTRICTED = ['daemon-set', 'probes-of-another-host', 'every-hook', 'own-user-namespace'];

let cluster: AdmissionCluster;
let ca: WebhookCa;
let injector: RunningInjector;

before(async () => {
  cluster = await admissionCluster();
  ca = await startCa(cluster.address);
  injector = await startInjectorProcess(ca, cluster.address);
  await cluster.configure('default', injector.clientConfig);
  await cluster.namespace('heddle-system', { 'heddle.dev/inject': 'enabled' });
  await cluster.namespace('kube-system', { 'heddle.dev/inject': 'enabled' });
  const accounts = new Set(
    injectionCases().flatMap(({ pod }) => textAt(pod, 'spec', 'serviceAccountName') ?? []),
  );
  for (const level of LEVELS)
    for (const kind of ['plain', 'meshed']) {
      const namespace = `${kind}-${level}`;
      await cluster.namespace(namespace, {
        [ENFORCE]: level,
        ...(kind === 'meshed' ? { 'heddle.dev/inject': 'enabled' } : {}),
      });
      for (const name of accounts)
        await cluster.ensure(KINDS.serviceAccount, {
          ...{ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } },
        });
    }
  await eventually(async () => isInjected(await tried('meshed-privileged', SIMPLE)), {
    deadlineMs: 20_000,
    what: 'the API server has read the webhook configuration',
  });
});
after(async () => {
  await injector?.stop();
  ca?.close();
  await cluster?.close();
});

const SIMPLE: JsonObject = {
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'simple' } },
  spec: { containers: [{ name: 'app', image: 'shop' }] },
};

/** The pod that a dry run of its creation answers with, or the refusal. */
function tried(namespace: string, pod: JsonObject) {
  const metadata = { ...objectAt(pod, 'metadata'), namespace };
  return cluster.tried(KINDS.pod, { ...pod, metadata });
}

/** The strictest level that admits a pod without a sidecar; undefined where the API server takes it at none. */
async function levelOf(pod: JsonObject): Promise<Level | undefined> {
  for (const level of LEVELS) if (typeof (await tried(`plain-${level}`, pod)) !== 'string') return level;
  return undefined;
}

function isInjected(answer: JsonValue): boolean {
  return textAt(answer, 'spec', 'initContainers', 0, 'name') === 'heddle-proxy';
}

function hardened(pod: JsonObject): JsonObject {
  const harden = (list: JsonValue | undefined) =>
    Array.isArray(list)
      ? list.map((one) =>
          isJsonObject(one)
            ? { ...one, securityContext: { ...HARDENED, ...objectAt(one, 'securityContext') } }
            : one,
        )
      : list;
  const spec = objectAt(pod, 'spec');
  return {
    ...pod,
    spec: {
      ...spec,
      initContainers: harden(spec.initContainers) ?? [],
      containers: harden(spec.containers) ?? [],
    },
  };
}

/** Each recorded pod, with the process' own options: those of the record are for the patch alone. */
const CASES = injectionCases().map((one) => ({
  ...one,
  injection: injectPod(one.pod, one.options),
}));

for (const one of CASES)
  test(`${one.name}: a real API server does with the pod what is recorded`, async () => {
    const level = await levelOf(one.pod);
    // A mirror pod is kubelet's alone.
    if (level === undefined) return assert.equal(one.name, 'mirror-pod');
    const { namespace } = one.options;
    const answer = await tried(namespace === 'shop' ? `meshed-${level}` : namespace, one.pod);
    await check(one, level, answer);
  });

type Case = (typeof CASES)[number];

async function check(one: Case, level: Level, answer: Awaited<ReturnType<typeof tried>>): Promise<void> {
  switch (one.injection.kind) {
    case 'patch': {
      assert.ok(typeof answer !== 'string', String(answer));
      assert.ok(isInjected(answer));
      // The recorded result itself, with options that this process doesn't have.
      const recorded = await tried(`plain-${level}`, patched(one.pod, one.injection.operations));
      assert.ok(typeof recorded !== 'string', String(recorded));
      assert.deepEqual(shapeOf(answer), shapeOf(recorded));
      return;
    }
    case 'skip':
      assert.ok(typeof answer !== 'string', String(answer));
      assert.equal(
        listAt(answer, 'spec', 'initContainers').length,
        listAt(one.pod, 'spec', 'initContainers').length,
      );
      return;
    case 'refuse':
      assert.ok(typeof answer === 'string');
      assert.ok(answer.includes(`denied the request: ${one.injection.message}`), answer);
      return;
    default:
      one.injection satisfies never;
  }
}

/** What a webhook decides about a pod, without what names, tokens and the options of a process make of it. */
function shapeOf(pod: JsonValue) {
  const named = (list: string) =>
    listAt(pod, 'spec', list).map((one) => {
      const { livenessProbe, readinessProbe, startupProbe, securityContext } = objectAt(one);
      return [textAt(one, 'name'), livenessProbe, readinessProbe, startupProbe, securityContext];
    });
  return {
    init: named('initContainers'),
    containers: named('containers'),
    annotations: objectAt(pod, 'metadata', 'annotations'),
    restartPolicy: textAt(pod, 'spec', 'restartPolicy'),
  };
}

test('forty and more of them are admitted under the restricted level', async () => {
  let admitted = 0;
  for (const one of CASES.filter(({ injection }) => injection.kind === 'patch')) {
    const answer = await tried('meshed-restricted', hardened(one.pod));
    if (NEVER_RESTRICTED.includes(one.name)) {
      assert.ok(typeof answer === 'string' && answer.includes('violates PodSecurity'), one.name);
      continue;
    }
    assert.ok(typeof answer !== 'string', `${one.name}: ${String(answer)}`);
    assert.ok(isInjected(answer), one.name);
    admitted++;
  }
  assert.ok(admitted >= 40, `${admitted} pods`);
});

test('a dry run stores nothing, and the pod that is created then is the one it showed', async () => {
  const metadata = { name: 'once', namespace: 'meshed-baseline' };
  const shown = await tried(metadata.namespace, { ...SIMPLE, metadata });
  assert.ok(typeof shown !== 'string', String(shown));
  await assert.rejects(cluster.client.get(KINDS.pod, metadata), /NotFound|not found/);
  const made = await cluster.client.create(KINDS.pod, { ...SIMPLE, metadata });
  try {
    assert.deepEqual(shapeOf(made), shapeOf(shown));
    assert.ok(isInjected(made));
  } finally {
    await cluster.client.delete(KINDS.pod, metadata, { gracePeriodSeconds: 0 });
  }
});
