import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { objectsOf, recordOf, textOf } from '../../model/read/meta.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { KubernetesCluster } from './support/cluster.ts';
import { DEMO_IMAGE_ARCHIVE } from './support/load.ts';
import { assertNothingLeft } from './support/machine-state.ts';
import { startMeshedCluster } from './support/mesh.ts';
import { podOf } from './support/pods.ts';

leakCheck();

const HEDDLE = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const DEMO = fileURLToPath(new URL('../../demo/', import.meta.url));
const NAMESPACE = '--namespace=shop';
const rolloutMs = 180_000;

let cluster: KubernetesCluster;
before(async () => {
  cluster = await startMeshedCluster(2, [], [DEMO_IMAGE_ARCHIVE]);
});
after(async () => {
  await cluster?.stop();
  await assertNothingLeft(`t${process.pid}-`);
});
KubernetesCluster.logsAfterFailures(() => cluster);

async function deployments(): Promise<readonly string[]> {
  const { items } = await cluster.get(['deployments', NAMESPACE]);
  return objectsOf(items).map(({ metadata }) => textOf(recordOf(metadata).name) ?? '');
}

async function rollouts(): Promise<void> {
  for (const name of await deployments()) {
    const flags = [NAMESPACE, `--timeout=${rolloutMs}ms`];
    await cluster.kubectl(['rollout', 'status', `deployment/${name}`, ...flags], {
      timeoutMs: rolloutMs * 2,
    });
  }
}

/** Names of the containers that stay, of each pod that isn't about to end. */
async function sidecars(): Promise<readonly string[]> {
  const { items } = await cluster.get(['pods', NAMESPACE]);
  return objectsOf(items)
    .filter(({ metadata }) => recordOf(metadata).deletionTimestamp === undefined)
    .map(({ spec }) =>
      objectsOf(recordOf(spec).initContainers)
        .map(({ name }) => textOf(name))
        .join(),
    );
}

/** What one more caller of the mesh hears: as the load, whose sidecar asks for it. */
async function catalogVersion(user: string): Promise<string> {
  const script = `fetch('http://catalog/items', { headers: { 'x-user': '${user}' } })
    .then((response) => response.json()).then(({ version }) => console.log(version))`;
  const place = { namespace: 'shop', name: await podOf(cluster, 'shop', 'app=load'), container: 'load' };
  return (await cluster.exec(place, ['node', '-e', script])).trim();
}

test('the demo runs without the mesh, from the same manifests as on a laptop', async () => {
  await cluster.kubectl(['create', 'namespace', 'shop']);
  const files = readdirSync(join(DEMO, 'shop')).filter((name) => name.endsWith('.yaml'));
  // The namespace's own file has the label already.
  for (const file of files.filter((name) => name !== 'namespace.yaml'))
    await cluster.apply(readFileSync(join(DEMO, 'shop', file), 'utf8'));
  await rollouts();
  assert.deepEqual(new Set(await sidecars()), new Set(['']));
});

test('after a label and a restart all of it is meshed, and answers', async () => {
  await cluster.kubectl(['label', 'namespace', 'shop', 'heddle.dev/inject=enabled']);
  for (const name of await deployments())
    await cluster.kubectl(['rollout', 'restart', `deployment/${name}`, NAMESPACE]);
  await rollouts();
  await eventually(async () => (await sidecars()).every((names) => names === 'heddle-proxy'), {
    ...{ deadlineMs: rolloutMs, what: 'every pod has a sidecar' },
  });
  const forward = await cluster.forward(
    { namespace: 'shop', name: await podOf(cluster, 'shop', 'app=web') },
    8080,
  );
  try {
    const page = await (await fetch(`http://127.0.0.1:${forward.port}/`)).text();
    assert.match(page, /Merino yarn/);
  } finally {
    await forward.close();
  }
});

test('heddle dashboard has traces of it, over several services, until Ctrl-C', async () => {
  // A free port of this machine.
  const args = ['dashboard', '--kubeconfig', cluster.kubeconfig, '--port', '0'];
  const child = spawn(process.execPath, [HEDDLE, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  try {
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const address = line.toString().trim();
    assert.match(await (await fetch(address)).text(), /<title>[^<]*Heddle/);
    await eventually(
      async () => {
        const url = `${address}/api/traces?limit=20`;
        const { data } = (await (await fetch(url)).json()) as { readonly data: readonly Trace[] };
        return data.some(({ processes }) => {
          const services = new Set(Object.values(processes).map(({ serviceName }) => serviceName));
          return ['load', 'web', 'reviews'].every((service) => services.has(service));
        });
      },
      { deadlineMs: rolloutMs, what: 'a trace has load, web and reviews' },
    );
  } finally {
    child.kill('SIGINT');
    await closed;
  }
  assert.equal(child.exitCode, 0);
});

interface Trace {
  readonly processes: Readonly<Record<string, { readonly serviceName: string }>>;
}

test('kubectl apply switches the canary, whose status is told, and kubectl delete switches it back', async () => {
  assert.equal(await catalogVersion('beta'), 'v1');
  const canary = join(DEMO, 'try/canary.yaml');
  await cluster.kubectl(['apply', `--filename=${canary}`]);
  await eventually(async () => (await catalogVersion('beta')) === 'v2', {
    ...{ deadlineMs: rolloutMs, what: 'user beta gets version 2' },
  });
  await eventually(
    async () => {
      const { status } = await cluster.get(['httproute/catalog-canary', NAMESPACE]);
      const [parent] = objectsOf(recordOf(status).parents);
      const conditions = objectsOf(parent?.conditions).map(({ type, status: is }) => `${type}=${is}`);
      return conditions.toSorted().join() === 'Accepted=True,Programmed=True,ResolvedRefs=True';
    },
    { deadlineMs: rolloutMs, what: 'Accepted, ResolvedRefs and Programmed are True' },
  );
  await cluster.kubectl(['delete', `--filename=${canary}`]);
  await eventually(async () => (await catalogVersion('beta')) === 'v1', {
    ...{ deadlineMs: rolloutMs, what: 'user beta gets version 1 again' },
  });
});

test('every Deployment restarts, and no visitor of the shop has met an error', async () => {
  // Visitors count for themselves, so that they stay.
  for (const name of (await deployments()).filter((one) => one !== 'load'))
    await cluster.kubectl(['rollout', 'restart', `deployment/${name}`, NAMESPACE]);
  await rollouts();
  const pod = await podOf(cluster, 'shop', 'app=load');
  const said = () => cluster.kubectl(['logs', pod, NAMESPACE, '--container=load']);
  const counted = async () => (await said()).match(/^load: \d+ fine, .*$/gm) ?? [];
  const before = (await counted()).length;
  await eventually(async () => (await counted()).length > before, {
    ...{ deadlineMs: rolloutMs, what: 'the visitors have counted once more' },
  });
  assert.match((await counted()).at(-1) ?? '', / fine, 0 failed$/, await said());
});
