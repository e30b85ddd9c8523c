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
const pods: TestPod[] = [];

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
  pods.push(web);
  for (const version of ['v1', 'v2']) {
    pods.push(
      await mesh.addPod({
        namespace: 'shop',
        name: `catalog-${version}`,
        labels: { app: 'catalog', version },
        app: (_request, response) => response.end(version),
      }),
    );
  }
});

after(() => mesh?.close());

/** Each sidecar waits a time of its own before it tries again, up to a limit that doubles from half a second. */
function assertJitter(): void {
  const waits = pods.map((pod) =>
    pod.sidecar
      .output()
      .split('\n')
      .filter((line) => line.includes('control plane lost'))
      .map((line) => Number(JSON.parse(line).retryMs)),
  );
  for (const [index, each] of waits.entries()) {
    assert.ok(each.length > 0, `${pods[index]?.record.name} noticed the loss`);
    for (const [tries, retryMs] of each.entries())
      assert.ok(retryMs <= Math.min(15_000, 500 * 2 ** tries), `${retryMs} ms`);
  }
  assert.equal(
    new Set(waits.map(([first]) => first)).size,
    pods.length,
    `first waits ${JSON.stringify(waits)}`,
  );
}

test('the control plane killed under load costs no request, and is rejoined', async () => {
  mesh.apply('catalog.yaml', canaryYaml(0));
  await eventually(async () => (await web.client.request('http://catalog/items')).body === 'v1', {
    deadlineMs: 10_000,
    what: 'the rule is in force',
  });
  const load = startLoad(() => web.client.request('http://catalog/items'), 8, 10);
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
  assert.ok(responses.length > 200, `${responses.length} requests`);
  assert.equal(responses.filter(({ response }) => response.status !== 200).length, 0);
  assertJitter();
});
