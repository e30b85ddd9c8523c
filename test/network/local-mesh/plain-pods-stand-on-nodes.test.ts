import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Shown } from '../../integration/local-mesh/run.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { eventually } from '../../support/wait.ts';
import { LaptopMesh } from './laptop-mesh.ts';

leakCheck();

const APP = fileURLToPath(new URL('./app.mjs', import.meta.url));

const MANIFESTS = `apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: demo}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      securityContext: {runAsUser: 4242, runAsGroup: 4243}
      containers:
      - name: web
        command: [node, app.mjs]
        env:
        - {name: SCRATCH, value: /scratch}
        - {name: NODE_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
        livenessProbe: {exec: {command: [test, -d, /scratch]}, periodSeconds: 1}
        volumeMounts: [{name: scratch, mountPath: /scratch}]
      volumes: [{name: scratch, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{name: http, port: 8080, targetPort: http}]
---
apiVersion: v1
kind: Pod
metadata: {name: host, namespace: demo}
spec:
  hostNetwork: true
  containers:
  - name: host
    command: [sh, -c, "sleep 300"]
`;

const toldMs = 10_000;

let mesh: LaptopMesh;
let pods: readonly Shown[];
before(async () => {
  mesh = new LaptopMesh('plain');
  mesh.write('app.mjs', readFileSync(APP, 'utf8'));
  mesh.write('demo.yaml', MANIFESTS);
  await mesh.stand();
  pods = await mesh.get('pods', 'demo');
});
after(() => mesh.close());

const webs = () => pods.filter((pod) => pod.metadata.name.startsWith('web-'));
const ipOf = (pod: Shown | undefined) => pod?.status.podIP ?? 'no address';
const self = (pod: Shown | undefined) => JSON.parse(mesh.laptop.curl(`http://${ipOf(pod)}:8080/self`));
const ask = (pod: Shown | undefined, url: string) =>
  JSON.parse(mesh.laptop.curl(`http://${ipOf(pod)}:8080/ask?url=${encodeURIComponent(url)}`));

test('pods stand on both nodes with addresses of their blocks, and nodes are shown', async () => {
  const [one, other] = webs().toSorted((a, b) => ipOf(a).localeCompare(ipOf(b)));
  assert.match(ipOf(one), /^10\.244\.1\.\d+$/);
  assert.match(ipOf(other), /^10\.244\.2\.\d+$/);
  assert.deepEqual([one?.spec.nodeName, other?.spec.nodeName], ['node-1', 'node-2']);
  const { out } = await mesh.heddle('get', 'nodes', '-o', 'wide');
  assert.match(
    out,
    /node-1 +Ready +\S+ +172\.31\.\d+\.11,fd10:245:\S+ +10\.244\.1\.0\/24,fd10:244:0:1::\/64/,
  );
});

test('a container has the names, files, user and rights that it asks for', () => {
  const [pod] = webs();
  const told = self(pod);
  assert.equal(told.hostname, pod?.metadata.name);
  assert.deepEqual([told.uid, told.gid, told.capabilities], [4242, 4243, '0000000000000000']);
  assert.match(told.resolvConf, /^nameserver 10\.96\.0\.10\nsearch demo\.svc\.cluster\.local /);
  assert.match(told.hosts, new RegExp(`^${ipOf(pod)}\t${pod?.metadata.name}$`, 'm'));
  assert.deepEqual(told.links, ['eth0', 'lo']);
  assert.match(told.env.NODE_IP, /^172\.31\.\d+\.1[12]$/);
  assert.equal(told.settings, 'EROFS', 'the kernel’s settings are none of its business');
  assert.equal(told.scratch, 'done');
  assert.ok(!told.sockets.includes(mesh.laptop.mesh), 'the sockets of the mesh are out of reach');
  assert.match(told.cgroup, /\/web$/);
  for (const name of ['http_proxy', 'HTTP_PROXY', 'HOST', 'PORT', 'NODE_USE_ENV_PROXY'])
    assert.equal(told.env[name], undefined, name);
});

test('pods reach each other across nodes by address and by name, and see who asks', () => {
  const [one, other] = webs();
  const seen = ask(one, `http://${ipOf(other)}:8080/self`);
  assert.equal(seen.status, 200, JSON.stringify(seen));
  assert.equal(JSON.parse(seen.text).client, ipOf(one));
  assert.equal(ask(one, 'http://web.demo:8080/').status, 200);
  assert.equal(ask(one, 'http://nobody.demo.svc.cluster.local:8080/').error, 'ENOTFOUND');
});

test('a published Service is reached from the laptop', async () => {
  const { out } = await mesh.heddle('get', 'services', '-n', 'demo', '-o', 'json');
  const port = JSON.parse(out).items[0].status.loadBalancer.ingress[0].ports[0].port;
  assert.equal(mesh.laptop.curl(`http://127.0.0.1:${port}/`), 'ok\n');
});

test('a pod of the node’s network has the node’s addresses', () => {
  const host = pods.find((pod) => pod.metadata.name === 'host');
  assert.match(ipOf(host), /^172\.31\.\d+\.1[12]$/);
});

test('a NetworkPolicy that can not be used is told with file and line by up, check and apply', async () => {
  const message = 'spec.ingress[0].from[0].ipBlock.cidr must be a CIDR';
  const file = join(mesh.manifests, 'policy.yaml');
  mesh.write(
    'policy.yaml',
    `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: slip, namespace: demo}
spec:
  podSelector: {matchLabels: {app: nobody}}
  ingress:
  - from:
    - ipBlock: {cidr: 10.0.0.0/33}
`,
  );
  const told = `policy.yaml:8: NetworkPolicy demo/slip: ${message}`;
  await eventually(() => mesh.output.includes(told), { deadlineMs: toldMs, what: 'up tells it' });
  const check = await mesh.heddle('check');
  assert.equal(check.code, 1);
  assert.match(check.out, /^problem NetworkPolicy demo\/slip: \S*policy\.yaml:8: spec\.ingress/m);
  const apply = await mesh.heddle('apply', '-f', file);
  assert.deepEqual([apply.code, apply.err.includes(message)], [1, true], apply.err);
  mesh.write('policy.yaml', readFileSync(file, 'utf8').replace('/33', '/8'));
  const mended = await mesh.heddle('apply', '-f', file);
  assert.deepEqual([mended.code, mended.err], [0, '']);
});
