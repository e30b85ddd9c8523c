import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { PORTS } from '../../common/contracts.ts';
import { objectsOf, recordOf, textOf } from '../../model/read/meta.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { IMAGES } from './cluster/parts.ts';
import { KubernetesCluster } from './support/cluster.ts';
import { DEMO_IMAGE_ARCHIVE, LoadClient, programsOf, serverOf } from './support/load.ts';
import { assertNothingLeft } from './support/machine-state.ts';
import { startMeshedCluster } from './support/mesh.ts';
import { podOf } from './support/pods.ts';

leakCheck();

const SYSTEM = '--namespace=heddle-system';
const rolloutMs = 180_000;
const callsPerSecond = 20;
const leafTtlSeconds = 30;
/** Ten lives of a certificate. */
const shortLivedMs = 300_000;

const CANARY = (v1: number, v2: number) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: canary, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: server, port: 80}]
  rules:
  - backendRefs: [{name: server, port: 80, weight: ${v1}}, {name: server-v2, port: 80, weight: ${v2}}]
`;

let cluster: KubernetesCluster;
/** In the mesh, calling a Service of it. */
let meshed: LoadClient;
/** Without a sidecar, calling the same Service. */
let plain: LoadClient;
let shortLivedSinceMs = 0;
/** The certificate of the root that takes over, as a Secret has it. */
let nextRoot = '';
const nextRootName = 'another root';

before(async () => {
  cluster = await startMeshedCluster(2, [], [DEMO_IMAGE_ARCHIVE]);
  for (const [name, label] of [
    ['shop', 'heddle.dev/inject=enabled'],
    ['street', 'heddle.dev/inject-'],
  ] as const) {
    await cluster.kubectl(['create', 'namespace', name]);
    await cluster.kubectl(['label', 'namespace', name, label]);
  }
  await cluster.apply([programsOf('shop'), ...serverOf('shop', 'server'), ...serverOf('shop', 'server-v2')]);
  for (const name of ['server', 'server-v2']) await rollout('shop', `deployment/${name}`);
  await cluster.apply([programsOf('street'), ...['shop', 'street'].map((namespace) => clientIn(namespace))]);
  for (const namespace of ['shop', 'street'])
    await cluster.waitFor('pod/client', 'condition=Ready', { namespace, timeoutMs: rolloutMs });
  meshed = new LoadClient(cluster, 'shop', 'client');
  plain = new LoadClient(cluster, 'street', 'client');
});
after(async () => {
  await cluster?.stop();
  await assertNothingLeft(`t${process.pid}-`);
});
KubernetesCluster.logsAfterFailures(() => cluster);

/** On node 1, which isn't drained. */
function clientIn(namespace: string) {
  return LoadClient.pod(namespace, 'client', 'http://server.shop', cluster.node(1).name, callsPerSecond);
}

async function rollout(namespace: string, what: string): Promise<void> {
  const flags = [`--namespace=${namespace}`, `--timeout=${rolloutMs}ms`];
  await cluster.kubectl(['rollout', 'status', what, ...flags], { timeoutMs: rolloutMs * 2 });
}

async function restart(namespace: string, ...what: readonly string[]): Promise<void> {
  for (const one of what) await cluster.kubectl(['rollout', 'restart', one, `--namespace=${namespace}`]);
  for (const one of what) await rollout(namespace, one);
}

async function scale(name: string, replicas: number): Promise<void> {
  await cluster.kubectl(['scale', `deployment/${name}`, `--replicas=${replicas}`, SYSTEM]);
}

/** No pod of it serves any more. */
async function gone(name: string): Promise<void> {
  const selector = `--selector=app.kubernetes.io/name=${name}`;
  const flags = [SYSTEM, '--for=delete', `--timeout=${rolloutMs}ms`];
  await cluster.kubectl(['wait', 'pod', selector, ...flags], { timeoutMs: rolloutMs * 2 });
}

const startedOf = async (client: LoadClient) => (await client.counts()).sent;

/** Who signed the certificate that a pod's sidecar has, as its page on the dashboard says. */
async function issuerOf(pod: string): Promise<string | undefined> {
  const name = await podOf(cluster, 'heddle-system', 'app.kubernetes.io/name=heddle-control-plane');
  const forward = await cluster.forward({ namespace: 'heddle-system', name }, PORTS.dashboard);
  try {
    const page = await fetch(`http://127.0.0.1:${forward.port}/proxies/shop/${pod}/certs`);
    const { chain } = (await page.json()) as { readonly chain: readonly { readonly issuer: string }[] };
    return chain[0]?.issuer;
  } finally {
    await forward.close();
  }
}

/** Until so many more calls have been made: what happened meanwhile has had its effect. */
async function callsGoOn(client: LoadClient, more: number): Promise<void> {
  const sent = await startedOf(client);
  await eventually(async () => (await startedOf(client)) >= sent + more, {
    ...{ deadlineMs: rolloutMs, what: `${more} calls more` },
  });
}

async function nothingIsLost(): Promise<void> {
  await callsGoOn(meshed, 3 * callsPerSecond);
  await meshed.assertNothingLost();
  await plain.assertNothingLost();
}

test('a canary that comes and goes loses no call', async () => {
  await callsGoOn(meshed, callsPerSecond);
  assert.deepEqual(Object.keys((await meshed.counts()).byPod), ['server']);
  await cluster.apply(CANARY(50, 50));
  await eventually(async () => ((await meshed.counts()).byPod['server-v2'] ?? 0) > callsPerSecond, {
    ...{ deadlineMs: rolloutMs, what: 'version 2 is called' },
  });
  for (const [v1, v2] of [
    [0, 1],
    [1, 1],
  ] as const)
    await cluster.apply(CANARY(v1, v2));
  await callsGoOn(meshed, callsPerSecond);
  await cluster.kubectl(['delete', 'httproute/canary', '--namespace=shop']);
  await nothingIsLost();
});

test('while there is no control plane no call is lost, and pods that are made wait for it', async () => {
  await scale('heddle-control-plane', 0);
  await gone('heddle-control-plane');
  const command = ['--command', '--', 'sleep', '100000'];
  await cluster.kubectl(['run', 'late', '--namespace=shop', `--image=${IMAGES.tool}`, ...command]);
  await callsGoOn(meshed, 10 * callsPerSecond);
  const { status } = await cluster.get(['pod/late', '--namespace=shop']);
  assert.equal(textOf(recordOf(status).phase), 'Pending');
  await scale('heddle-control-plane', 1);
  await cluster.waitFor('pod/late', 'condition=Ready', { namespace: 'shop', timeoutMs: rolloutMs });
  await nothingIsLost();
});

test(`every Deployment restarts without a call lost, and from then on certificates live ${leafTtlSeconds} s`, async () => {
  const settings = await cluster.get(['configmap/heddle', SYSTEM]);
  const text = textOf(recordOf(settings.data)['mesh.yaml']) ?? '';
  const changed = text.replace(/leafTtl: .*/, `leafTtl: ${leafTtlSeconds}s`);
  assert.notEqual(changed, text);
  await cluster.kubectl([
    ...['patch', 'configmap/heddle', SYSTEM],
    `--patch=${JSON.stringify({ data: { 'mesh.yaml': changed } })}`,
  ]);
  await restart('shop', 'deployment/server', 'deployment/server-v2');
  await nothingIsLost();
  // The client's own certificate is to be as short-lived.
  await cluster.kubectl(['delete', 'pod/client', '--namespace=shop']);
  await cluster.apply([clientIn('shop')]);
  await cluster.waitFor('pod/client', 'condition=Ready', { namespace: 'shop', timeoutMs: rolloutMs });
  shortLivedSinceMs = Date.now();
  const pods = await cluster.get(['pods', '--namespace=shop', '--selector=app=server']);
  const [name = ''] = objectsOf(pods.items).map(({ metadata }) => textOf(recordOf(metadata).name));
  const said = await cluster.kubectl(['logs', name, '--namespace=shop', '--container=heddle-proxy']);
  const taken = /"certificate taken".*"expires":"([^"]+)"/.exec(said)?.[1] ?? '';
  const at = /"time":"([^"]+)"[^\n]*"certificate taken"/.exec(said)?.[1] ?? '';
  assert.ok(Date.parse(taken) - Date.parse(at) <= leafTtlSeconds * 1_000, said);
});

test('the mesh is given another root', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-root-'));
  try {
    const [key, certificate] = ['next.key', 'next.crt'].map((name) => join(folder, name)) as [string, string];
    // As docs/kubernetes.md tells an operator.
    await promisify(execFile)('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-keyout', key, '-out', certificate, '-days', '3650', '-subj', `/CN=${nextRootName}`],
      ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
    ]);
    nextRoot = readFileSync(certificate).toString('base64');
    const data = { 'next.crt': nextRoot, 'next.key': readFileSync(key).toString('base64') };
    const patch = ['--type=merge', `--patch=${JSON.stringify({ data })}`];
    await cluster.kubectl(['patch', 'secret/heddle-ca', SYSTEM, ...patch]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the control plane and the injector restart without a call lost, and every pod made meanwhile is injected', async () => {
  let isDone = false;
  const restarted = restart(
    'heddle-system',
    'deployment/heddle-control-plane',
    'deployment/heddle-injector',
  ).finally(() => {
    isDone = true;
  });
  const made: string[] = [];
  const pod = ['run', 'tried', '--namespace=shop', `--image=${IMAGES.tool}`, '--dry-run=server'];
  const sidecar = '--output=jsonpath={.spec.initContainers[*].name}';
  do made.push(await cluster.kubectl([...pod, sidecar]));
  while (!isDone);
  await restarted;
  assert.deepEqual(
    made.filter((names) => names !== 'heddle-proxy'),
    [],
  );
  await nothingIsLost();
});

test('the agents of the nodes restart without a call lost', async () => {
  await restart('heddle-system', 'daemonset/heddle-cni');
  await nothingIsLost();
});

test('while there is no injector pods wait, and no call is lost', async () => {
  await scale('heddle-injector', 0);
  await gone('heddle-injector');
  await cluster.kubectl(['scale', 'deployment/server', '--replicas=3', '--namespace=shop']);
  const refused = ['events', '--namespace=shop', '--field-selector=reason=FailedCreate'];
  await eventually(async () => JSON.stringify(await cluster.get(refused)).includes('inject.heddle.dev'), {
    ...{ deadlineMs: rolloutMs, what: 'a pod is refused' },
  });
  await scale('heddle-injector', 2);
  await rollout('shop', 'deployment/server');
  await cluster.kubectl(['scale', 'deployment/server', '--replicas=2', '--namespace=shop']);
  await nothingIsLost();
});

test('a node is drained without a call lost', async () => {
  const { name } = cluster.node(2);
  const flags = ['--ignore-daemonsets', '--delete-emptydir-data', '--force', `--timeout=${rolloutMs}ms`];
  await cluster.kubectl(['drain', name, ...flags], { timeoutMs: rolloutMs * 2 });
  await nothingIsLost();
  await cluster.kubectl(['uncordon', name]);
});

test('certificates of 30 s were renewed for five minutes without a call lost', async () => {
  assert.notEqual(shortLivedSinceMs, 0);
  await eventually(() => Date.now() >= shortLivedSinceMs + shortLivedMs, {
    ...{ deadlineMs: shortLivedMs + rolloutMs, what: 'five minutes are over' },
  });
  await nothingIsLost();
});

test('the other root has taken over meanwhile, and signs', async () => {
  const rootsOf = async () => recordOf((await cluster.get(['secret/heddle-ca', SYSTEM])).data);
  await eventually(async () => (await rootsOf())['tls.crt'] === nextRoot, {
    ...{ deadlineMs: rolloutMs, what: 'the other root is the one that signs' },
  });
  const { 'next.crt': next, 'previous.crt': previous } = await rootsOf();
  assert.equal(next, undefined);
  assert.notEqual(previous, undefined);
  await eventually(async () => (await issuerOf('client')) === `CN=${nextRootName}`, {
    ...{ deadlineMs: rolloutMs, what: "the client's certificate is of the other root" },
  });
  await nothingIsLost();
});
