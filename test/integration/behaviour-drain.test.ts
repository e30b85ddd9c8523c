import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { namespaceYaml, strictYaml, trafficPolicyYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import { startLoad } from './mesh/load.ts';
import { askPage } from './mesh/pages.ts';

leakCheck();

const LANES = 8;

let mesh: TestMesh;
let web: TestPod;

before(async () => {
  mesh = await startMesh({ settings: 'drain: {grace: 10s}\ntracing: {samplingPercent: 0}\n' });
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  mesh.apply('strict.yaml', strictYaml('shop'));
  // Here pods are endpoints before they listen: nobody is to hold that against them for long.
  mesh.apply('policy.yaml', trafficPolicyYaml('catalog', 'outlierEjection: {baseEjectionTime: 200ms}'));
  mesh.addService({
    namespace: 'shop',
    name: 'catalog',
    port: 80,
    targetPort: 8080,
    selector: { app: 'catalog' },
  });
  web = await mesh.addPod({ namespace: 'shop', name: 'web' });
});

after(() => mesh?.close());

let started = 0;

function addCatalog(): Promise<TestPod> {
  started++;
  return mesh.addPod({
    namespace: 'shop',
    name: `catalog-${started}`,
    labels: { app: 'catalog' },
    app: (request, response) => setTimeout(() => response.end(request.body), 3),
  });
}

/** Unsafe requests without retries of their own: whatever is lost shows. */
function load(): ReturnType<typeof startLoad> {
  let number = 0;
  return startLoad(
    () => {
      number++;
      const even = number % 2 === 0;
      return web.client.request('http://catalog/', even ? {} : { method: 'POST', body: `order ${number}` });
    },
    LANES,
    4,
  );
}

function lost({ responses, errors }: Awaited<ReturnType<ReturnType<typeof load>['stop']>>): string[] {
  return [
    ...responses
      .filter(({ response }) => response.status !== 200)
      .map(({ response }) => `${response.status} ${response.body}`),
    ...errors.map(({ message }) => message),
  ];
}

async function stopped(pod: TestPod, signal: NodeJS.Signals): Promise<void> {
  const closed = once(pod.sidecar.child, 'close');
  pod.sidecar.child.kill(signal);
  assert.equal((await closed)[0], 0);
}

test('pods are replaced one by one under load, as a rollout does it, and no request is lost', async () => {
  const pods = [await addCatalog(), await addCatalog()];
  const running = load();
  for (const old of pods) {
    const fresh = await addCatalog();
    await eventually(() => fresh.app.received.length > 20, {
      deadlineMs: 20_000,
      what: 'the new pod gets load',
    });
    old.terminate();
    await eventually(
      async () => (await askPage(`http://${old.record.ip}:15021/healthz/ready`)).status === 503,
      {
        deadlineMs: 10_000,
        what: 'the old pod drains',
      },
    );
    const before = old.app.received.length;
    await stopped(old, 'SIGTERM');
    await old.remove();
    assert.ok(before > 0);
  }
  const result = await running.stop();
  assert.deepEqual(lost(result), []);
  assert.ok(result.responses.length > 200, `${result.responses.length} requests`);
});

test('a sidecar that is stopped without a word to the mesh loses no request either', async () => {
  const pods = [await addCatalog(), await addCatalog()];
  const running = load();
  for (const pod of pods) {
    await eventually(() => pod.app.received.length > 50, { deadlineMs: 20_000, what: 'each pod gets load' });
  }
  await stopped(pods[0] as TestPod, 'SIGTERM');
  const other = pods[1] as TestPod;
  const before = other.app.received.length;
  await eventually(() => other.app.received.length > before + 50, {
    deadlineMs: 20_000,
    what: 'the other serves',
  });
  assert.deepEqual(lost(await running.stop()), []);
});

test("an app's own sidecar that is stopped answers what its app has asked", async () => {
  const client = await mesh.addPod({ namespace: 'shop', name: 'client' });
  const asked = Array.from({ length: 20 }, () =>
    client.client.request('http://catalog/', { method: 'POST', body: 'x' }),
  );
  await stopped(client, 'SIGTERM');
  const answers = await Promise.allSettled(asked);
  assert.deepEqual(
    answers.map((answer) => (answer.status === 'fulfilled' ? answer.value.status : String(answer.reason))),
    answers.map(() => 200),
  );
});
