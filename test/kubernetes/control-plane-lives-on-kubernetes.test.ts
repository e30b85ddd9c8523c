import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import type { JsonObject } from '../../common/json.ts';
import { TYPE } from '../../common/wire/types.ts';
import { objectsOf, recordOf, textOf } from '../../model/read/meta.ts';
import { connectKubernetes, type KubernetesClient } from '../../sources/kubernetes/client.ts';
import { KINDS, type KubeKind } from '../../sources/kubernetes/kinds.ts';
import { AdsClient, nodeIdOf } from '../integration/control-plane/ads-client.ts';
import { askPage } from '../integration/mesh/pages.ts';
import { leakCheck } from '../support/leak-check.ts';
import { CATALOG_KEY, policy, route } from '../support/small-mesh.ts';
import { eventually } from '../support/wait.ts';
import { CHART, render } from './chart/helm.ts';
import { locateParts } from './cluster/build.ts';
import { cacheFolder } from './cluster/layout.ts';
import { KubernetesCluster } from './support/cluster.ts';
import { ControlPlanes, type Replica } from './support/control-planes.ts';

leakCheck();

const TOLD_MS = 30_000;
const FAILOVER_MS = 60_000;
const QUIET_MS = 10_000;
const SHOP = { namespace: 'shop', serviceAccount: 'web' };

let cluster: KubernetesCluster;
let planes: ControlPlanes;
let client: KubernetesClient;
let a: Replica;
let b: Replica;
KubernetesCluster.logsAfterFailures(() => cluster);

before(async () => {
  cluster = await KubernetesCluster.start({ nodes: 0 });
  client = await connectKubernetes({ kubeconfig: cluster.kubeconfig, context: undefined }, systemClock);
  const gateway = join(locateParts(cacheFolder(process.env)).folders.conformance, 'crds');
  for (const name of ['httproutes', 'grpcroutes', 'referencegrants']) {
    const file = join(gateway, `gateway.networking.k8s.io_${name}.yaml`);
    await cluster.kubectl(['apply', '--server-side', '--filename', file]);
  }
  await cluster.kubectl(['apply', '--server-side', '--filename', join(CHART, 'crds')]);
  await cluster.apply([
    namespace('heddle-system'),
    namespace('shop', { 'heddle.dev/inject': 'enabled' }),
    {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { namespace: 'heddle-system', name: 'heddle-control-plane' },
    },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace: 'shop', name: 'web' } },
  ]);
  await cluster.apply(render('--show-only', 'templates/control-plane-rbac.yaml'));
  planes = new ControlPlanes(cluster);
  [a, b] = await Promise.all([planes.start('cp-a'), planes.start('cp-b')]);
});
after(async () => {
  await planes?.close();
  client?.close();
  await cluster?.stop();
});

function namespace(name: string, labels: Record<string, string> = {}): JsonObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

const find = (kind: KubeKind, ns: string, name: string) =>
  client.get(kind, { namespace: ns, name }).catch(() => undefined);

/** `Accepted True, Programmed Unknown`, of our entry of the first parent or ancestor. */
async function conditions(kind: KubeKind, name: string): Promise<string> {
  const object = await find(kind, 'shop', name);
  const { parents, ancestors } = recordOf(object?.status);
  const mine = objectsOf(parents ?? ancestors).find(
    ({ controllerName }) => controllerName === 'heddle.dev/mesh-controller',
  );
  return objectsOf(mine?.conditions)
    .map(({ type, status, observedGeneration }) => `${type} ${status} g${observedGeneration}`)
    .join(', ');
}

async function told(kind: KubeKind, name: string, wanted: string, deadlineMs = TOLD_MS): Promise<void> {
  let last = '';
  await eventually(
    async () => {
      last = await conditions(kind, name);
      return last === wanted;
    },
    { deadlineMs, what: `${kind.kind} ${name} has ${wanted}` },
  ).catch((thrown: unknown) => {
    throw new Error(`${String(thrown)}; it has "${last}"`);
  });
}

async function holder(): Promise<string> {
  const lease = await find(KINDS.lease, 'heddle-system', 'heddle-control-plane');
  return textOf(recordOf(lease?.spec).holderIdentity) ?? '';
}

async function addPod(name: string, ip: string): Promise<void> {
  await cluster.apply([
    {
      ...{ apiVersion: 'v1', kind: 'Pod' },
      metadata: { ...{ namespace: 'shop', name }, annotations: { 'heddle.dev/injected': 'true' } },
      spec: { serviceAccountName: 'web', containers: [{ name: 'app', image: 'app' }] },
    },
  ]);
  const status = { phase: 'Running', podIP: ip, podIPs: [{ ip }] };
  await client.patchStatus(KINDS.pod, { namespace: 'shop', name }, { type: 'merge', body: { status } });
}

const to = (backend: string, more: JsonObject = {}) =>
  ({
    ...route({
      ...{ namespace: 'shop', name: 'r', parent: 'shop/catalog' },
      rules: [{ backendRefs: [{ name: backend, port: 80 }] }],
    }),
    ...more,
  }) as JsonObject;
const serviceOf = (name: string): JsonObject => ({
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'shop', name } },
  spec: { selector: { app: name }, ports: [{ port: 80, targetPort: 8080 }] },
});

test('two replicas are ready, share one root, and one of them holds the lease', async () => {
  for (const { ports } of [a, b]) {
    assert.deepEqual((await askPage(`http://127.0.0.1:${ports.metrics}/readyz`)).status, 200);
  }
  await eventually(async () => ['cp-a', 'cp-b'].includes(await holder()), {
    ...{ deadlineMs: TOLD_MS, what: 'a replica holds the lease' },
  });
  const secret = await client.get(KINDS.secret, { namespace: 'heddle-system', name: 'heddle-ca' });
  const certificate = Buffer.from(textOf(recordOf(secret.data)['tls.crt']) ?? '', 'base64').toString();
  await eventually(async () => (await find(KINDS.configMap, 'shop', 'heddle-trust-bundle')) !== undefined, {
    ...{ deadlineMs: TOLD_MS, what: 'the namespace has the roots' },
  });
  assert.equal(await planes.roots('shop'), new X509Certificate(certificate).toString());
  for (const { process } of [a, b]) assert.doesNotMatch(process.output(), /PRIVATE KEY/);
});

test('a new namespace has the roots within a second, and loses them when it is no longer meshed', async () => {
  const has = async (name: string) =>
    (await find(KINDS.configMap, name, 'heddle-trust-bundle')) !== undefined;
  const tookMs: number[] = [];
  // The best of a few: the machine may be busy with something else.
  for (const name of ['late-1', 'late-2', 'late-3']) {
    const begun = performance.now();
    await client.create(KINDS.namespace, namespace(name, { 'heddle.dev/inject': 'enabled' }));
    await eventually(() => has(name), { deadlineMs: TOLD_MS, what: `namespace ${name} has the roots` });
    tookMs.push(performance.now() - begun);
  }
  assert.ok(Math.min(...tookMs) < 1_000, `${tookMs.join(', ')} ms`);
  await cluster.kubectl(['label', 'namespace', 'late-1', 'heddle.dev/inject-']);
  await eventually(async () => !(await has('late-1')), { deadlineMs: TOLD_MS, what: 'the roots are gone' });
});

test("edited roots are mended, and somebody else's ConfigMap is left alone", async () => {
  const whole = await planes.roots('shop');
  const ref = { namespace: 'shop', name: 'heddle-trust-bundle' };
  await client.patch(KINDS.configMap, ref, {
    type: 'merge',
    body: { data: { 'root.pem': 'x', other: 'y' } },
  });
  await eventually(async () => (await planes.roots('shop')) === whole, {
    ...{ deadlineMs: TOLD_MS, what: 'the roots are mended' },
  });
  const foreign = { namespace: 'theirs', name: 'heddle-trust-bundle' };
  await cluster.apply([
    namespace('theirs'),
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: foreign, data: { a: 'b' } },
    namespace('theirs', { 'heddle.dev/inject': 'enabled' }),
    // Written after that one by the same replica.
    namespace('after', { 'heddle.dev/inject': 'enabled' }),
  ]);
  await eventually(async () => (await find(KINDS.configMap, 'after', 'heddle-trust-bundle')) !== undefined, {
    ...{ deadlineMs: TOLD_MS, what: 'a later namespace has the roots' },
  });
  assert.deepEqual((await client.get(KINDS.configMap, foreign)).data, { a: 'b' });
});

test("the webhook's caBundle is kept", async () => {
  await cluster.apply(render('--show-only', 'templates/webhook.yaml'));
  const bundleOf = async () => {
    const found = await client.get(KINDS.mutatingWebhook, { name: 'heddle-injector' });
    return objectsOf(found.webhooks).map((one) => textOf(recordOf(one.clientConfig).caBundle));
  };
  const wanted = Buffer.from(await planes.roots('heddle-system')).toString('base64');
  const kept = async () => (await bundleOf()).every((bundle) => bundle === wanted);
  await eventually(kept, { deadlineMs: TOLD_MS, what: 'every webhook has the roots' });
  await client.patch(
    KINDS.mutatingWebhook,
    { name: 'heddle-injector' },
    { type: 'json', body: [{ op: 'remove', path: '/webhooks/0/clientConfig/caBundle' }] },
  );
  await eventually(kept, { deadlineMs: TOLD_MS, what: 'it is mended' });
  // No injector runs here: nothing of what follows waits for it.
  await client.delete(KINDS.mutatingWebhook, { name: 'heddle-injector' });
});

test('a pod gets its certificate by its projected token from either replica, while it lives', async () => {
  await addPod('web-1', '10.244.0.1');
  const token = await planes.tokenFile('web-1', SHOP);
  for (const replica of [a, b]) {
    const { certificateChainPem } = await planes.certify(replica, token, SHOP);
    const { subjectAltName } = new X509Certificate(certificateChainPem);
    assert.equal(subjectAltName, 'URI:spiffe://cluster.local/ns/shop/sa/web');
  }
  await assert.rejects(
    planes.certify(a, token, { ...SHOP, serviceAccount: 'db' }),
    /the SAN must be spiffe:\/\/cluster.local\/ns\/shop\/sa\/web/,
  );
  await cluster.kubectl(['delete', 'pod', 'web-1', '--namespace=shop', '--grace-period=0', '--force']);
  // The API server's own cache of tokens, and ours, last for seconds.
  await eventually(
    () =>
      planes.certify(a, token, SHOP).then(
        () => false,
        () => true,
      ),
    { deadlineMs: 30_000, what: "a dead pod's token is refused" },
  );
  await assert.rejects(planes.certify(b, token, SHOP), /token/);
});

test('Programmed waits for the proxies of both replicas', async (context) => {
  await cluster.apply([serviceOf('catalog'), serviceOf('v1'), serviceOf('v2'), to('v1')]);
  await told(KINDS.httpRoute, 'r', 'Accepted True g1, ResolvedRefs True g1, Programmed True g1');
  const streams: AdsClient[] = [];
  for (const [index, replica] of [a, b].entries()) {
    const pod = { namespace: 'shop', name: `client-${index}`, ip: `10.244.0.1${index}` };
    await addPod(pod.name, pod.ip);
    const own = await planes.certify(replica, await planes.tokenFile(pod.name, SHOP), SHOP);
    const stream = new AdsClient({ port: replica.ports.xds, rootsPem: own.rootsPem, own });
    context.after(() => stream.close());
    stream.hello(nodeIdOf(pod), TYPE.route, CATALOG_KEY);
    streams.push(stream);
  }
  const answer = async (stream: AdsClient | undefined, count: number) => {
    const last = (await stream?.received(count))?.at(-1);
    stream?.request({ typeUrl: TYPE.route, responseNonce: last?.nonce ?? '' });
  };
  for (const stream of streams) await answer(stream, 1);
  await cluster.apply([to('v2')]);
  await answer(streams[0], 2);
  await told(KINDS.httpRoute, 'r', 'Accepted True g2, ResolvedRefs True g2, Programmed Unknown g2');
  await answer(streams[1], 2);
  await told(KINDS.httpRoute, 'r', 'Accepted True g2, ResolvedRefs True g2, Programmed True g2');
});

test('what is bad, or not supported, is said in conditions and events', async () => {
  const parentRefs = [{ group: '', kind: 'Service', name: 'catalog', port: 80 }];
  const spec = { parentRefs, rules: [{ backendRefs: [{ name: 'missing', port: 80 }] }] };
  const metadata = (name: string) => ({ namespace: 'shop', name });
  await cluster.apply([
    { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'HTTPRoute', metadata: metadata('bad'), spec },
    { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'GRPCRoute', metadata: metadata('grpc'), spec },
    policy('MTLSPolicy', 'shop', 'm', { mode: 'STRICT' }) as JsonObject,
  ]);
  await told(KINDS.httpRoute, 'bad', 'Accepted True g1, ResolvedRefs False g1, Programmed True g1');
  await told(KINDS.grpcRoute, 'grpc', 'Accepted False g1');
  await told(KINDS.mtlsPolicy, 'm', 'Accepted True g1, Programmed True g1');
  const events = async () =>
    (await client.list(KINDS.event, { namespace: 'shop' })).items
      .filter(({ reportingController }) => reportingController === 'heddle.dev/mesh-controller')
      .map(({ regarding, reason }) => `${recordOf(regarding).name} ${reason}`)
      .toSorted();
  await eventually(async () => (await events()).length >= 2, {
    deadlineMs: TOLD_MS,
    what: 'there are events',
  });
  assert.deepEqual(await events(), ['bad BackendNotFound', 'grpc Unsupported']);
});

test("another controller's entry stays, whatever is written beside it", async () => {
  const ref = { namespace: 'shop', name: 'r' };
  const theirs = {
    ...{ parentRef: { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'edge' } },
    controllerName: 'example.com/gateway',
    conditions: [
      {
        ...{ type: 'Accepted', status: 'True', reason: 'Accepted', message: '', observedGeneration: 1 },
        lastTransitionTime: '2026-01-01T00:00:00Z',
      },
    ],
  };
  const overwritten: JsonObject = { parents: [theirs] };
  await client.patchStatus(KINDS.httpRoute, ref, { type: 'merge', body: { status: overwritten } });
  await told(KINDS.httpRoute, 'r', 'Accepted True g2, ResolvedRefs True g2, Programmed True g2');
  const { parents } = recordOf((await client.get(KINDS.httpRoute, ref)).status);
  assert.deepEqual(objectsOf(parents)[0], theirs);
});

test('a quiet mesh writes nothing', async () => {
  for (const kind of [KINDS.httpRoute, KINDS.grpcRoute, KINDS.mtlsPolicy, KINDS.configMap]) {
    const { resourceVersion } = await client.list(kind);
    const events: string[] = [];
    const watch = client.watch(kind, { resourceVersion, lastsMs: QUIET_MS / 4 });
    for await (const batch of watch)
      events.push(...batch.map(({ type }) => type).filter((type) => type !== 'BOOKMARK'));
    assert.deepEqual(events, [], kind.kind);
  }
});

test('whichever way the writing replica ends, the other one goes on', async () => {
  let generation = 2;
  for (const [signal, limitMs] of [
    ['SIGTERM', TOLD_MS],
    ['SIGKILL', FAILOVER_MS],
  ] as const) {
    const name = await holder();
    const writer = name === a.name ? a : b;
    await writer.process.stop(signal);
    await cluster.apply([to(generation % 2 === 0 ? 'v1' : 'v2')]);
    generation++;
    const wanted = `Accepted True g${generation}, ResolvedRefs True g${generation}, Programmed True g${generation}`;
    await told(KINDS.httpRoute, 'r', wanted, limitMs);
    assert.notEqual(await holder(), name);
    const next = await planes.start(name);
    if (writer === a) a = next;
    else b = next;
  }
});

test('the API server comes back, and everything goes on', async () => {
  await cluster.endProgram(cluster.layout.first, 'kube-apiserver');
  await eventually(
    () =>
      cluster.apply([to('missing')]).then(
        () => true,
        () => false,
      ),
    {
      ...{ deadlineMs: 60_000, what: 'the API server answers' },
    },
  );
  const wanted = 'Accepted True g5, ResolvedRefs False g5, Programmed True g5';
  await told(KINDS.httpRoute, 'r', wanted, 60_000);
  for (const { process } of [a, b]) assert.equal(process.exited(), false);
});
