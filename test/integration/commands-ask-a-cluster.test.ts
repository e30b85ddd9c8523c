import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fetchText } from '../../cli/client/mesh.ts';
import { heddleVersion } from '../../cli/version.ts';
import { startAdmin } from '../../cni/agent/admin/server.ts';
import { systemClock } from '../../common/clock.ts';
import { SIDECAR, SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import { silentLogger } from '../../common/log.ts';
import type { KubeObject } from '../../model/objects.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { AgentWorld } from '../support/agent-world.ts';
import { FakeApi } from '../support/kubernetes/fake-api.ts';
import { type HttpApi, serveApi } from '../support/kubernetes/http.ts';
import { agentPod, kubeconfig, putInstallation, READY } from '../support/kubernetes/installed.ts';
import { PodCommands } from '../support/kubernetes/pod-commands.ts';
import { PortForwards } from '../support/kubernetes/port-forwards.ts';
import { leakCheck } from '../support/leak-check.ts';
import { networkPolicy } from '../support/policy-objects.ts';
import { eventually } from '../support/wait.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import { podObject } from './mesh/manifests.ts';

leakCheck();

const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const DIAL = fileURLToPath(new URL('../../cni/dial/main.ts', import.meta.url));
const COMPILE_CACHE = fileURLToPath(new URL('../../node_modules/.cache/heddle', import.meta.url));
const IMAGE = `r.example/heddle-proxy:${heddleVersion()}`;

let mesh: TestMesh;
let api: FakeApi;
let served: HttpApi;
let forwards: PortForwards;
let file: string;
let web: TestPod;
let agentSocket = '';

before(async () => {
  mesh = await startMesh();
  mesh.apply('shop.yaml', MANIFESTS);
  mesh.addService({
    ...{ namespace: 'shop', name: 'catalog' },
    port: 80,
    targetPort: 8080,
    selector: { app: 'catalog' },
  });
  web = await mesh.addPod({ namespace: 'shop', name: 'web' });
  const catalog = await mesh.addPod({ namespace: 'shop', name: 'catalog' });
  api = new FakeApi([
    ...[KINDS.service, KINDS.pod, KINDS.deployment, KINDS.daemonSet, KINDS.node, KINDS.namespace],
    ...[KINDS.configMap, KINDS.mutatingWebhook],
  ]);
  putInstallation(api, heddleVersion());
  api.put(KINDS.node, { metadata: { name: 'node-1' } });
  api.put(KINDS.namespace, { metadata: { name: 'shop', labels: { 'heddle.dev/inject': 'enabled' } } });
  for (const { record } of [web, catalog]) api.put(KINDS.pod, injected(podObject(record) as KubeObject));
  const pem = readFileSync(join(mesh.directory, 'state', 'root.pem'), 'utf8');
  api.put(KINDS.configMap, {
    metadata: { namespace: SYSTEM_NAMESPACE, name: 'heddle-trust-bundle' },
    data: { 'root.pem': pem },
  });
  putWebhook(pem);
  forwards = new PortForwards(() => ({ host: '127.0.0.1', port: mesh.ports().dashboard }));
  const commands = new PodCommands(() => ({ run: [process.execPath, DIAL, '--admin-socket', agentSocket] }));
  served = await serveApi(api, forwards, commands);
  file = join(mesh.directory, 'kubeconfig');
  writeFileSync(file, kubeconfig(served.server));
});

after(async () => {
  await served?.close();
  await mesh?.close();
});

const MANIFESTS = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {heddle.dev/inject: enabled}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: catalog, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: catalog, port: 80}]
  rules: [{backendRefs: [{name: catalog, port: 80}]}]
`;

/** As the webhook leaves a pod. */
function injected(pod: KubeObject): KubeObject {
  const spec = { ...(pod.spec as object), initContainers: [{ name: SIDECAR.container, image: IMAGE }] };
  return { ...pod, spec, status: { ...(pod.status as object), conditions: [READY] } } as KubeObject;
}

function putWebhook(pem: string): void {
  const webhook = {
    name: 'default.inject.heddle.dev',
    clientConfig: { caBundle: Buffer.from(pem).toString('base64') },
  };
  const configuration = { metadata: { name: 'heddle-injector' }, webhooks: [webhook] };
  api.put(KINDS.mutatingWebhook, configuration);
}

/** The command on a machine without a mesh of its own; `KUBECONFIG` as given. */
function start(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return spawn(process.execPath, [MAIN, ...args], {
    cwd: mesh.directory,
    env: {
      ...{ PATH: process.env.PATH, HOME: mesh.directory, NODE_COMPILE_CACHE: COMPILE_CACHE, ...env },
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function heddle(args: readonly string[], env?: Readonly<Record<string, string>>) {
  const child = start(args, env);
  const ran = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    ran.out += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    ran.err += chunk.toString();
  });
  const [code] = await once(child, 'close');
  return { code: code as number | null, ...ran };
}

const there = (...args: readonly string[]) => heddle([...args, '--kubeconfig', file]);

test("objects are shown as the cluster's control plane has them", async () => {
  const { code, out, err } = await there('get', 'httproute', '-n', 'shop', '-o', 'json');
  assert.equal(code, 0, err);
  assert.equal(err, '');
  assert.deepEqual(
    (JSON.parse(out) as { items: KubeObject[] }).items.map(({ metadata }) => metadata.name),
    ['catalog'],
  );
  const described = await there('describe', 'httproute', 'catalog', '-n', 'shop');
  assert.equal(described.code, 0, described.err);
  assert.match(described.out, /Accepted/);
});

test('a request is explained, and a trace shown as a waterfall', async () => {
  const explained = await there('explain', '--from', 'shop/web', 'http://catalog/items');
  assert.equal(explained.code, 0, explained.err);
  assert.match(explained.out, /catalog/);
  await web.client.request('http://catalog/items');
  let listed = { code: 1 as number | null, out: '', err: '' };
  await eventually(
    async () => {
      listed = await there('traces', '-o', 'json');
      return listed.code === 0 && (JSON.parse(listed.out) as { items: unknown[] }).items.length > 0;
    },
    { deadlineMs: 30_000, what: 'the trace is there' },
  );
  const [trace] = (JSON.parse(listed.out) as { items: { traceId: string }[] }).items;
  const shown = await there('traces', trace?.traceId ?? '');
  assert.equal(shown.code, 0, shown.err);
  assert.match(shown.out, /GET \/items|catalog/);
  assert.match(shown.out, /On the dashboard: heddle dashboard, then \/traces\//);
});

test('$KUBECONFIG is taken where no mesh runs here, and that is said', async () => {
  const { code, err, out } = await heddle(['get', 'svc', '-n', 'shop', '-o', 'name'], { KUBECONFIG: file });
  assert.equal(code, 0, err);
  assert.match(err, /asking Kubernetes, the current context of /);
  assert.match(out, /catalog/);
});

test('with nothing to ask the command ends with 3 and says what to do', async () => {
  const none = await heddle(['get', 'pods']);
  assert.equal(none.code, 3);
  assert.match(none.err, /heddle up DIR.*--kubeconfig FILE/);
  const missing = await heddle(['traces', '--context', 'prod']);
  assert.equal(missing.code, 3);
  assert.match(missing.err, /there is no kubeconfig/);
  const unknown = await there('traces', '--context', 'prod');
  assert.equal(unknown.code, 3);
  assert.match(unknown.err, /no context "prod"/);
  const both = await there('traces', '--name', 'x');
  assert.equal(both.code, 2);
});

for (const [args, instead] of [
  [['apply', '-f', 'shop.yaml', '-n', 'shop'], 'kubectl apply -f shop.yaml -n shop --context test'],
  [
    ['delete', 'httproute', 'catalog', '-n', 'shop'],
    'kubectl delete httproute catalog -n shop --context test',
  ],
  [['logs', 'web', '-f', '--tail', '5'], 'kubectl logs web --tail 5 -f --context test'],
  [['up', '.'], 'heddle install --context test'],
  [['down'], 'heddle uninstall --context test'],
] as const) {
  test(`${args[0]} of a cluster is left to another command, which is named`, async () => {
    const { code, err } = await heddle([...args, '--context', 'test'], { KUBECONFIG: file });
    assert.equal(code, 2);
    assert.ok(err.includes(`run: ${instead}\n`), err);
  });
}

test('check finds nothing wrong with a sound installation', async () => {
  const { code, out, err } = await there('check');
  assert.equal(code, 0, out + err);
  for (const line of [
    /note +mesh: Kubernetes, the current context/,
    /good +deployment heddle-system\/heddle-control-plane: 1 of 1 replicas ready/,
    /good +daemonset heddle-system\/heddle-cni: ready on 1 of 1 nodes/,
    /good +webhook heddle-injector: its caBundle is the trust bundle/,
    /good +root certificate: valid until/,
    /good +versions: everything is of/,
    /good +sidecars: 2 connected/,
    /good +routes and policies: 1 accepted/,
  ])
    assert.match(out, line);
});

test('check names what is wrong on a cluster, with the command that helps', async () => {
  api.put(KINDS.daemonSet, {
    metadata: { name: 'heddle-cni', namespace: SYSTEM_NAMESPACE },
    status: { desiredNumberScheduled: 1, numberReady: 0 },
  });
  putWebhook('');
  const alone = { ...web.record, name: 'alone', ip: '10.0.0.9', meshed: false };
  api.put(KINDS.pod, podObject(alone) as KubeObject);
  const lost = { ...web.record, name: 'lost', ip: '10.0.0.10' };
  api.put(KINDS.pod, injected(podObject(lost) as KubeObject));
  mesh.apply('bad.yaml', BAD_ROUTE);
  let ran = await there('check');
  await eventually(
    async () => {
      ran = await there('check');
      return /HTTPRoute shop\/bad/.test(ran.out);
    },
    { deadlineMs: 30_000, what: 'the route is judged' },
  );
  assert.equal(ran.code, 1, ran.err);
  for (const line of [
    /problem daemonset heddle-system\/heddle-cni: ready on 0 of 1 nodes; not on node-1/,
    /problem webhook heddle-injector: its caBundle is not the trust bundle/,
    /problem pod shop\/alone: has no sidecar/,
    /problem sidecar of shop\/lost: is not connected to the control plane/,
    /→ kubectl logs lost -n shop -c/,
    /problem HTTPRoute shop\/bad: .*there is no Service shop\/nowhere/,
  ])
    assert.match(ran.out, line);
  const one = await there('check', '-n', 'bank');
  assert.doesNotMatch(one.out, /shop\/alone/);
});

const BAD_ROUTE = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: bad, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: catalog, port: 80}]
  rules: [{matches: [{path: {value: /bad}}], backendRefs: [{name: nowhere, port: 80}]}]
`;

test('check tells what the agent of a node can not use of objects', async () => {
  const policy = { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: 'x' } }] }] };
  const world = new AgentWorld(systemClock, [networkPolicy('broken', policy)]);
  const socket = join(mesh.directory, 'agent.sock');
  const agent = await startAdmin({ socket, view: world, clock: systemClock, log: silentLogger });
  api.put(KINDS.pod, agentPod('heddle-cni-1', 'node-1'));
  agentSocket = socket;
  try {
    const { code, out } = await there('check');
    assert.equal(code, 1);
    assert.match(out, /good +pod network: 1 of 1 agents ready/);
    assert.match(out, /problem NetworkPolicy shop\/broken: .*ipBlock\.cidr must be a CIDR/);
  } finally {
    api.delete(KINDS.pod, { namespace: SYSTEM_NAMESPACE, name: 'heddle-cni-1' });
    await agent.close();
    world.drops.close();
  }
});

test("the dashboard is carried here until Ctrl-C, with the sidecars' own pages", async () => {
  const child = start(['dashboard', '--port', '0', '--kubeconfig', file]);
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  await eventually(() => /http:\/\/127\.0\.0\.1:\d+\n/.test(out), {
    ...{ deadlineMs: 30_000, what: 'the address is printed' },
  });
  const url = out.trim();
  assert.match((await fetchText(`${url}/`)).text, /<title>Heddle/);
  const stats = await fetchText(`${url}/proxies/shop/web/stats`);
  assert.equal(stats.status, 200, stats.text);
  const { controlPlane } = JSON.parse(stats.text) as { controlPlane?: unknown };
  assert.notEqual(controlPlane, undefined);
  assert.deepEqual(Object.keys(JSON.parse((await fetchText(`${url}/proxies/shop/web/logging`)).text)), [
    'level',
  ]);
  child.kill('SIGINT');
  const [code] = await once(child, 'close');
  assert.equal(code, 0);
});

test('a control plane that is gone is told, after what the API server still says', async () => {
  const pod = api.objects().find(({ metadata }) => metadata.name === 'heddle-control-plane-1');
  assert.ok(pod !== undefined);
  api.put(KINDS.pod, { ...pod, status: { phase: 'Running', conditions: [{ ...READY, status: 'False' }] } });
  const listed = await there('get', 'pods');
  assert.equal(listed.code, 3);
  assert.match(listed.err, /no pod of heddle-control-plane is ready/);
  const checked = await there('check');
  assert.equal(checked.code, 3);
  assert.match(checked.out, /deployment heddle-system\/heddle-injector: 1 of 1/);
  assert.match(checked.out, /problem control plane: no pod of heddle-control-plane is ready/);
});
