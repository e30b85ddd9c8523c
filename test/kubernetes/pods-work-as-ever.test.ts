import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { objectsOf, recordOf, textOf } from '../../model/read/meta.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { IMAGES } from './cluster/parts.ts';
import { KubernetesCluster } from './support/cluster.ts';
import { DEMO_IMAGE_ARCHIVE, programsOf, serverOf } from './support/load.ts';
import { assertNothingLeft } from './support/machine-state.ts';
import { startMeshedCluster } from './support/mesh.ts';

leakCheck();

const readyMs = 180_000;
const podsAtOnce = 10;
const NAMESPACE = '--namespace=shop';
const STRICT = `
apiVersion: heddle.dev/v1alpha1
kind: MTLSPolicy
metadata: {name: strict, namespace: shop}
spec: {mode: STRICT}
`;
/** Metrics of an app on 8081, a TCP listener on 8082, and gRPC's health protocol on 8083. */
const APP = `
const http = require('node:http');
require('node:http2').createServer().on('stream', (stream, headers) => {
  console.log('asked', headers[':path']);
  const status = { ':status': 200, 'content-type': 'application/grpc+proto' };
  stream.respond(status, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  const serving = Buffer.from([0, 0, 0, 0, 2, 8, 1]);
  stream.end(serving);
}).listen(8083, '0.0.0.0');
http.createServer((_, response) => response.end('shop_orders_total 7\\n')).listen(8081, '0.0.0.0');
require('node:net').createServer((socket) => socket.end()).listen(8082, '0.0.0.0');
http.createServer((_, response) => response.end('hello')).listen(8080, '0.0.0.0');
console.log('the app listens');
process.on('SIGTERM', () => process.exit(0));
`;

let cluster: KubernetesCluster;
before(async () => {
  cluster = await startMeshedCluster(2, [], [DEMO_IMAGE_ARCHIVE]);
  await cluster.kubectl(['create', 'namespace', 'shop']);
  await cluster.kubectl(['label', 'namespace', 'shop', 'heddle.dev/inject=enabled']);
  await cluster.apply(STRICT);
  await cluster.apply([programsOf('shop'), ...serverOf('shop', 'server')]);
  const flags = [NAMESPACE, `--timeout=${readyMs}ms`];
  await cluster.kubectl(['rollout', 'status', 'deployment/server', ...flags], { timeoutMs: readyMs * 2 });
});
after(async () => {
  await cluster?.stop();
  await assertNothingLeft(`t${process.pid}-`);
});
KubernetesCluster.logsAfterFailures(() => cluster);

const ready = (what: string, condition = 'condition=Ready') =>
  cluster.waitFor(what, condition, { namespace: 'shop', timeoutMs: readyMs });

/** Asked in the pod `asking`. */
const lookUp = (name: string) =>
  cluster.exec({ namespace: 'shop', name: 'asking', container: 'asking' }, ['nslookup', name]);

async function ipOf(pod: string): Promise<string> {
  const { status } = await cluster.get([`pod/${pod}`, NAMESPACE]);
  return textOf(recordOf(status).podIP) ?? '';
}

test('a Job completes, its sidecar with it, and an init container reaches the mesh', async () => {
  await cluster.apply(`
apiVersion: batch/v1
kind: Job
metadata: {name: report, namespace: shop}
spec:
  template:
    spec:
      restartPolicy: Never
      initContainers:
      - {name: first, image: ${IMAGES.tool}, command: [wget, -q, -O, '-', 'http://server/']}
      containers:
      - {name: report, image: ${IMAGES.tool}, command: [wget, -q, -O, '-', 'http://server.shop/']}
`);
  await ready('job/report', 'condition=Complete');
  for (const container of ['first', 'report'])
    assert.equal(
      await cluster.kubectl(['logs', 'job/report', NAMESPACE, `--container=${container}`]),
      'server',
    );
  const { items } = await cluster.get(['pods', NAMESPACE, '--selector=job-name=report']);
  const [pod] = objectsOf(items);
  assert.equal(textOf(recordOf(pod?.status).phase), 'Succeeded');
});

test(`${podsAtOnce} pods at once all come up captured`, async () => {
  // Under STRICT the server answers nobody who comes past a sidecar.
  await cluster.apply(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: many, namespace: shop}
spec:
  replicas: ${podsAtOnce}
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: many
        image: ${IMAGES.tool}
        command: [/bin/sh, -c, 'until wget -q -O /tmp/said http://server/; do sleep 1; done; exec sleep 100000']
        readinessProbe: {exec: {command: [grep, -q, server, /tmp/said]}, periodSeconds: 1}
`);
  await cluster.kubectl(['rollout', 'status', 'deployment/many', NAMESPACE, `--timeout=${readyMs}ms`], {
    timeoutMs: readyMs * 2,
  });
  await cluster.kubectl(['delete', 'deployment/many', NAMESPACE]);
});

test('HTTP, TCP and gRPC probes work under STRICT, and Prometheus reads the app by 15020', async () => {
  await cluster.apply([
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        ...{ name: 'probed', namespace: 'shop', labels: { app: 'probed' } },
        annotations: { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '8081' },
      },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            ...{ name: 'app', image: 'localhost/heddle-demo-shop:dev', command: ['node', '-e', APP] },
            startupProbe: { grpc: { port: 8083 }, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 30 },
            readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1, timeoutSeconds: 5 },
            livenessProbe: { tcpSocket: { port: 8082 }, periodSeconds: 2, timeoutSeconds: 5 },
          },
        ],
      },
    },
  ]);
  await ready('pod/probed');
  // A startup probe comes first, so that Ready says of all three that they passed.
  const said = await cluster.kubectl(['logs', 'probed', NAMESPACE]);
  assert.match(said, /asked \/grpc\.health\.v1\.Health\/Check/);
  const ip = await ipOf('probed');
  const { metadata } = await cluster.get(['pod/probed', NAMESPACE]);
  assert.equal(recordOf(recordOf(metadata).annotations)['prometheus.io/port'], '15020');
  const scrape = ['curl', '-sS', '--max-time', '10', `http://${ip}:15020/metrics`];
  const metrics = await cluster.onNode(1, scrape);
  assert.match(metrics, /^shop_orders_total 7$/m);
  assert.match(metrics, /^heddle_/m);
});

test('the app itself refuses whoever comes without a certificate', async () => {
  const direct = ['curl', '-sS', '--max-time', '10', `http://${await ipOf('probed')}:8080/`];
  await assert.rejects(cluster.onNode(1, direct), /reset|Empty reply|Recv failure|refused/);
});

test('kubectl exec, logs and port-forward are what they were', async () => {
  const place = { namespace: 'shop', name: 'probed' };
  assert.equal((await cluster.exec(place, ['node', '-p', '6 * 7'])).trim(), '42');
  assert.match(await cluster.kubectl(['logs', 'probed', NAMESPACE]), /the app listens/);
  const forward = await cluster.forward(place, 8080);
  try {
    assert.equal(await (await fetch(`http://127.0.0.1:${forward.port}/`)).text(), 'hello');
  } finally {
    await forward.close();
  }
});

test('DNS finds Services, the pods of headless ones, and says what does not exist', async () => {
  await cluster.apply(`
apiVersion: v1
kind: Service
metadata: {name: each, namespace: shop}
spec: {clusterIP: None, selector: {app: server}, ports: [{port: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: asking, namespace: shop}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: asking, image: ${IMAGES.tool}, command: [/bin/sleep, '100000']}]
`);
  await ready('pod/asking');
  const service = await cluster.get(['service/server', NAMESPACE]);
  assert.ok(
    (await lookUp('server.shop.svc.cluster.local')).includes(textOf(recordOf(service.spec).clusterIP) ?? '?'),
  );
  const { items } = await cluster.get(['pods', NAMESPACE, '--selector=app=server']);
  const ips = objectsOf(items).map(({ status }) => textOf(recordOf(status).podIP) ?? '?');
  assert.equal(ips.length, 2);
  await eventually(
    async () => {
      const said = await lookUp('each.shop.svc.cluster.local');
      return ips.every((ip) => said.includes(ip));
    },
    { deadlineMs: readyMs, what: 'both pods of the headless Service are found' },
  );
  await assert.rejects(lookUp('nobody.shop.svc.cluster.local'), /NXDOMAIN|can't find|server can't/);
});

test("names outside the cluster are asked of the nodes' own nameserver", async () => {
  const program = fileURLToPath(new URL('support/outside-nameserver.ts', import.meta.url));
  const nameserver = spawn('nsenter', [`--net=${cluster.layout.world}`, '--', process.execPath, program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(nameserver, 'close');
  try {
    await once(nameserver.stdout, 'data');
    assert.match(await lookUp('outside.example'), /192\.0\.2\.7/);
    await assert.rejects(lookUp('nobody.example'), /NXDOMAIN|can't find|server can't/);
  } finally {
    nameserver.stdin.end();
    await ended;
  }
});

test('a NodePort leads clients outside to a permissive port', async () => {
  await cluster.apply(`
apiVersion: heddle.dev/v1alpha1
kind: MTLSPolicy
metadata: {name: open, namespace: shop}
spec: {selector: {matchLabels: {app: server}}, mode: STRICT, portModes: [{port: 8080, mode: PERMISSIVE}]}
`);
  const patch = '{"spec":{"type":"NodePort","ports":[{"port":80,"targetPort":8080,"nodePort":30081}]}}';
  await cluster.kubectl(['patch', 'service/server', NAMESPACE, '--patch', patch]);
  for (const number of [1, 2]) {
    const url = `http://${cluster.node(number).ip4}:30081/`;
    await eventually(
      async () =>
        (await cluster.inWorld(['curl', '-sS', '--max-time', '10', url]).catch(() => '')) === 'server',
      { deadlineMs: readyMs, what: `${url} answers` },
    );
  }
});
