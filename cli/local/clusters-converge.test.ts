import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { parseManifests } from '../../sources/files/parse.ts';
import { FakeChildren, FakeNetwork } from '../../test/support/cluster-fakes.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { MemoryNetwork } from '../../test/support/memory-net.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { at, textAt } from '../kube/fields.ts';
import { podStatus } from '../output/columns.ts';
import { Cluster, podsPerNodeMax } from './cluster.ts';

leakCheck();

let root: string;
let clock: VirtualClock;
let children: FakeChildren;
let network: FakeNetwork;
let cluster: Cluster;

function start(nodes = 2): void {
  clock = new VirtualClock();
  children = new FakeChildren();
  network = new FakeNetwork(new MemoryNetwork().dialer);
  cluster = new Cluster({
    ...{ clock, dialer: new MemoryNetwork().dialer, nodes, runtimeDirectory: join(root, 'runtime') },
    host: {
      ...{ clock, children, network },
      ...{ podsDirectory: join(root, 'pods'), logsDirectory: join(root, 'logs') },
      ...{ workingDirectory: root, machineEnvironment: {}, rootFile: join(root, 'root.pem') },
      token: () => 'token',
      sidecar: () => ({ command: 'proxy', args: [], env: {} }),
    },
    webhook: () => undefined,
    onChange: () => undefined,
  });
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-cluster-'));
  mkdirSync(join(root, 'runtime'));
  start();
});
afterEach(async () => {
  const closed = cluster.close();
  await clock.advance(60_000);
  await closed;
  rmSync(root, { recursive: true, force: true });
});

const object = (
  kind: string,
  name: string,
  spec: JsonValue,
  more: Record<string, JsonValue> = {},
): KubeObject => ({
  apiVersion: kind === 'Deployment' ? 'apps/v1' : kind === 'Job' ? 'batch/v1' : 'v1',
  kind,
  metadata: { name, namespace: 'shop' },
  spec,
  ...more,
});
const template = (
  command: string,
  container: Record<string, JsonValue> = {},
  spec: Record<string, JsonValue> = {},
) => ({
  metadata: { labels: { app: 'web' } },
  spec: { containers: [{ name: 'app', command: [command], ...container }], ...spec },
});
const web = (replicas: number, command = 'v1', container: Record<string, JsonValue> = {}) =>
  object('Deployment', 'web', {
    replicas,
    selector: { matchLabels: { app: 'web' } },
    template: template(command, container),
  });

/** What the runtime file holds. */
function runtime(kind: string): readonly KubeObject[] {
  const text = readFileSync(join(root, 'runtime', 'runtime.yaml'), 'utf8');
  return parseManifests(text, 'runtime')
    .objects.map((one) => one.object)
    .filter((one) => one.kind === kind);
}
const commands = () =>
  children.started
    .filter((child) => child.running())
    .map((child) => child.spec.command)
    .toSorted();

async function apply(...objects: KubeObject[]): Promise<void> {
  cluster.setObjects(objects);
  await clock.advance(1_000);
}

test('a Deployment gets its pods, spread over the nodes, and its status', async () => {
  await apply(web(3));
  assert.deepEqual(commands(), ['v1', 'v1', 'v1']);
  const pods = runtime('Pod');
  assert.deepEqual(pods.map((pod) => textAt(pod.spec, 'nodeName')).toSorted(), [
    'node-1',
    'node-1',
    'node-2',
  ]);
  assert.ok(pods.every((pod) => /^web-[0-9a-f]{10}-[a-z0-9]{5}$/.test(pod.metadata.name)));
  assert.equal(new Set(pods.map((pod) => textAt(pod.status, 'podIP'))).size, 3);
  const [deployment] = runtime('Deployment');
  assert.equal(at(deployment?.status, 'readyReplicas'), 3);
  assert.equal(at(deployment?.status, 'conditions', 0, 'status'), 'True');
  assert.deepEqual(cluster.deployments(), [{ name: 'shop/web', wanted: 3, ready: 3, trouble: undefined }]);
  assert.equal(cluster.settled(), true);
});

test('scaling makes and ends pods, and leaves the others alone', async () => {
  await apply(web(1));
  const [first] = runtime('Pod');
  await apply(web(3));
  assert.equal(commands().length, 3);
  await apply(web(1));
  assert.equal(commands().length, 1);
  assert.equal(children.started.length, 3, 'none was started twice');
  await apply(web(0));
  assert.deepEqual(commands(), []);
  assert.equal(network.held.size, 0);
  assert.ok(first !== undefined);
});

test('a changed template replaces the pods, and a changed ConfigMap does not', async () => {
  await apply(web(2), object('ConfigMap', 'settings', null, { data: { a: '1' } }));
  await apply(web(2), object('ConfigMap', 'settings', null, { data: { a: '2' } }));
  assert.equal(children.started.length, 2);
  await apply(web(2, 'v2'));
  await clock.advance(5_000);
  assert.deepEqual(commands(), ['v2', 'v2']);
});

test('an update never has fewer ready pods than asked for', async () => {
  await apply(web(3));
  let least = 3;
  for (let step = 0; step < 200; step++) {
    if (step === 0) cluster.setObjects([web(3, 'v2')]);
    await clock.advance(20);
    const ready = runtime('Pod').filter((pod) => at(pod.status, 'conditions', 3, 'status') === 'True').length;
    least = Math.min(least, ready);
  }
  assert.deepEqual(commands(), ['v2', 'v2', 'v2']);
  assert.equal(least, 3);
});

test('a pod that never becomes ready stops the update, and the old pods serve on', async () => {
  await apply(web(2));
  await apply(web(2, 'v2', { readinessProbe: { tcpSocket: { port: 1 } } }));
  await clock.advance(120_000);
  assert.deepEqual(commands(), ['v1', 'v1', 'v2']);
  const [state] = cluster.deployments();
  assert.match(state?.trouble ?? '', /readiness probe: port 1/);
});

test('a crash loop shows its reason in the pod and in the Deployment', async () => {
  await apply(web(1));
  for (const child of children.started) child.exit(7);
  await clock.advance(100);
  const [pod] = runtime('Pod');
  assert.ok(pod !== undefined);
  assert.equal(podStatus(pod), 'CrashLoopBackOff');
  assert.match(cluster.deployments()[0]?.trouble ?? '', /ended with exit code 7/);
});

test('a deleted Deployment takes its pods, their folders and logs along', async () => {
  await apply(web(2));
  const uid = runtime('Pod')[0]?.metadata.uid ?? '';
  assert.ok(existsSync(join(root, 'logs')));
  await apply();
  assert.deepEqual(runtime('Pod'), []);
  assert.equal(existsSync(join(root, 'pods', uid)), false);
  assert.equal(network.held.size, 0);
});

test('init containers run one after the other, before the app', async () => {
  const init = ['first', 'second'].map((name) => ({ name, command: [name] }));
  const spec = { replicas: 1, template: template('main', {}, { initContainers: init }) };
  await apply(object('Deployment', 'web', spec));
  assert.deepEqual(commands(), ['first']);
  assert.equal(podStatus(runtime('Pod')[0] ?? web(0)), 'Pending');
  children.started.at(-1)?.exit(0);
  await clock.advance(100);
  assert.deepEqual(commands(), ['second']);
  children.started.at(-1)?.exit(0);
  await clock.advance(100);
  assert.deepEqual(commands(), ['main']);
});

test('a native sidecar starts before the app and ends after it', async () => {
  const sidecar = { name: 'side', command: ['side'], restartPolicy: 'Always' };
  await apply(object('Deployment', 'web', { template: template('main', {}, { initContainers: [sidecar] }) }));
  assert.deepEqual(commands(), ['main', 'side']);
  const [side, main] = children.started;
  assert.ok(side !== undefined && main !== undefined);
  main.stubborn = true;
  cluster.setObjects([]);
  await clock.advance(1_000);
  assert.deepEqual(main.signals, ['SIGTERM']);
  assert.deepEqual(side.signals, [], 'the sidecar serves the app to its end');
  main.exit(0);
  await clock.advance(100);
  assert.deepEqual(side.signals, ['SIGTERM']);
});

test('a Job is done after one success, and started again after a failure up to its limit', async () => {
  const job = (limit: number) =>
    object('Job', 'once', { backoffLimit: limit, template: template('job', {}, { restartPolicy: 'Never' }) });
  await apply(job(2));
  children.started.at(-1)?.exit(1);
  await clock.advance(100);
  assert.equal(children.started.length, 2);
  children.started.at(-1)?.exit(0);
  await clock.advance(100);
  assert.equal(textAt(runtime('Job')[0]?.status, 'conditions', 0, 'type'), 'Complete');
  assert.equal(
    podStatus(runtime('Pod').find((pod) => textAt(pod.status, 'phase') === 'Succeeded') ?? web(0)),
    'Completed',
  );
  assert.equal(network.held.size, 0, 'what has ended has no address');
  await apply(job(2), web(1));
  assert.equal(children.started.length, 3, 'a finished Job is not run again');
  await apply(
    object('Job', 'never', { backoffLimit: 1, template: template('bad', {}, { restartPolicy: 'Never' }) }),
  );
  for (let failures = 0; failures < 4; failures++) {
    for (const child of children.started) if (child.spec.command === 'bad') child.exit(1);
    await clock.advance(100);
  }
  assert.equal(children.started.filter((child) => child.spec.command === 'bad').length, 2);
  assert.equal(textAt(runtime('Job')[0]?.status, 'conditions', 0, 'type'), 'Failed');
});

test('a bare Pod keeps its name and is made anew when it changes', async () => {
  const pod = (command: string) =>
    object('Pod', 'alone', { containers: [{ name: 'app', command: [command] }] });
  await apply(pod('v1'));
  assert.equal(runtime('Pod')[0]?.metadata.name, 'alone');
  await apply(pod('v2'));
  assert.deepEqual(commands(), ['v2']);
});

test('a pod waits for its ServiceAccount, and the Deployment says so', async () => {
  const deployment = object('Deployment', 'web', {
    template: template('main', {}, { serviceAccountName: 'web' }),
  });
  await apply(deployment);
  assert.deepEqual(commands(), []);
  assert.match(
    textAt(runtime('Deployment')[0]?.status, 'conditions', 0, 'message') ?? '',
    /ServiceAccount "web" doesn't exist in namespace shop/,
  );
  await apply(deployment, object('ServiceAccount', 'web', null));
  assert.deepEqual(commands(), ['main']);
});

test('a pod of a labelled namespace waits for the webhook', async () => {
  const labelled: KubeObject = {
    ...{ apiVersion: 'v1', kind: 'Namespace' },
    metadata: { name: 'shop', labels: { 'heddle.dev/inject': 'enabled' } },
  };
  await apply(labelled, web(1));
  assert.deepEqual(commands(), []);
  assert.match(cluster.deployments()[0]?.trouble ?? '', /webhook isn't running yet/);
});

test('a pod that the network refuses says why and holds nothing', async () => {
  network.refused.set('web', 'shop/web fixes its port at 8080');
  await apply(web(1));
  const [pod] = runtime('Pod');
  assert.ok(pod !== undefined);
  assert.equal(podStatus(pod), 'PortConflict');
  assert.equal(textAt(pod.status, 'message'), 'shop/web fixes its port at 8080');
  assert.equal(network.held.size, 0);
});

test('a pod whose volume cannot be made says why', async () => {
  const spec = { volumes: [{ name: 'v', configMap: { name: 'nope' } }] };
  await apply(object('Deployment', 'web', { template: template('main', {}, spec) }));
  const [pod] = runtime('Pod');
  assert.ok(pod !== undefined);
  assert.equal(podStatus(pod), 'FailedMount');
  assert.match(textAt(pod.status, 'message') ?? '', /ConfigMap "nope" doesn't exist/);
});

test('a mesh is full at its pods a node, and says so', async () => {
  start(1);
  await apply(web(podsPerNodeMax + 5));
  assert.equal(runtime('Pod').length, podsPerNodeMax);
  assert.match(cluster.deployments()[0]?.trouble ?? '', /1 node of 110 pods each are full.*--nodes/);
});

test('Services are written with their endpoints', async () => {
  const service = object('Service', 'web', {
    selector: { app: 'web' },
    ports: [{ port: 80, targetPort: 8080 }],
  });
  await apply(web(1), service);
  const [slice] = runtime('EndpointSlice');
  assert.equal(at(slice, 'endpoints', 0, 'conditions', 'ready'), true);
  assert.match(textAt(runtime('Service')[0]?.spec, 'clusterIP') ?? '', /^10\.96\./);
});

test('nothing is written where nothing changed', async () => {
  await apply(web(1));
  const file = join(root, 'runtime', 'runtime.yaml');
  rmSync(file);
  await apply(web(1));
  assert.equal(existsSync(file), false);
});

test('closing ends every pod, and starts none again', async () => {
  await apply(web(3));
  const closed = cluster.close();
  await clock.advance(1_000);
  await closed;
  assert.deepEqual(children.running(), []);
  await clock.advance(600_000);
  assert.equal(children.started.length, 3);
});
