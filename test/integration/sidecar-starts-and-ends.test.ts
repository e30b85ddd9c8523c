import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { namespaceYaml, strictYaml } from './mesh/documents.ts';
import { sidecarReady, startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import { askPage } from './mesh/pages.ts';
import { startProcess } from './mesh/processes.ts';

leakCheck();

let mesh: TestMesh;
let web: TestPod;

before(async () => {
  mesh = await startMesh({ settings: 'drain: {grace: 3s}\n' });
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  mesh.apply('strict.yaml', strictYaml('shop'));
  for (const name of ['web', 'slow', 'stuck', 'stubborn', 'going', 'quitting']) {
    mesh.addService({ namespace: 'shop', name, port: 80, targetPort: 8080, selector: { app: name } });
  }
  web = await mesh.addPod({ namespace: 'shop', name: 'web' });
});

after(() => mesh?.close());

const health = (pod: TestPod) => askPage(`http://${pod.record.ip}:15021/healthz/ready`);
const admin = (pod: TestPod, path: string, method = 'GET') =>
  askPage(`http://${pod.record.ip}:15000${path}`, { method });

/** A pod whose app answers when it is told to. */
async function podThatWaits(
  name: string,
): Promise<{ pod: TestPod; answer: () => void; asked: () => number }> {
  const waiting: (() => void)[] = [];
  const pod = await mesh.addPod({
    namespace: 'shop',
    name,
    app: (_request, response) => waiting.push(() => response.end('at last')),
  });
  return {
    pod,
    answer: () => {
      for (const go of waiting) go();
    },
    asked: () => waiting.length,
  };
}

test('an environment that can not be used ends the process with 2, and every reason', async () => {
  const started = startProcess('proxy/main.ts', [], { HEDDLE_POD_IP: 'here', HEDDLE_CONCURRENCY: '4' });
  const [code] = await once(started.child, 'close');
  assert.equal(code, 2);
  for (const says of [
    /HEDDLE_CONTROL_PLANE is missing/,
    /HEDDLE_POD_IP must be an IP address, not "here"/,
    /HEDDLE_CONCURRENCY must be 1/,
  ]) {
    assert.match(started.output(), says);
  }
});

test('a port that is taken ends the process with 1, and is named', async () => {
  const holder = net.createServer();
  await new Promise<void>((resolve) => holder.listen(15_020, '127.244.249.250', resolve));
  try {
    const started = startProcess('proxy/main.ts', [], {
      ...{ HEDDLE_CONTROL_PLANE: `127.0.0.1:${mesh.ports().xds}`, HEDDLE_POD_NAME: 'x' },
      ...{ HEDDLE_POD_NAMESPACE: 'shop', HEDDLE_POD_IP: '127.244.249.250', HEDDLE_NODE_NAME: 'node-1' },
      ...{ HEDDLE_SERVICE_ACCOUNT: 'x', HEDDLE_TOKEN_FILE: '/nowhere', HEDDLE_ROOT_FILE: '/nowhere' },
      HEDDLE_CAPTURE: 'http-proxy',
    });
    const [code] = await once(started.child, 'close');
    assert.equal(code, 1);
    assert.match(started.output(), /the metrics port can't listen on 127\.244\.249\.250:15020: .*EADDRINUSE/);
  } finally {
    await new Promise((resolve) => holder.close(resolve));
  }
});

test('a sidecar without a control plane says what it waits for, and is ready once it comes', async () => {
  await mesh.controlPlane().stop('SIGKILL');
  const late = await mesh.startPod({ namespace: 'shop', name: 'late' });
  let said = '';
  await eventually(
    async () => {
      said = await health(late).then(
        ({ status, body }) => `${status} ${body}`,
        () => '',
      );
      return said !== '';
    },
    { deadlineMs: 15_000, what: 'the health port is open' },
  );
  assert.equal(said, '503 not ready: no certificate from the CA yet\n');
  await mesh.startControlPlane();
  await sidecarReady(late);
  await late.remove();
  // The others come back in their own time, and what they don't know yet can't be asked for before.
  await eventually(async () => (await connectedPods()).includes('shop/web'), {
    deadlineMs: 60_000,
    what: 'the client has rejoined the control plane',
  });
});

async function connectedPods(): Promise<readonly string[]> {
  const url = `http://127.0.0.1:${mesh.ports().dashboard}/api/heddle/proxies`;
  const answer = await fetch(url, { headers: { connection: 'close' } });
  const { items } = (await answer.json()) as { items: readonly { pod: string }[] };
  return items.map(({ pod }) => pod);
}

test('SIGTERM lets a request that is being served end, and the process with it', async () => {
  const { pod, answer, asked } = await podThatWaits('slow');
  const response = web.client.request('http://slow/');
  await eventually(() => asked() === 1, { deadlineMs: 10_000, what: 'the request is at the app' });
  const closed = once(pod.sidecar.child, 'close');
  pod.sidecar.child.kill('SIGTERM');
  await eventually(async () => (await health(pod)).status === 503, {
    deadlineMs: 5_000,
    what: 'the sidecar drains',
  });
  assert.equal((await health(pod)).body, 'not ready: draining\n');
  assert.equal(pod.sidecar.exited(), false);
  answer();
  const { status, body } = await response;
  assert.deepEqual([status, body], [200, 'at last']);
  const [code] = await closed;
  assert.equal(code, 0);
});

test('a second signal does not wait for grace to be over', async () => {
  const { pod, asked } = await podThatWaits('stuck');
  const hanging = web.client.request('http://stuck/', { method: 'POST', body: 'x' });
  await eventually(() => asked() === 1, { deadlineMs: 10_000, what: 'the request is at the app' });
  const closed = once(pod.sidecar.child, 'close');
  pod.sidecar.child.kill('SIGTERM');
  await eventually(async () => (await health(pod)).status === 503, {
    deadlineMs: 5_000,
    what: 'the sidecar drains',
  });
  pod.sidecar.child.kill('SIGINT');
  const [code] = await closed;
  assert.equal(code, 1, 'not the end that grace comes to');
  assert.equal((await hanging).status, 503);
});

test('what does not end within grace is cut', async () => {
  const { pod, asked } = await podThatWaits('stubborn');
  const hanging = web.client.request('http://stubborn/', { method: 'POST', body: 'x' });
  await eventually(() => asked() === 1, { deadlineMs: 10_000, what: 'the request is at the app' });
  const closed = once(pod.sidecar.child, 'close');
  const startedMs = performance.now();
  pod.sidecar.child.kill('SIGTERM');
  assert.equal((await closed)[0], 0);
  const tookMs = performance.now() - startedMs;
  assert.ok(tookMs > 2_900 && tookMs < 10_000, `grace is three seconds, it took ${Math.round(tookMs)} ms`);
  assert.equal((await hanging).status, 503);
  assert.equal(asked(), 1, 'a POST that was cut is not sent again');
});

test('a pod whose deletion begins drains at once and goes on serving', async () => {
  const pod = await mesh.addPod({ namespace: 'shop', name: 'going' });
  const before = await web.client.request('http://going/');
  assert.equal(before.status, 200);
  pod.terminate();
  await eventually(async () => (await health(pod)).status === 503, {
    deadlineMs: 10_000,
    what: 'the sidecar learns that its pod goes',
  });
  const own = await pod.client.request('http://web/');
  assert.deepEqual([own.status, own.body, own.headers.connection], [200, 'web', 'close']);
  const closed = once(pod.sidecar.child, 'close');
  pod.sidecar.child.kill('SIGTERM');
  assert.equal((await closed)[0], 0);
});

test('an operator drains and ends a sidecar by its admin port, and nobody by GET', async () => {
  const pod = await mesh.addPod({ namespace: 'shop', name: 'quitting' });
  assert.equal((await admin(pod, '/drain')).status, 405);
  assert.equal((await health(pod)).status, 200);
  assert.equal((await admin(pod, '/logging?level=debug', 'POST')).status, 200);
  assert.equal((await admin(pod, '/drain', 'POST')).status, 200);
  await eventually(async () => (await health(pod)).status === 503, { deadlineMs: 5_000, what: 'it drains' });
  assert.equal((await web.client.request('http://quitting/')).status, 200, 'a drained sidecar still serves');
  const closed = once(pod.sidecar.child, 'close');
  assert.equal((await admin(pod, '/quit', 'POST')).status, 200);
  assert.equal((await closed)[0], 0);
});
