import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { listAt, textAt } from '../../cli/kube/fields.ts';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { type AdmissionCluster, admissionCluster } from './support/admission-cluster.ts';
import { type RunningInjector, startCa, startInjectorProcess, type WebhookCa } from './support/webhook.ts';

leakCheck();

const HEDDLE = fileURLToPath(new URL('../../bin/heddle', import.meta.url));
const INJECT = 'heddle.dev/inject';
const REV = 'heddle.dev/rev';
/** From the start of the process to the first pod, on a machine that is busy with tests. A bundle takes about a second. */
const restartMs = 20_000;

let cluster: AdmissionCluster;
let ca: WebhookCa;
let injector: RunningInjector;
let next: RunningInjector;

before(async () => {
  cluster = await admissionCluster();
  ca = await startCa(cluster.address);
  [injector, next] = await Promise.all([
    startInjectorProcess(ca, cluster.address),
    startInjectorProcess(ca, cluster.address, { revision: 'r2' }),
  ]);
  await cluster.configure('default', injector.clientConfig);
  await cluster.configure('r2', next.clientConfig);
  await cluster.namespace('plain', {});
  await cluster.namespace('early', {});
  await cluster.namespace('meshed', { [INJECT]: 'enabled' });
  await cluster.namespace('ahead', { [REV]: 'r2' });
  for (const [namespace, revision] of [
    ['meshed', 'default'],
    ['ahead', 'r2'],
  ] as const)
    await eventually(async () => (await revisionOf(pod(namespace))) === revision, {
      deadlineMs: 20_000,
      what: `the API server asks revision ${revision}`,
    });
});
after(async () => {
  await Promise.all([injector?.stop(), next?.stop()]);
  ca?.close();
  await cluster?.close();
});

function pod(namespace: string, labels: JsonObject = {}, more: JsonObject = {}, name = 'web'): JsonObject {
  return {
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels } },
    spec: { containers: [{ name: 'app', image: 'shop' }], ...more },
  };
}

/** By which revision a pod would be injected; undefined: by none. Rejects where it would be refused. */
async function revisionOf(object: JsonObject): Promise<string | undefined> {
  const answer = await cluster.tried(KINDS.pod, object);
  if (typeof answer === 'string') throw new Error(answer);
  const sidecars = listAt(answer as unknown as JsonValue, 'spec', 'initContainers').length;
  const revision = answer.metadata.annotations?.['heddle.dev/injected'];
  assert.equal(sidecars, revision === undefined ? 0 : 1);
  return revision;
}

test('revisions side by side each take their own, whatever labels say it', async () => {
  const cases: readonly (readonly [string, JsonObject, string | undefined])[] = [
    ['meshed', {}, 'default'],
    ['meshed', { [REV]: 'r2' }, 'r2'],
    ['meshed', { [INJECT]: 'disabled' }, undefined],
    ['ahead', {}, 'r2'],
    ['ahead', { [REV]: 'default' }, 'default'],
    ['ahead', { [INJECT]: 'enabled' }, 'r2'],
    ['ahead', { [INJECT]: 'disabled' }, undefined],
    ['plain', {}, undefined],
    ['plain', { [INJECT]: 'enabled' }, 'default'],
    ['plain', { [REV]: 'r2' }, 'r2'],
    ['plain', { [REV]: 'r3' }, undefined],
  ];
  for (const [namespace, labels, revision] of cases)
    assert.equal(
      await revisionOf(pod(namespace, labels)),
      revision,
      `${namespace} ${JSON.stringify(labels)}`,
    );
});

async function heddle(...args: readonly string[]): Promise<{ readonly code: number; readonly out: string }> {
  const child = spawn(HEDDLE, [...args, '--kubeconfig', cluster.kubeconfig], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number];
  return { code, out };
}

test('heddle check inject tells who was there before the label', async () => {
  const made: KubeObject[] = [await cluster.client.create(KINDS.pod, pod('early', {}, {}, 'before'))];
  await cluster.namespace('early', { [INJECT]: 'enabled' });
  try {
    await eventually(async () => (await revisionOf(pod('early'))) === 'default', {
      deadlineMs: 20_000,
      what: 'the API server has seen the label',
    });
    made.push(await cluster.client.create(KINDS.pod, pod('early', {}, {}, 'since')));
    made.push(await cluster.client.create(KINDS.pod, pod('early', { [INJECT]: 'disabled' }, {}, 'without')));
    const { code, out } = await heddle('check', 'inject', 'early', '-o', 'json');
    const rows = listAt(JSON.parse(out) as JsonValue, 'items').map(
      (row) => `${textAt(row, 'name')} ${textAt(row, 'state')}`,
    );
    assert.deepEqual(rows.sort(), ['before missing', 'since injected', 'without none']);
    assert.equal(code, 1);
    const gone = await heddle('check', 'inject', 'nowhere');
    assert.equal(gone.code, 1);
  } finally {
    for (const { metadata } of made)
      await cluster.client.delete(KINDS.pod, metadata, { gracePeriodSeconds: 0 });
  }
});

test('while no injector answers, pods that need one are refused and nobody else, and its return ends that', async () => {
  const { port } = injector;
  await injector.stop();
  await assert.rejects(revisionOf(pod('meshed')), /failed calling webhook "namespace\.inject\.heddle\.dev"/);
  assert.equal(await revisionOf(pod('plain')), undefined);
  assert.equal(await revisionOf(pod('meshed', { [INJECT]: 'disabled' })), undefined);
  assert.equal(await revisionOf(pod('meshed', {}, { hostNetwork: true })), undefined);
  assert.equal(await revisionOf(pod('ahead')), 'r2');
  const from = performance.now();
  injector = await startInjectorProcess(ca, cluster.address, { port });
  await eventually(
    async () => {
      const answer = await cluster.tried(KINDS.pod, pod('meshed'));
      return typeof answer !== 'string';
    },
    { deadlineMs: restartMs, what: 'pods are injected again' },
  );
  assert.ok(performance.now() - from < restartMs);
});
