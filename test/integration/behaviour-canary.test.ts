import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { canaryYaml, namespaceYaml, strictYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import { startLoad } from './mesh/load.ts';

leakCheck();

let mesh: TestMesh;
let web: TestPod;

before(async () => {
  mesh = await startMesh();
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  mesh.apply('strict.yaml', strictYaml('shop'));
  for (const version of ['', '-v1', '-v2']) {
    mesh.addService({
      namespace: 'shop',
      name: `catalog${version}`,
      port: 80,
      targetPort: 8080,
      selector: version === '-v2' ? { app: 'catalog', version: 'v2' } : { app: 'catalog', version: 'v1' },
    });
  }
  web = await mesh.addPod({ namespace: 'shop', name: 'web' });
  for (const version of ['v1', 'v2']) {
    await mesh.addPod({
      namespace: 'shop',
      name: `catalog-${version}`,
      labels: { app: 'catalog', version },
      app: (_request, response) => response.end(version),
    });
  }
});

after(() => mesh?.close());

const versionNow = async () => (await web.client.request('http://catalog/items')).body;

test('a canary rule edited under load moves traffic within a second and loses no request', async () => {
  mesh.apply('catalog.yaml', canaryYaml(0));
  await eventually(async () => (await versionNow()) === 'v1', {
    deadlineMs: 10_000,
    what: 'the first rule is in force',
  });
  const load = startLoad(() => web.client.request('http://catalog/items'), 8, 10);
  const editedAtMs: { atMs: number; version: string }[] = [];
  for (const percent of [100, 0, 100]) {
    mesh.apply('catalog.yaml', canaryYaml(percent));
    const version = percent === 100 ? 'v2' : 'v1';
    editedAtMs.push({ atMs: performance.now(), version });
    await eventually(async () => (await versionNow()) === version, {
      deadlineMs: 5_000,
      what: `traffic moves to ${version}`,
    });
    // A little traffic under each rule.
    const until = performance.now() + 1_500;
    await eventually(() => performance.now() > until, { deadlineMs: 5_000, what: 'traffic under the rule' });
  }
  const { responses, errors } = await load.stop();
  assert.deepEqual(errors, []);
  assert.deepEqual(
    responses
      .filter(({ response }) => response.status !== 200)
      .map(({ response }) => [response.status, response.body]),
    [],
  );
  assert.ok(responses.length > 500, `${responses.length} requests`);
  editedAtMs.forEach(({ atMs, version }, index) => {
    const nextEdit = editedAtMs[index + 1]?.atMs ?? Number.POSITIVE_INFINITY;
    const settled = responses.filter((one) => one.atMs > atMs + 1_000 && one.atMs < nextEdit);
    assert.deepEqual(new Set(settled.map(({ response }) => response.body)), new Set([version]));
  });
});

test('a bad edit is refused and the last good rule keeps serving', async () => {
  const before = await versionNow();
  mesh.apply('catalog.yaml', canaryYaml(0).replace('weight: 100', 'weight: [oops'));
  const until = performance.now() + 1_000;
  while (performance.now() < until) assert.equal(await versionNow(), before);
});
