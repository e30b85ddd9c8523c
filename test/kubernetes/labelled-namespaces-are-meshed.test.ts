import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { objectsOf, recordOf } from '../../model/read/meta.ts';
import { leakCheck } from '../support/leak-check.ts';
import { KubernetesCluster } from './support/cluster.ts';
import { runConformance } from './support/conformance.ts';
import { assertNothingLeft } from './support/machine-state.ts';
import { startMeshedCluster } from './support/mesh.ts';

leakCheck();

let cluster: KubernetesCluster;
before(async () => {
  cluster = await startMeshedCluster(2);
});
after(async () => {
  await cluster?.stop();
  await assertNothingLeft(`t${process.pid}-`);
});
KubernetesCluster.logsAfterFailures(() => cluster);

test('pods of a labelled namespace get sidecars, and pass a test of the official suite', async () => {
  const { passed, failed, output } = await runConformance(cluster, { test: 'MeshBasic' });
  assert.deepEqual({ passed, failed }, { passed: ['MeshBasic'], failed: [] }, output);
  const pods = objectsOf((await cluster.get(['pods', '--namespace=gateway-conformance-mesh'])).items);
  assert.ok(pods.length > 0);
  for (const { metadata, spec, status } of pods) {
    const sidecars = objectsOf(recordOf(spec).initContainers).map(({ name }) => name);
    assert.ok(sidecars.includes('heddle-proxy'), `${recordOf(metadata).name}: ${sidecars.join(', ')}`);
    assert.ok(objectsOf(recordOf(status).initContainerStatuses).every(({ ready }) => ready === true));
  }
});
