import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { findHelm } from './chart/helm.ts';
import { IMAGES } from './cluster/parts.ts';
import { KubernetesCluster } from './support/cluster.ts';
import { assertNothingLeft } from './support/machine-state.ts';
import { startMeshedCluster } from './support/mesh.ts';

leakCheck();

const ENTRY = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const HA_VALUES = fileURLToPath(new URL('../../charts/heddle/values-ha.yaml', import.meta.url));
const COMMAND_MS = 240_000;
const rolloutMs = 120_000;
/** In a load of this length everything that happens must fit in, on a busy machine as well. */
const loadSeconds = 90;
const loadCallsMin = 40;

const SHOP = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {heddle.dev/inject: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: ${IMAGES.tool}
        command: [/bin/sh, -c, 'mkdir /tmp/web; echo shop > /tmp/web/index.html; exec httpd -f -p 8080 -h /tmp/web']
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: shop}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec:
      containers: [{name: client, image: ${IMAGES.tool}, command: [/bin/sleep, '100000']}]
---
apiVersion: heddle.dev/v1alpha1
kind: MTLSPolicy
metadata: {name: strict, namespace: shop}
spec: {mode: STRICT}
`;

/** Calls by name, one after the other: DNS, both sidecars and a Service are asked each time. Ends where a file says so. */
const LOAD = `ok=0; bad=0; end=$(($(date +%s)+${loadSeconds}))
while [ $(date +%s) -lt $end ] && [ ! -e /tmp/enough ]; do
  if wget -q -O /dev/null http://web/ 2>/tmp/why; then ok=$((ok+1)); else bad=$((bad+1)); cat /tmp/why; fi
  sleep 0.05
done; echo "$ok $bad"`;

let cluster: KubernetesCluster;
before(async () => {
  cluster = await startMeshedCluster(2);
  await cluster.apply(SHOP);
  for (const name of ['web', 'client'])
    await cluster.kubectl(
      ['rollout', 'status', `deployment/${name}`, '--namespace=shop', `--timeout=${rolloutMs}ms`],
      { timeoutMs: rolloutMs * 2 },
    );
});
after(async () => {
  await cluster?.stop();
  await assertNothingLeft(`t${process.pid}-`);
});
KubernetesCluster.logsAfterFailures(() => cluster);

async function heddle(...args: readonly string[]): Promise<string> {
  // helm keeps a cache at home; the cluster's folder goes with it.
  const env = { HOME: dirname(cluster.kubeconfig), KUBECONFIG: cluster.kubeconfig };
  const child = spawn(process.execPath, [ENTRY, ...args], {
    env: { ...env, PATH: `${dirname(findHelm())}:${process.env.PATH}` },
    timeout: COMMAND_MS,
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  const [code] = await once(child, 'close');
  assert.equal(code, 0, text);
  return text;
}

function inClient(script: string, timeoutMs: number): Promise<string> {
  const place = { namespace: 'shop', name: 'deployment/client', container: 'client' };
  return cluster.exec(place, ['/bin/sh', '-c', script], { timeoutMs });
}

/** Every call of the load succeeds while `task` runs. */
async function withoutLosses(task: () => Promise<void>): Promise<void> {
  const load = inClient(LOAD, loadSeconds * 2_000);
  try {
    await task();
  } finally {
    await inClient('sleep 2; touch /tmp/enough', COMMAND_MS);
  }
  const said = await load;
  await inClient('rm /tmp/enough', COMMAND_MS);
  const [ok = 0, bad = -1] = (said.trim().split('\n').at(-1) ?? '').split(' ').map(Number);
  assert.equal(bad, 0, said);
  assert.ok(ok >= loadCallsMin, `only ${ok} calls`);
}

test('an upgrade of everything, to replicas and with new agents on every node, loses no call', async () => {
  await withoutLosses(async () => {
    const said = await heddle('upgrade', '-f', HA_VALUES, '--set', 'cni.logLevel=debug', '--wait');
    assert.match(said, /STATUS: deployed/);
  });
  const { spec } = await cluster.get(['deployment', 'heddle-control-plane', '--namespace=heddle-system']);
  assert.equal((spec as { readonly replicas: number }).replicas, 2);
});

test('uninstalling loses no call, and pods go on talking by name', async () => {
  await withoutLosses(async () => {
    assert.match(await heddle('uninstall', '--wait'), /in shop have no sidecar/);
  });
  const left = await cluster.kubectl([
    'get',
    'deployments,daemonsets',
    '--namespace=heddle-system',
    '-o',
    'name',
  ]);
  assert.equal(left.trim(), 'daemonset.apps/heddle-cni');
  assert.equal(
    (await inClient('wget -q -O - http://web.shop.svc.cluster.local/', COMMAND_MS)).trim(),
    'shop',
  );
});

test('pods are created without a sidecar then, and reach each other', async () => {
  await cluster.kubectl(['delete', 'mtlspolicy/strict', '--namespace=shop']);
  for (const name of ['web', 'client'])
    await cluster.kubectl(['rollout', 'restart', `deployment/${name}`, '--namespace=shop']);
  for (const name of ['web', 'client'])
    await cluster.kubectl(
      ['rollout', 'status', `deployment/${name}`, '--namespace=shop', `--timeout=${rolloutMs}ms`],
      { timeoutMs: rolloutMs * 2 },
    );
  const sidecars = '-o=jsonpath={.items[*].spec.initContainers[*].name}';
  await eventually(
    async () => (await cluster.kubectl(['get', 'pods', '--namespace=shop', sidecars])) === '',
    {
      deadlineMs: rolloutMs,
      what: 'the pods of before are gone, and those of now have no sidecar',
    },
  );
  assert.equal((await inClient('wget -q -O - http://web/', COMMAND_MS)).trim(), 'shop');
});

test('a new installation takes over what stayed: the root, the network and the pods', async () => {
  const root = await cluster.get(['secret', 'heddle-ca', '--namespace=heddle-system']);
  const values = ['--set', `apiServerHost=${cluster.node(1).ip4},apiServerPort=6443`];
  await withoutLosses(async () => {
    await heddle('install', ...values, '--set', 'image.registry=localhost,image.tag=test', '--wait');
  });
  const again = await cluster.get(['secret', 'heddle-ca', '--namespace=heddle-system']);
  assert.deepEqual(again.data, root.data);
});
