import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { canaryYaml, namespaceYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import { startLoad } from './mesh/load.ts';

leakCheck();

let mesh: TestMesh;
let web: TestPod;

before(async () => {
  mesh = await startMesh();
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  for (const version of ['', '-v1', '-v2']) {
    mesh.addService({
      namespace: 'shop',
      name: `catalog${version}`,
      port: 80,
      targetPort: 8080,
      selector: { app: 'catalog', version: version === '-v2' ? 'v2' : 'v1' },
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

test('the control plane killed under load costs no request, and is rejoined', async () => {
  mesh.apply('catalog.yaml', canaryYaml(0));
  await eventually(async () => (await web.client.request('http://catalog/items')).body === 'v1', {
    deadlineMs: 10_000,
    what: 'the rule is in force',
  });
  const load = startLoad(() => web.client.request('http://catalog/items'), 4);
  await mesh.controlPlane().stop('SIGKILL');
  const until = performance.now() + 2_000;
  await eventually(() => performance.now() > until, {
    deadlineMs: 5_000,
    what: 'load without a control plane',
  });
  await mesh.startControlPlane();
  mesh.apply('catalog.yaml', canaryYaml(100));
  await eventually(async () => (await web.client.request('http://catalog/items')).body === 'v2', {
    deadlineMs: 30_000,
    what: 'the sidecars take the new rule from the restarted control plane',
  });
  const { responses, errors } = await load.stop();
  assert.deepEqual(errors, []);
  assert.equal(responses.filter(({ response }) => response.status !== 200).length, 0);
});
