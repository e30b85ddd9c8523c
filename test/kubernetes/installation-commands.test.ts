import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { dirname } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isJsonObject, type JsonValue } from '../../common/json.ts';
import { hasReason } from '../../sources/kubernetes/errors.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { leakCheck } from '../support/leak-check.ts';
import { findHelm } from './chart/helm.ts';
import { type AdmissionCluster, admissionCluster } from './support/admission-cluster.ts';

leakCheck();

const ENTRY = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const COMMAND_MS = 60_000;
const NAMESPACE = 'heddle-system';

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

let cluster: AdmissionCluster;
before(async () => {
  cluster = await admissionCluster();
  await cluster.client.delete(KINDS.mutatingWebhook, { name: 'heddle-injector' }).catch((thrown: unknown) => {
    if (!hasReason(thrown, 'NotFound')) throw thrown;
  });
});
after(async () => {
  await heddle('uninstall', '--revision', 'r2');
  await heddle('uninstall', '--cni');
  await cluster.close();
});

/** Runs `heddle` as a person would, helm in PATH. */
function heddle(...args: readonly string[]): Promise<Ran> {
  return heddleWith(
    { KUBECONFIG: cluster.kubeconfig, PATH: `${dirname(findHelm())}:${process.env.PATH}` },
    args,
  );
}

function heddleWith(env: Readonly<Record<string, string>>, args: readonly string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [ENTRY, ...args], {
      // helm keeps a cache at home; the cluster's folder goes with it.
      env: { HOME: dirname(cluster.kubeconfig), ...env },
      timeout: COMMAND_MS,
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
  });
}

async function isThere(
  kind: (typeof KINDS)[keyof typeof KINDS],
  name: string,
  namespace?: string,
): Promise<boolean> {
  try {
    await cluster.client.get(kind, { namespace, name });
    return true;
  } catch (thrown) {
    if (hasReason(thrown, 'NotFound')) return false;
    throw thrown;
  }
}

test('a look before the installation names what is missing, and finds no obstacle', async () => {
  const { code, out, err } = await heddle('check', '--pre', '-o', 'json');
  assert.equal(code, 0, err);
  const { items }: { items: readonly JsonValue[] } = JSON.parse(out);
  const said = items.filter(isJsonObject).map(({ level, about }) => `${level} ${about}`);
  assert.ok(said.includes('good Kubernetes'), said.join(', '));
  assert.ok(said.includes('good rights'));
  assert.ok(said.includes('warning nodes'));
});

test('a dry run is answered by the API server, and leaves nothing', async () => {
  const { code, out, err } = await heddle('install', '--dry-run');
  assert.equal(code, 0, err);
  assert.match(out, /kind: DaemonSet/);
  assert.match(err, /nothing was installed/);
  assert.equal(await isThere(KINDS.configMap, 'heddle', NAMESPACE), false);
});

test('Heddle is installed, changed, given a revision, and taken off in order', async () => {
  const installed = await heddle('install', '--set', 'apiServerHost=10.0.0.5,apiServerPort=6443');
  assert.equal(installed.code, 0, installed.err);
  assert.match(installed.out, /kubectl label namespace NAMESPACE heddle\.dev\/inject=enabled/);
  const namespace = await cluster.client.get(KINDS.namespace, { name: NAMESPACE });
  assert.equal(namespace.metadata.labels?.['pod-security.kubernetes.io/enforce'], 'privileged');

  const again = await heddle('install');
  assert.equal(again.code, 1);
  assert.match(again.err, /heddle upgrade changes what is installed/);

  const upgraded = await heddle('upgrade', '--set', 'controlPlane.replicas=2');
  assert.equal(upgraded.code, 0, upgraded.err);
  const cni = await cluster.client.get(KINDS.daemonSet, { namespace: NAMESPACE, name: 'heddle-cni' });
  assert.match(JSON.stringify(cni.spec), /"10\.0\.0\.5"/, 'values of before are kept');

  const beside = await heddle('install', '--revision', 'r2');
  assert.equal(beside.code, 0, beside.err);
  assert.ok(await isThere(KINDS.deployment, 'heddle-injector-r2', NAMESPACE));
  const refused = await heddle('uninstall');
  assert.equal(refused.code, 1);
  assert.match(refused.err, /heddle uninstall --revision r2/);
  assert.ok(await isThere(KINDS.deployment, 'heddle-injector', NAMESPACE));

  await cluster.namespace('labelled', { 'heddle.dev/inject': 'enabled' });
  assert.equal((await heddle('uninstall', '--revision', 'r2')).code, 0);
  const gone = await heddle('uninstall');
  assert.equal(gone.code, 0, gone.err);
  assert.match(gone.err, /in labelled have no sidecar/);
  assert.equal(await isThere(KINDS.mutatingWebhook, 'heddle-injector'), false);
  assert.ok(await isThere(KINDS.daemonSet, 'heddle-cni', NAMESPACE), 'the pod network stays');
  assert.ok(await isThere(KINDS.customResourceDefinition, 'trafficpolicies.heddle.dev'));

  const absent = await heddle('upgrade');
  assert.equal(absent.code, 1);
  assert.match(absent.err, /heddle install makes one/);
});

test("Heddle's kinds are brought up to date by an upgrade", async () => {
  assert.equal((await heddle('install')).code, 0);
  const name = 'mtlspolicies.heddle.dev';
  const old = { spec: { names: { shortNames: ['old'] } } };
  await cluster.client.patch(KINDS.customResourceDefinition, { name }, { type: 'merge', body: old });
  assert.equal((await heddle('upgrade')).code, 0);
  const crd = await cluster.client.get(KINDS.customResourceDefinition, { name });
  assert.match(JSON.stringify(crd.spec), /"shortNames":\["mtls"\]/);
});

test('with the pod network everything but the kinds and the roots goes', async () => {
  const { code, out, err } = await heddle('uninstall', '--cni');
  assert.equal(code, 0, err);
  assert.match(out, /daemonset\/heddle-cni removed/);
  assert.equal(await isThere(KINDS.daemonSet, 'heddle-cni', NAMESPACE), false);
  assert.equal(await isThere(KINDS.service, 'kube-dns', 'kube-system'), false);
  assert.ok(await isThere(KINDS.customResourceDefinition, 'trafficpolicies.heddle.dev'));
});

const SLIPS: readonly (readonly [string, readonly string[], number, RegExp])[] = [
  ['another namespace', ['install', '-n', 'mesh'], 2, /lives in the namespace heddle-system/],
  ['a value without a value', ['install', '--set', 'cni.mode'], 2, /write NAME=VALUE/],
  ['a value that nobody knows', ['install', '--skip-checks', '--set', 'cni.moed=x'], 1, /'moed' not allowed/],
  ['a timeout for nothing', ['install', '--timeout', '5m'], 2, /--timeout is for --wait/],
  ['a timeout that is no time', ['install', '--wait', '--timeout', 'long'], 2, /90s or 10m/],
  ['a revision that can not be', ['upgrade', '--revision', '1.2'], 2, /--revision must be/],
  ['a context that is not there', ['check', '--pre', '--context', 'nope'], 3, /no context "nope"/],
  ['a misspelt option', ['install', '--dryrun'], 2, /did you mean "--dry-run"/],
  ['the network of a revision', ['uninstall', '--cni', '--revision', 'r2'], 2, /doesn't go with --revision/],
  ['a check of a context that is not there', ['check', '--context', 'x'], 3, /no context "x"/],
  ['options of the mesh with --pre', ['check', '--pre', '--name', 'x'], 2, /--name doesn't go with --pre/],
  ['something in the way', ['install', '--set', 'dns.clusterIP=10.43.0.10'], 1, /nothing was installed/],
];
for (const [what, args, code, says] of SLIPS) {
  test(`${what} is told, with exit code ${code}`, async () => {
    const ran = await heddle(...args);
    assert.equal(ran.code, code, ran.err);
    assert.match(ran.err, says);
  });
}

test('without helm, without a kubeconfig and without an API server it is said what to do', async () => {
  const bare = await heddleWith({ KUBECONFIG: cluster.kubeconfig, PATH: '/nowhere' }, ['install']);
  assert.equal(bare.code, 1);
  assert.match(bare.err, /no helm in PATH: install Helm .* --helm FILE/);
  const lost = await heddleWith({ PATH: '/nowhere' }, ['check', '--pre']);
  assert.equal(lost.code, 3);
  assert.match(lost.err, /no kubeconfig \S+\/\.kube\/config: give one with --kubeconfig/);
});
