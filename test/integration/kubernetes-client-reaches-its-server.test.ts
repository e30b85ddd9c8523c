import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { makeKeyAndRequest } from '../../common/ca/csr.ts';
import { systemClock } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import { silentLogger } from '../../common/log.ts';
import {
  connectKubernetes,
  type KubernetesClient,
  kubernetesClient,
} from '../../sources/kubernetes/client.ts';
import { podCredentials } from '../../sources/kubernetes/credentials.ts';
import { hasReason } from '../../sources/kubernetes/errors.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { watchClusterSettings } from '../../sources/kubernetes/settings.ts';
import { httpTransport } from '../../sources/kubernetes/transport.ts';
import { watchCluster } from '../../sources/kubernetes/watch.ts';
import { FakeApi } from '../support/kubernetes/fake-api.ts';
import { serveApi } from '../support/kubernetes/http.ts';
import { leakCheck } from '../support/leak-check.ts';
import { meshCa } from '../support/mesh-ca.ts';
import { eventually } from '../support/wait.ts';

leakCheck();

const ca = meshCa(systemClock);
const NODE = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' } };

let server: Server;
let port: number;
let folder: string;
let client: KubernetesClient | undefined;
/** Who the server knows. */
let tokens: ReadonlySet<string>;
let seen: {
  readonly authorization: string | undefined;
  readonly subject: string | undefined;
  readonly connection: number;
}[];

async function leaf(uri: string) {
  const { csrPem, privateKeyPem } = makeKeyAndRequest(uri);
  const { certificateChainPem } = await ca.requester(uri, 3_600_000, ['localhost'])(csrPem);
  return { key: privateKeyPem, cert: certificateChainPem };
}

before(async () => {
  const own = await leaf('spiffe://cluster.local/ns/kube-system/sa/apiserver');
  const connections = new Map<object, number>();
  server = createServer(
    { ...own, ca: ca.rootPem, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      const { socket } = request;
      if (!connections.has(socket)) connections.set(socket, connections.size);
      const { authorization } = request.headers;
      const subject = subjectOf(request);
      seen.push({ authorization, subject, connection: connections.get(socket) ?? -1 });
      const known = subject !== undefined || tokens.has(authorization ?? '');
      response.writeHead(known ? 200 : 401, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify(known ? NODE : { kind: 'Status', code: 401, reason: 'Unauthorized', message: 'who?' }),
      );
    },
  );
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  port = (server.address() as AddressInfo).port;
});

after(() => {
  server.closeAllConnections();
  server.close();
});

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-kubernetes-'));
  tokens = new Set(['Bearer first']);
  seen = [];
});

afterEach(() => {
  client?.close();
  client = undefined;
  rmSync(folder, { recursive: true, force: true });
});

function subjectOf({ socket }: IncomingMessage): string | undefined {
  const peer = socket as TLSSocket;
  return peer.authorized ? peer.getPeerCertificate().subjectaltname : undefined;
}

function put(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

function asPod(): KubernetesClient {
  put('ca.crt', ca.rootPem);
  put('token', 'first\n');
  put('namespace', 'shop');
  const env = { KUBERNETES_SERVICE_HOST: 'localhost', KUBERNETES_SERVICE_PORT: String(port) };
  const credentials = podCredentials(systemClock, env, folder);
  const { namespace } = credentials;
  return kubernetesClient({ transport: httpTransport(credentials), clock: systemClock, namespace });
}

/** A kubeconfig with one context, `here`. */
function kubeconfig(user: object, cluster: object = {}): string {
  const server = `https://localhost:${port}`;
  const authority = { 'certificate-authority-data': Buffer.from(ca.rootPem).toString('base64') };
  return put(
    'kubeconfig',
    JSON.stringify({
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'nowhere' },
      clusters: [{ name: 'c', cluster: { server, ...authority, ...cluster } }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'here', context: { cluster: 'c', user: 'u', namespace: 'bank' } }],
    }),
  );
}

const getNode = () => client?.get(KINDS.node, { name: 'n1' });

test('a pod goes by the files that kubelet renews, on a connection that is kept', async () => {
  client = asPod();
  assert.equal(client.namespace, 'shop');
  assert.deepEqual(await getNode(), NODE);
  await getNode();
  assert.equal(seen[1]?.connection, seen[0]?.connection);
  tokens = new Set(['Bearer second']);
  put('token', 'second\n');
  assert.deepEqual(await getNode(), NODE);
  assert.deepEqual(
    seen.map(({ authorization }) => authorization),
    ['Bearer first', 'Bearer first', 'Bearer first', 'Bearer second'],
  );
  tokens = new Set();
  await assert.rejects(
    async () => getNode(),
    (thrown) => hasReason(thrown, 'Unauthorized'),
  );
});

test('a server of another root is not believed', async () => {
  client = asPod();
  put('ca.crt', meshCa(systemClock).rootPem);
  await assert.rejects(
    async () => getNode(),
    (thrown) => {
      assert.ok(thrown instanceof HeddleError && thrown.code === 'kubernetes-unreachable');
      assert.match(thrown.message, /certificate/);
      return true;
    },
  );
  assert.equal(seen.length, 0);
});

test('who is no pod is told what to give', () => {
  assert.throws(() => podCredentials(systemClock, {}, folder), /give --kubeconfig FILE/);
});

test('a pod without a token says which file it lacks', async () => {
  client = asPod();
  rmSync(join(folder, 'token'));
  await assert.rejects(async () => getNode(), /token is missing/);
});

test('a kubeconfig brings a token, a client certificate or a program that has one', async () => {
  client = await connectKubernetes({ kubeconfig: kubeconfig({ token: 'first' }), context: 'here' });
  assert.equal(client.namespace, 'bank');
  assert.deepEqual(await getNode(), NODE);
  client.close();

  const uri = 'spiffe://cluster.local/ns/shop/sa/admin';
  const { key, cert } = await leaf(uri);
  const files = { 'client-certificate': put('tls.crt', cert), 'client-key': put('tls.key', key) };
  client = await connectKubernetes({ kubeconfig: kubeconfig(files), context: 'here' });
  await getNode();
  assert.match(seen.at(-1)?.subject ?? '', /sa\/admin/);
  client.close();

  const status = { token: 'second', expirationTimestamp: new Date(Date.now() + 600_000).toISOString() };
  const credential = { apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status };
  const command = put('plugin', `#!/bin/sh\necho '${JSON.stringify(credential)}'\n`);
  chmodSync(command, 0o755);
  tokens = new Set(['Bearer second']);
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command, interactiveMode: 'Never' };
  client = await connectKubernetes({ kubeconfig: kubeconfig({ exec }), context: 'here' });
  await getNode();
  assert.equal(seen.at(-1)?.authorization, 'Bearer second');
});

test('a kubeconfig that is changed while we run is read again once the server refuses', async () => {
  client = await connectKubernetes({ kubeconfig: kubeconfig({ token: 'first' }), context: 'here' });
  await getNode();
  tokens = new Set(['Bearer second']);
  kubeconfig({ token: 'second' });
  assert.deepEqual(await getNode(), NODE);
});

test('a kubeconfig that names nothing says what it has', async () => {
  const file = kubeconfig({ token: 'first' });
  const connect = (context?: string) => connectKubernetes({ kubeconfig: file, context });
  await assert.rejects(connect('there'), /no context "there" with a cluster \(it has: here\)/);
  await assert.rejects(connect(), /no context "nowhere"/);
  await assert.rejects(
    connectKubernetes({ kubeconfig: join(folder, 'none'), context: undefined }),
    (thrown) => thrown instanceof HeddleError && thrown.code === 'kubernetes-credentials',
  );
});

test('objects and settings are followed over real connections, through a restart', async () => {
  const api = new FakeApi([KINDS.service, KINDS.configMap]);
  const http = await serveApi(api);
  const settingsMap = (text: string) =>
    api.put(KINDS.configMap, {
      metadata: { namespace: 'mesh', name: 'heddle' },
      data: { 'mesh.yaml': text },
    });
  api.put(KINDS.service, { metadata: { namespace: 'shop', name: 'a' } });
  settingsMap('trustDomain: shop.example\n');
  const file = kubeconfig({ token: 'first' }, { server: http.server, 'insecure-skip-tls-verify': true });
  client = await connectKubernetes({ kubeconfig: file, context: 'here' });
  const deps = { client, clock: systemClock, log: silentLogger, onChange: () => undefined };
  const source = watchCluster({ ...deps, kinds: [{ kind: KINDS.service }] });
  const settings = await watchClusterSettings({ ...deps, namespace: 'mesh' });
  await source.synced;
  assert.equal(settings.current().settings.trustDomain, 'shop.example');

  const names = () => source.current().objects.map(({ object }) => object.metadata.name);
  api.restart();
  api.put(KINDS.service, { metadata: { namespace: 'shop', name: 'b' } });
  settingsMap('certificates: {leafTtl: soon}\n');
  await eventually(() => names().join() === 'a,b', { deadlineMs: 10_000, what: 'the Service is seen' });
  await eventually(() => settings.current().problems.length === 1, {
    deadlineMs: 10_000,
    what: 'the problem is told',
  });
  const [problem] = settings.current().problems;
  assert.equal(problem?.source, 'ConfigMap mesh/heddle mesh.yaml');
  assert.equal(problem?.line, 1);
  source.close();
  settings.close();
  await http.close();
});
