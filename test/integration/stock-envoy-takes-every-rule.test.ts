import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { findEnvoy } from '../support/envoy.ts';
import { leakCheck } from '../support/leak-check.ts';
import { service } from '../support/small-mesh.ts';
import { eventually } from '../support/wait.ts';
import { isInStep, proxyOf } from './control-plane/api.ts';
import { startMesh, type TestMesh } from './mesh/harness.ts';
import { type StockEnvoy, startEnvoy } from './stock-envoy/process.ts';
import { meshObjects } from './translated/objects.ts';

leakCheck();

const envoy = findEnvoy();
const MESHES = 25;
const SEED = 11;

let mesh: TestMesh;
let stock: StockEnvoy;

before(async () => {
  if (!envoy.ok) return;
  mesh = await startMesh();
  const labels = { app: 'edge' };
  const pod = { namespace: 'shop', name: 'edge', labels, serviceAccount: 'edge', ip: '127.245.0.9' };
  stock = await startEnvoy(mesh, {
    ...{ binary: envoy.value, api: 'DELTA_GRPC', pod: { ...pod, meshed: false, port: 9999 } },
  });
});

after(async () => {
  await stock?.stop();
  await mesh?.close();
});

const proxy = () => proxyOf(mesh.ports().dashboard, 'shop/edge');

/** Applies objects and waits until Envoy has taken them, or refused. */
async function take(objects: readonly object[], turn: number): Promise<void> {
  const marker = `mark-${turn}`;
  const items = [...objects, ...service('shop', marker, `10.96.1.${turn + 1}`)];
  mesh.apply('generated.json', JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  const answered = async () => {
    const seen = await proxy();
    if (seen?.lastNack !== undefined) return true;
    const routes = JSON.stringify(await stock.admin('/config_dump?mask=dynamic_route_configs'));
    return isInStep(seen) && routes.includes(marker);
  };
  await eventually(answered, { deadlineMs: 20_000, what: `Envoy has answered to mesh ${turn} of ${SEED}` });
}

test('no rule or policy that the mesh accepts is refused by a stock Envoy', {
  skip: envoy.ok ? false : envoy.error,
}, async () => {
  for (const [turn, objects] of fc.sample(meshObjects, { numRuns: MESHES, seed: SEED }).entries()) {
    await take(objects, turn);
    assert.equal((await proxy())?.lastNack?.message, undefined, `mesh ${turn} of ${SEED}`);
  }
});
