import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Client, type ServiceError, status } from '@grpc/grpc-js';
import { CHANNEL_OPTIONS, controlPlaneCredentials } from '../../common/ca/control-plane-tls.ts';
import { systemClock } from '../../common/clock.ts';
import { PORTS, SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import { createAuthority } from '../../control-plane/ca/authority.ts';
import { SIBLING_SERVICE } from '../../control-plane/traces/sibling-service.ts';
import { siblingAnswerMs } from '../../control-plane/traces/siblings.ts';
import { recordOf } from '../../model/read/meta.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { emptyCluster } from '../bench/cluster-objects.ts';
import type { FakeApi } from '../support/kubernetes/fake-api.ts';
import { type HttpApi, serveApi } from '../support/kubernetes/http.ts';
import { kubeconfig, READY } from '../support/kubernetes/installed.ts';
import { PortForwards } from '../support/kubernetes/port-forwards.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import type { ControlPlanePorts } from './mesh/harness.ts';
import { askPage } from './mesh/pages.ts';
import { type HeddleProcess, startProcess } from './mesh/processes.ts';

leakCheck();

const STARTS_MS = 30_000;
const TOLD_MS = 15_000;
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COMPILE_CACHE = join(ROOT, 'node_modules/.cache/heddle');
/** Replicas share a port; the addresses keep test files apart, which run as processes of their own. */
const HOST = { 'cp-a': `127.247.${process.pid % 250}.1`, 'cp-b': `127.247.${process.pid % 250}.2` } as const;
type Name = keyof typeof HOST;

let folder: string;
let api: FakeApi;
let served: HttpApi;
let a: Replica;
let b: Replica;

interface Replica {
  readonly name: Name;
  readonly process: HeddleProcess;
  readonly ports: ControlPlanePorts;
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-replicas-'));
  api = emptyCluster();
  for (const name of ['cp-a', 'cp-b'] as const) putPod(name);
  const labels = { 'app.kubernetes.io/name': 'heddle-control-plane' };
  api.put(KINDS.service, {
    metadata: { name: 'heddle-control-plane', namespace: SYSTEM_NAMESPACE },
    spec: { selector: labels, ports: [{ port: PORTS.controlPlane }] },
  });
  const forwards = new PortForwards((pod) => ({
    ...{ host: '127.0.0.1', port: (pod === 'cp-a' ? a : b).ports.dashboard },
  }));
  served = await serveApi(api, forwards);
  writeFileSync(join(folder, 'kubeconfig'), kubeconfig(served.server));
  // One after the other: the first makes the root.
  a = await start('cp-a');
  b = await start('cp-b');
  // The same trace: who sent the request told a, who served it told b.
  await send(a, 'web', {
    traceId: TRACE,
    spanId: SENT,
    kind: 3,
    attributes: [tag('url.full', 'http://cart/')],
  });
  await send(b, 'cart', { traceId: TRACE, spanId: SERVED, parentSpanId: SENT, kind: 2 });
});

after(async () => {
  for (const replica of [a, b]) replica?.process.child.kill('SIGCONT');
  await Promise.all([a, b].map((replica) => replica?.process.stop()));
  await served?.close();
  rmSync(folder, { recursive: true, force: true });
});

function putPod(name: Name): void {
  const labels = { 'app.kubernetes.io/name': 'heddle-control-plane' };
  api.put(KINDS.pod, {
    metadata: { name, namespace: SYSTEM_NAMESPACE, labels },
    spec: { serviceAccountName: 'heddle-control-plane', containers: [{ name: 'control-plane' }] },
    status: { phase: 'Running', podIP: HOST[name], podIPs: [{ ip: HOST[name] }], conditions: [READY] },
  });
}

async function start(name: Name): Promise<Replica> {
  const portsFile = join(folder, `${name}.ports`);
  const free = ['otlp-grpc', 'otlp-http', 'dashboard', 'metrics'].flatMap((port) => [`--${port}-port`, '0']);
  const child = startProcess(
    'control-plane/main.ts',
    [
      ...['--kubernetes', '--kubeconfig', join(folder, 'kubeconfig'), '--replica', name],
      ...['--state-dir', join(folder, name), '--ports-file', portsFile, ...free],
      ...['--listen', HOST[name], '--dashboard-listen', '127.0.0.1'],
    ],
    {},
  );
  let ports: ControlPlanePorts | undefined;
  const listens = () => {
    if (child.exited()) throw new Error(`it ended: ${child.output()}`);
    try {
      ports = JSON.parse(readFileSync(portsFile, 'utf8')) as ControlPlanePorts;
    } catch {
      return false;
    }
    return true;
  };
  await eventually(listens, { deadlineMs: STARTS_MS, what: `${name} listens` });
  if (ports === undefined) throw new Error('there are no ports');
  return { name, process: child, ports };
}

const TRACE = '1a'.repeat(16);
const SENT = '2b'.repeat(8);
const SERVED = '3c'.repeat(8);
const tag = (key: string, stringValue: string) => ({ key, value: { stringValue } });

async function send({ name, ports }: Replica, service: string, span: object): Promise<void> {
  const startTimeUnixNano = `${Date.now()}000000`;
  const spans = [{ name: 'GET /', startTimeUnixNano, endTimeUnixNano: startTimeUnixNano, ...span }];
  const resource = { attributes: [tag('service.name', service)] };
  const body = JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ spans }] }] });
  const headers = { 'content-type': 'application/json' };
  const url = `http://${HOST[name]}:${ports.otlpHttp}/v1/traces`;
  assert.equal((await askPage(url, { method: 'POST', headers, body })).status, 200);
}

interface Listed {
  readonly items: readonly { readonly traceId: string; readonly spans: number; readonly errors: number }[];
  readonly missing: readonly { readonly replica: string; readonly message: string }[];
}

/** What a replica's dashboard answers; `any`, as the test looks at few fields of several shapes. */
async function ask<T>({ ports }: Replica, path: string): Promise<T> {
  const page = await askPage(`http://127.0.0.1:${ports.dashboard}${path}`);
  assert.equal(page.status, 200, page.body);
  return JSON.parse(page.body) as T;
}

const list = (replica: Replica, query = '') => ask<Listed>(replica, `/api/heddle/traces${query}`);

/** Once both know of each other's pods and can reach each other. */
async function isWhole(replica: Replica): Promise<void> {
  await eventually(
    async () => {
      const { items, missing } = await list(replica);
      return missing.length === 0 && items.some(({ traceId, spans }) => traceId === TRACE && spans === 2);
    },
    { deadlineMs: TOLD_MS, what: `${replica.name} shows all of the trace` },
  );
}

test("each replica's dashboard shows a trace whose spans went to both, whole", async () => {
  for (const replica of [a, b]) {
    await isWhole(replica);
    assert.equal((await list(replica, '?service=cart')).items[0]?.spans, 2, 'found by one part of it');
    const trace = await ask<{ data: { spans: { spanID: string }[] }[]; errors: null }>(
      replica,
      `/api/traces/${TRACE}`,
    );
    assert.deepEqual(trace.data[0]?.spans.map(({ spanID }) => spanID).sort(), [SENT, SERVED]);
    assert.equal(trace.errors, null);
    assert.deepEqual((await ask<{ data: string[] }>(replica, '/api/services')).data, ['cart', 'web']);
  }
});

test('who calls whom, and why a request went its way, is known to the replica that was told half of it', async () => {
  for (const replica of [a, b]) {
    const { edges } = await ask<{ edges: { caller: string; callee: string; requests: number }[] }>(
      replica,
      '/api/heddle/graph?window=5m',
    );
    assert.deepEqual(
      edges.map(({ caller, callee, requests }) => [caller, callee, requests]),
      [['web', 'cart', 1]],
    );
    const { recorded } = await ask<{ recorded: { spanId: string } }>(
      replica,
      `/api/heddle/explain?trace=${TRACE}`,
    );
    assert.equal(recorded.spanId, SENT);
  }
});

test('a page that is open on one replica hears of spans that another is sent', async () => {
  const request = http.get({
    host: '127.0.0.1',
    port: a.ports.dashboard,
    path: '/api/heddle/events',
    agent: false,
  });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let text = '';
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const told = () => text.split('event: traces').length - 1;
  // What there is when somebody begins to watch is told once.
  await eventually(() => told() > 0, { deadlineMs: TOLD_MS, what: 'the page is told what there is' });
  const before = told();
  await send(b, 'stock', { traceId: '4d'.repeat(16), spanId: '5e'.repeat(8), kind: 2 });
  await eventually(() => told() > before, { deadlineMs: TOLD_MS, what: 'the page is told of the new span' });
  request.destroy();
  response.destroy();
});

/** Asks as somebody with this identity, or with no certificate. */
async function askAs(uri: string | undefined): Promise<number> {
  const secret = api
    .objects()
    .find(({ kind, metadata }) => kind === 'Secret' && metadata.name === 'heddle-ca');
  const part = (key: string) => Buffer.from(String(recordOf(secret?.data)[key]), 'base64').toString();
  const root = { certificatePem: part('tls.crt'), privateKeyPem: part('tls.key') };
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const authority = createAuthority(root, systemClock);
  const issue = (name: string) => ({
    certificateChainPem: authority.issue({ publicKey: createPublicKey(privateKey), uri: name, ttlMs: 60_000 })
      .certificatePem,
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  });
  const own = uri === undefined ? undefined : issue(uri);
  const credentials = controlPlaneCredentials('cluster.local', root.certificatePem, own);
  const client = new Client(`${HOST['cp-b']}:${PORTS.controlPlane}`, credentials, CHANNEL_OPTIONS);
  const { path, requestSerialize, responseDeserialize } = SIBLING_SERVICE.ask;
  const question = Buffer.from(JSON.stringify({ kind: 'services' }));
  const code = await new Promise<number>((resolve) => {
    const deadline = Date.now() + 5_000;
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, question, { deadline }, (error) =>
      resolve((error as ServiceError | null)?.code ?? status.OK),
    );
  });
  client.close();
  return code;
}

test('a control plane is told traces, and no workload of the mesh, nor whoever has no certificate', async () => {
  const id = (namespace: string, account: string) => `spiffe://cluster.local/ns/${namespace}/sa/${account}`;
  assert.equal(await askAs(id('heddle-system', 'heddle-control-plane')), status.OK);
  for (const uri of [
    id('shop', 'web'),
    id('shop', 'heddle-control-plane'),
    id('heddle-system', 'heddle-injector'),
  ])
    assert.equal(await askAs(uri), status.PERMISSION_DENIED, uri);
  assert.equal(await askAs(undefined), status.PERMISSION_DENIED);
});

test('what a silent replica keeps is said to be missing, is waited for once, and is there again with it', async () => {
  await isWhole(a);
  b.process.child.kill('SIGSTOP');
  const missing = [{ replica: 'cp-b', message: `it gave no answer within ${siblingAnswerMs} ms` }];
  const first = await list(a);
  assert.deepEqual(first.missing, missing);
  assert.equal(first.items.find(({ traceId }) => traceId === TRACE)?.spans, 1);
  const startedMs = performance.now();
  const { errors } = await ask<{ errors: { msg: string }[] }>(a, `/api/traces/${TRACE}`);
  assert.ok(performance.now() - startedMs < siblingAnswerMs / 2, 'it is not waited for again');
  assert.match(errors[0]?.msg ?? '', /the traces of replica cp-b are missing: it gave no answer/);
  const absent = await askPage(`http://127.0.0.1:${a.ports.dashboard}/api/traces/${'f'.repeat(32)}`);
  assert.equal(absent.status, 503, 'the silent one may have it');
  b.process.child.kill('SIGCONT');
  await isWhole(a);
});

async function heddle(...args: readonly string[]) {
  const child = spawn(
    process.execPath,
    [join(ROOT, 'cli/main.ts'), ...args, '--kubeconfig', join(folder, 'kubeconfig')],
    {
      env: { PATH: process.env.PATH, HOME: folder, NODE_COMPILE_CACHE: COMPILE_CACHE },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, err };
}

test('heddle traces shows a whole trace by whichever replica it reaches', async () => {
  await isWhole(a);
  await isWhole(b);
  const listed = await heddle('traces', '--service', 'cart', '-o', 'json');
  assert.equal(listed.code, 0, listed.err);
  assert.equal(listed.err, '');
  assert.equal((JSON.parse(listed.out) as Listed).items[0]?.spans, 2);
  const shown = await heddle('traces', TRACE.slice(0, 8));
  assert.equal(shown.code, 0, shown.err);
  assert.match(shown.out, /web .*\n.*cart /);
});

test('a replica that has ended is named while its pod is there, and forgotten with it', async () => {
  await b.process.stop('SIGKILL');
  const { missing } = await list(a);
  assert.deepEqual(missing, [{ replica: 'cp-b', message: "it can't be reached" }]);
  // Nobody serves its dashboard either: the command goes to the one that does.
  api.put(KINDS.pod, { ...podOf('cp-b'), status: { ...recordOf(podOf('cp-b').status), conditions: [] } });
  const listed = await heddle('traces', '-o', 'json');
  assert.equal(listed.code, 0, listed.err);
  assert.match(listed.err, /the traces of replica cp-b are missing: it can't be reached/);
  api.delete(KINDS.pod, { namespace: SYSTEM_NAMESPACE, name: 'cp-b' });
  await eventually(async () => (await list(a)).missing.length === 0, {
    ...{ deadlineMs: TOLD_MS, what: 'the replica is forgotten' },
  });
});

function podOf(name: Name) {
  const found = api.objects().find(({ kind, metadata }) => kind === 'Pod' && metadata.name === name);
  if (found === undefined) throw new Error(`there is no pod ${name}`);
  return found;
}
