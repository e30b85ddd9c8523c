import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { messageOf } from '../../common/errors.ts';
import { objectsOf, recordOf, textOf } from '../../model/read/meta.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { IMAGES } from './cluster/parts.ts';
import { KubernetesCluster } from './support/cluster.ts';
import { assertNothingLeft } from './support/machine-state.ts';
import { heddleImages, installChart } from './support/mesh.ts';

leakCheck();

const HEDDLE = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const rolloutMs = 120_000;
const loadMinRounds = 20;
const podsAdded = 4;
const podsOnFreshNode = 10;

/** A web server on each node, that says the name of its pod. */
const webOf = (namespace: string) => `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: ${namespace}}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web, namespace: ${namespace}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: ${IMAGES.tool}
        command: [/bin/sh, -c, 'mkdir /tmp/web; hostname > /tmp/web/index.html; exec httpd -f -p 8080 -h /tmp/web']
`;

interface WebPod {
  readonly name: string;
  readonly node: string;
  readonly ips: readonly string[];
}

let cluster: KubernetesCluster;
before(async () => {
  cluster = await KubernetesCluster.start({ nodes: 2, images: heddleImages() });
});
after(async () => {
  await cluster?.stop();
  await assertNothingLeft(`t${process.pid}-`);
});
KubernetesCluster.logsAfterFailures(() => cluster);

async function webPods(namespace: string): Promise<readonly WebPod[]> {
  const { items } = await cluster.get(['pods', `--namespace=${namespace}`, '--selector=app=web']);
  return objectsOf(items).map(({ metadata, spec, status }) => ({
    name: textOf(recordOf(metadata).name) ?? '',
    node: textOf(recordOf(spec).nodeName) ?? '',
    ips: objectsOf(recordOf(status).podIPs).map(({ ip }) => textOf(ip) ?? ''),
  }));
}

async function startWeb(namespace: string): Promise<readonly [WebPod, WebPod, string]> {
  await cluster.apply(webOf(namespace));
  await rollout(namespace, 'web');
  const [one, other] = await webPods(namespace);
  assert.ok(one !== undefined && other !== undefined && one.node !== other.node);
  const service = await cluster.get(['service', 'web', `--namespace=${namespace}`]);
  return [one, other, textOf(recordOf(service.spec).clusterIP) ?? ''];
}

async function rollout(namespace: string, name: string): Promise<void> {
  const flags = [`--namespace=${namespace}`, `--timeout=${rolloutMs}ms`];
  await cluster.kubectl(['rollout', 'status', `daemonset/${name}`, ...flags], { timeoutMs: rolloutMs * 2 });
}

const inPod = (namespace: string, name: string, script: string) =>
  cluster.exec({ namespace, name, container: 'web' }, ['/bin/sh', '-c', script], {
    timeoutMs: rolloutMs * 2,
  });
const asking = (address: string, port: number) =>
  `printf 'GET / HTTP/1.1\\r\\nHost: web\\r\\nConnection: close\\r\\n\\r\\n' | timeout 4 nc -w 3 ${address} ${port} | tail -n 1`;

test('the chart alone makes a node ready', async () => {
  const fresh = cluster.node(2);
  // It joins in the next test.
  await cluster.holdProgram(fresh, 'kubelet');
  await cluster.kubectl(['delete', 'node', fresh.name]);
  await installChart(cluster, [], [cluster.node(1)]);
  await cluster.waitFor('node/node-1', 'condition=Ready', { timeoutMs: rolloutMs });
});

test(`a node that joins makes itself ready, and ${podsOnFreshNode} pods that wait for it all come up captured`, async () => {
  const fresh = cluster.node(2);
  await cluster.apply(`
apiVersion: v1
kind: Namespace
metadata: {name: early, labels: {heddle.dev/inject: enabled}}
---
apiVersion: heddle.dev/v1alpha1
kind: MTLSPolicy
metadata: {name: strict, namespace: early}
spec: {mode: STRICT}
---
${webOf('early')}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: many, namespace: early}
spec:
  replicas: ${podsOnFreshNode}
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      nodeSelector: {kubernetes.io/hostname: ${fresh.name}}
      terminationGracePeriodSeconds: 1
      containers:
      - name: many
        image: ${IMAGES.tool}
        # Under STRICT nobody is answered who comes past a sidecar; a pod that isn't, ends.
        command: [/bin/sh, -c, 'wget -q -O /tmp/said http://web/ && exec sleep 100000']
        readinessProbe: {exec: {command: [grep, -q, web, /tmp/said]}, periodSeconds: 1}
`);
  cluster.letProgramGo(fresh, 'kubelet');
  const flags = ['--namespace=early', `--timeout=${rolloutMs}ms`];
  await cluster.kubectl(['rollout', 'status', 'deployment/many', ...flags], { timeoutMs: rolloutMs * 2 });
  const { items } = await cluster.get(['pods', '--namespace=early', '--selector=app=many']);
  const places = objectsOf(items).map(({ spec }) => textOf(recordOf(spec).nodeName));
  assert.deepEqual(places, Array(podsOnFreshNode).fill(fresh.name));
  await cluster.kubectl(['delete', 'namespace', 'early'], { timeoutMs: rolloutMs });
});

test('pods of both nodes reach each other by both families, Services and DNS', async () => {
  const [one, other, service] = await startWeb('default');
  assert.equal(other.ips.length, 2);
  for (const ip of other.ips) await inPod('default', one.name, `ping -c 1 -W 3 ${ip}`);
  assert.equal((await inPod('default', one.name, asking(other.ips[0] ?? '', 8080))).trim(), other.name);
  const answered = new Set<string>();
  await eventually(
    async () => {
      answered.add((await inPod('default', one.name, asking(service, 80))).trim());
      return answered.has(one.name) && answered.has(other.name);
    },
    { deadlineMs: rolloutMs, what: 'the Service leads to pods of both nodes' },
  );
  assert.equal(answered.size, 2);
  assert.match(
    await inPod('default', one.name, 'nslookup web.default.svc.cluster.local'),
    new RegExp(service),
  );
});

test('clients outside reach a NodePort at both nodes, and a hostPort at its own', async () => {
  const [one] = await webPods('default');
  const patch = '{"spec":{"type":"NodePort","ports":[{"port":80,"targetPort":8080,"nodePort":30080}]}}';
  await cluster.kubectl(['patch', 'service', 'web', '--patch', patch]);
  await cluster.apply(`
apiVersion: v1
kind: Pod
metadata: {name: at-host-port}
spec:
  nodeName: ${one?.node}
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: ${IMAGES.tool}
    command: [/bin/sh, -c, 'mkdir /tmp/web; hostname > /tmp/web/index.html; exec httpd -f -p 8080 -h /tmp/web']
    ports: [{containerPort: 8080, hostPort: 18080}]
`);
  await cluster.waitFor('pod/at-host-port', 'condition=Ready');
  const from = async (node: string, port: number) => {
    const at = [1, 2].map((number) => cluster.node(number)).find(({ name }) => name === node);
    return await cluster.inWorld(['curl', '-sS', '--max-time', '5', `http://${at?.ip4}:${port}/`]);
  };
  for (const node of ['node-1', 'node-2']) assert.match(await from(node, 30_080), /^web-/);
  assert.equal(await from(one?.node ?? '', 18_080), 'at-host-port\n');
});

test('while the DaemonSet restarts, no request and no question for a name fails, and pods are added', async () => {
  const [one, , service] = await startWeb('default');
  const load = inPod(
    'default',
    one.name,
    `rm -f /tmp/stop /tmp/failed; touch /tmp/failed; rounds=0
    while [ ! -e /tmp/stop ]; do
      rounds=$((rounds + 1))
      ${asking(service, 80)} | grep -q '^web-' || echo "request $(date +%T)" >> /tmp/failed
      timeout 2 nslookup web.default.svc.cluster.local > /dev/null || echo "name $(date +%T)" >> /tmp/failed
    done
    echo $rounds; cat /tmp/failed`,
  );
  await cluster.kubectl(['rollout', 'restart', 'daemonset/heddle-cni', '--namespace=heddle-system']);
  const extra = ['--image', IMAGES.tool, '--restart=Never', '--command', '--', '/bin/sleep', '3600'];
  for (let number = 1; number <= podsAdded; number++)
    await cluster.kubectl(['run', `extra-${number}`, ...extra]);
  await rollout('heddle-system', 'heddle-cni');
  for (let number = 1; number <= podsAdded; number++)
    await cluster.waitFor(`pod/extra-${number}`, 'condition=Ready');
  await inPod('default', one.name, 'touch /tmp/stop');
  const [rounds = '', ...failed] = (await load).trim().split('\n');
  assert.deepEqual(failed, []);
  assert.ok(Number(rounds) >= loadMinRounds, `${rounds} rounds`);
});

test('pods of a labelled namespace have a sidecar that is confirmed, and reach each other by it', async () => {
  await cluster.kubectl(['create', 'namespace', 'shop']);
  await cluster.kubectl(['label', 'namespace', 'shop', 'heddle.dev/inject=enabled']);
  const [one, other, service] = await startWeb('shop');
  const answered = new Set<string>();
  await eventually(
    async () => {
      const said = await inPod('shop', one.name, asking(service, 80));
      answered.add(said.trim().split('\n').at(-1) ?? '');
      return answered.has(one.name) && answered.has(other.name);
    },
    { deadlineMs: rolloutMs, what: 'the Service leads to pods of both nodes' },
  );
  const logs = await cluster.kubectl([
    ...['logs', '--namespace=heddle-system', '--selector=app.kubernetes.io/name=heddle-cni'],
    ...['--container=agent', '--tail=-1'],
  ]);
  assert.equal([...logs.matchAll(/"confirmed a sidecar"/g)].length, 2, logs);
});

test('a sidecar reaches the control plane whatever NetworkPolicy says', async () => {
  await cluster.apply(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: names-only, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{ports: [{protocol: UDP, port: 53}]}]
`);
  await cluster.kubectl(['rollout', 'restart', 'daemonset/web', '--namespace=shop']);
  // Without a certificate from the control plane a sidecar isn't ready, and its pod's containers don't start.
  await rollout('shop', 'web');
  const [one, other] = await webPods('shop');
  const direct = inPod('shop', one?.name ?? '', asking(other?.ips[0] ?? '', 8080));
  assert.doesNotMatch(await direct.catch(messageOf), /^web-/m, 'the policy is in force');
});

test('the agents of all nodes are asked from outside, and tell what they drop', async () => {
  const [one, other] = await webPods('shop');
  for (const { name, node } of [one, other].filter((pod) => pod !== undefined)) {
    // Nobody answers there, nor may be asked by the policy of before.
    await inPod('shop', name, 'nc -w 1 192.0.2.1 9 < /dev/null || true');
    await eventually(
      async () => (await heddle('drops', '-n', 'shop', '--node', node)).includes('192.0.2.1:9'),
      {
        ...{ deadlineMs: rolloutMs, what: `the agent of ${node} tells of a drop` },
      },
    );
  }
  const drops = await heddle('drops', '-n', 'shop', '-o', 'wide');
  const status = await heddle('cni', 'status');
  for (const node of ['node-1', 'node-2']) {
    assert.match(drops, new RegExp(`192\\.0\\.2\\.1:9/TCP .*shop/names-only +${node}`));
    assert.ok(status.includes(node), status);
  }
});

/** What `heddle` prints of this cluster. */
async function heddle(...args: readonly string[]): Promise<string> {
  const command = [HEDDLE, ...args, '--kubeconfig', cluster.kubeconfig];
  return (await promisify(execFile)(process.execPath, command, { timeout: rolloutMs })).stdout;
}
