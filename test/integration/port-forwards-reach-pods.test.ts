import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { type ClusterLink, dialDashboard } from '../../cli/client/cluster-mesh.ts';
import {
  type Forward,
  forwardConnectionsMax,
  forwardDashboard,
  forwardPortTriesMax,
  podLookMs,
} from '../../cli/client/forward.ts';
import { fetchText } from '../../cli/client/mesh.ts';
import { systemClock } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import { connectKubernetes, type KubernetesClient } from '../../sources/kubernetes/client.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { DIAL_TIMEOUT_MS, SEND_BUFFER_BYTES_MAX } from '../../sources/kubernetes/pod-stream.ts';
import { dialThrough, podDialer } from '../../sources/kubernetes/port-forward.ts';
import { FakeApi } from '../support/kubernetes/fake-api.ts';
import { type HttpApi, serveApi } from '../support/kubernetes/http.ts';
import { kubeconfig, putControlPlane, putInstallation } from '../support/kubernetes/installed.ts';
import { type Forwarding, PortForwards } from '../support/kubernetes/port-forwards.ts';
import { leakCheck } from '../support/leak-check.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { eventually } from '../support/wait.ts';

leakCheck();

const NAMESPACE = 'heddle-system';
const FIRST = 'heddle-control-plane-1';
const SECOND = 'heddle-control-plane-2';

let folder: string;
let file: string;
let api: FakeApi;
let served: HttpApi;
let forwards: PortForwards;
let client: KubernetesClient;
let link: ClusterLink;
/** By pod; 'gone' where a pod isn't named. */
let leads: Map<string, Forwarding>;
let app: http.Server;
let forward: Forward | undefined;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-forward-'));
  file = join(folder, 'kubeconfig');
  api = new FakeApi([KINDS.service, KINDS.pod, KINDS.deployment, KINDS.daemonSet]);
  putInstallation(api);
  putControlPlane(api, SECOND);
  leads = new Map();
  forwards = new PortForwards((pod) => leads.get(pod) ?? { status: 404 });
  served = await serveApi(api, forwards);
  writeFileSync(file, kubeconfig(served.server));
  client = await connectKubernetes({ kubeconfig: file, context: undefined });
  link = { client, dial: await podDialer(file, undefined, systemClock) };
});

after(async () => {
  client.close();
  await served.close();
  rmSync(folder, { recursive: true });
});

afterEach(async () => {
  await forward?.close();
  forward = undefined;
  forwards.close();
  app?.closeAllConnections();
  await new Promise<void>((resolve) => (app === undefined ? resolve() : app.close(() => resolve())));
  putControlPlane(api, FIRST);
  putControlPlane(api, SECOND);
  leads.clear();
});

/** What listens inside the pods. */
async function pods(listener: http.RequestListener, ...names: readonly string[]): Promise<void> {
  app = http.createServer(listener);
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  const { port } = app.address() as net.AddressInfo;
  for (const name of names) leads.set(name, { host: '127.0.0.1', port });
}

const dial = (pod = FIRST) => link.dial({ namespace: NAMESPACE, pod, port: 15080 });

test('a request goes to the port of the pod and its answer comes back whole', async () => {
  const body = 'x'.repeat(3 * 1024 * 1024);
  await pods((request, response) => response.end(`${request.url} ${request.headers.host} ${body}`), FIRST);
  const { status, text } = await fetchText('http://127.0.0.1:15080/api?x=1', { connection: await dial() });
  assert.equal(status, 200);
  assert.equal(text, `/api?x=1 127.0.0.1:15080 ${body}`);
  assert.ok(forwards.asked.includes(`${FIRST}:15080`));
  await eventually(() => forwards.open === 0, { deadlineMs: 5_000, what: 'the WebSocket is closed' });
});

test('a body is carried to the pod, also one of several frames', async () => {
  await pods((request, response) => {
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.byteLength;
    });
    request.on('end', () => response.end(String(bytes)));
  }, FIRST);
  const body = { text: 'y'.repeat(2 * 1024 * 1024) };
  const { text } = await fetchText('http://127.0.0.1:15080/', { connection: await dial(), body });
  assert.equal(Number(text), JSON.stringify(body).length);
});

test('a reader who is slow holds the pod up, and loses nothing', async () => {
  const chunk = Buffer.alloc(256 * 1024, 'z');
  const chunks = 200;
  let written = 0;
  await pods((_, response) => {
    const more = () => {
      while (written < chunks) {
        written++;
        if (!response.write(chunk)) return void response.once('drain', more);
      }
      response.end();
    };
    more();
  }, FIRST);
  const stream = await dial();
  stream.write('GET / HTTP/1.0\r\n\r\n');
  await eventually(() => stream.readableLength > 0, { deadlineMs: 5_000, what: 'it answers' });
  let last = -1;
  let quiet = 0;
  // Until the pod writes no more, since nobody reads.
  await eventually(
    () => {
      quiet = written === last ? quiet + 1 : 0;
      last = written;
      return quiet >= 30;
    },
    { deadlineMs: 15_000, what: 'the pod is held up' },
  );
  assert.ok(written < chunks, `${written} of ${chunks} parts were taken from the pod`);
  let bytes = 0;
  for await (const part of stream) bytes += (part as Buffer).byteLength;
  assert.ok(bytes >= chunks * chunk.byteLength);
});

const REFUSALS: readonly (readonly [string, Forwarding, string, RegExp])[] = [
  ['nobody may forward', { status: 403 }, 'port-forward', /right to get and create pods\/portforward/],
  ['the pod is gone', { status: 404 }, 'port-forward', /heddle-control-plane-1 is gone/],
  ['the API server fails', { status: 500 }, 'port-forward', /with 500/],
];
for (const [what, to, code, message] of REFUSALS) {
  test(`where ${what} that is said`, async () => {
    leads.set(FIRST, to);
    await assert.rejects(dial(), (thrown: unknown) => {
      assert.ok(thrown instanceof HeddleError);
      assert.equal(thrown.code, code);
      assert.match(thrown.message, message);
      return true;
    });
  });
}

test("what kubelet can't reach is told in its words", async () => {
  leads.set(FIRST, { error: 'the pod is not running' });
  await assert.rejects(
    dial(),
    /port 15080 of pod heddle-system\/heddle-control-plane-1 .*: the pod is not running/,
  );
  const closed = net.createServer();
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const { port } = closed.address() as net.AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  leads.set(FIRST, { host: '127.0.0.1', port });
  const asking = async () => fetchText('http://127.0.0.1:15080/', { connection: await dial() });
  await assert.rejects(asking, /ECONNREFUSED/);
});

test('an API server that says nothing is given up, and one that comes late is let go of', async () => {
  const clock = new VirtualClock();
  const opening = Promise.withResolvers<never>();
  let terminated = 0;
  const late = { ...{ readyState: 1, bufferedAmount: 0, onclose: null }, terminate: () => void terminated++ };
  const dialing = dialThrough(() => opening.promise, clock)({ namespace: NAMESPACE, pod: FIRST, port: 1 });
  const failing = assert.rejects(dialing, /within 15 s/);
  await clock.advance(DIAL_TIMEOUT_MS);
  await failing;
  opening.resolve(late as never);
  await eventually(() => terminated === 1, { deadlineMs: 1_000, what: 'the late one is ended' });
});

test('a control plane that takes no connection is passed over', async () => {
  await pods((_, response) => response.end('here'), SECOND);
  const { pod, stream } = await dialDashboard(link, FIRST);
  stream.destroy();
  assert.equal(pod, SECOND);
});

test('where Heddle is not installed, or none is ready, that is said with what to do', async () => {
  for (const name of [FIRST, SECOND]) putControlPlane(api, name, false);
  await assert.rejects(dialDashboard(link), (thrown: unknown) => {
    assert.ok(thrown instanceof HeddleError);
    assert.equal(thrown.code, 'unreachable');
    return /no pod of heddle-control-plane is ready \(2 there\): kubectl/.test(thrown.message);
  });
  const empty = { ...link, client: { ...client, get: notFound, list: client.list.bind(client) } };
  await assert.rejects(dialDashboard(empty), /Heddle is not installed/);
});

async function notFound(): Promise<never> {
  return client.get(KINDS.service, { namespace: NAMESPACE, name: 'absent' }) as Promise<never>;
}

test('the dashboard is carried to a port of this machine, and to another pod once the first is gone', async () => {
  await pods((_, response) => response.end('dashboard'), FIRST, SECOND);
  const told: string[] = [];
  const failures: string[] = [];
  forward = await forwardDashboard({
    ...{ link, port: 0, clock: systemClock },
    onPod: (pod) => told.push(pod),
    onFailure: (message) => failures.push(message),
  });
  const url = `http://127.0.0.1:${forward.port}/`;
  assert.equal((await fetchText(url)).text, 'dashboard');
  assert.deepEqual(told, [FIRST]);
  leads.delete(FIRST);
  putControlPlane(api, FIRST, false);
  forwards.drop(FIRST);
  assert.equal((await fetchText(url)).text, 'dashboard');
  assert.deepEqual(told, [FIRST, SECOND]);
  assert.deepEqual(failures, []);
  putControlPlane(api, SECOND, false);
  const { status, text } = await fetchText(url);
  assert.equal(status, 503);
  assert.match(text, /no pod of heddle-control-plane is ready/);
});

test('a port that is taken is left to whoever has it', async () => {
  const taken = net.createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as net.AddressInfo;
  try {
    forward = await forwardDashboard({
      ...{ link, port, clock: systemClock, onPod: () => undefined, onFailure: () => undefined },
    });
    assert.ok(forward.port > port);
  } finally {
    await new Promise((resolve) => taken.close(resolve));
  }
});

test('a range of ports that are all taken is said', async () => {
  const first = 24_000;
  const taken = Array.from({ length: forwardPortTriesMax }, () =>
    net.createServer().on('error', () => undefined),
  );
  // One that somebody else has already is as good.
  await Promise.all(
    taken.map(
      (server, index) =>
        new Promise<void>((resolve) => {
          server.once('error', () => resolve());
          server.listen(first + index, '127.0.0.1', resolve);
        }),
    ),
  );
  try {
    const quiet = { onPod: () => undefined, onFailure: () => undefined };
    await assert.rejects(forwardDashboard({ ...quiet, link, port: first, clock: systemClock }), {
      code: 'port-conflict',
    });
  } finally {
    await Promise.all(
      taken
        .filter((server) => server.listening)
        .map((server) => new Promise((resolve) => server.close(resolve))),
    );
  }
});

test('connections to a pod that is not ready any more are ended, and too many are dropped', async () => {
  await pods(() => undefined, FIRST, SECOND);
  const clock = new VirtualClock();
  forward = await forwardDashboard({
    ...{ link, port: 0, clock, onPod: () => undefined, onFailure: () => undefined },
  });
  const { port } = forward;
  let closed = 0;
  const dialled = Array.from({ length: forwardConnectionsMax + 1 }, () => {
    const socket = net.connect({ port, host: '127.0.0.1' });
    socket.on('error', () => undefined);
    socket.once('close', () => closed++);
    return socket;
  });
  await eventually(() => closed === 1 && forwards.open === forwardConnectionsMax, {
    ...{ deadlineMs: 15_000, what: 'all but one are carried' },
  });
  putControlPlane(api, FIRST, false);
  await clock.advance(podLookMs);
  await eventually(() => closed === dialled.length, { deadlineMs: 10_000, what: 'they are ended' });
});

test('what the WebSocket has not sent yet holds the writer up', async () => {
  const clock = new VirtualClock();
  const socket = {
    ...{ readyState: 1, bufferedAmount: SEND_BUFFER_BYTES_MAX + 1, onclose: null, sent: 0 },
    ...{
      pause: () => undefined,
      resume: () => undefined,
      close: () => undefined,
      terminate: () => undefined,
      ping: () => undefined,
      on: () => undefined,
    },
    send: () => void socket.sent++,
  };
  const stream = await dialThrough(async () => socket, clock)({ namespace: NAMESPACE, pod: FIRST, port: 1 });
  let written = 0;
  for (let part = 0; part < 3; part++) stream.write('x', () => written++);
  await clock.advance(1_000);
  assert.deepEqual([socket.sent, written], [1, 0]);
  socket.bufferedAmount = SEND_BUFFER_BYTES_MAX;
  await clock.advance(1_000);
  assert.deepEqual([socket.sent, written], [3, 3]);
  stream.destroy();
});
