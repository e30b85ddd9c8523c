import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { namespaceYaml, trafficPolicyYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import { startLoad } from './mesh/load.ts';

leakCheck();

let mesh: TestMesh;
let web: TestPod;
let sick: TestPod;
let healthy: TestPod;

before(async () => {
  mesh = await startMesh();
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  // The same pods under two names: one with a policy that retries nothing, one with the defaults.
  for (const name of ['reviews', 'reviews-by-default']) {
    const selector = { app: 'reviews' };
    mesh.addService({ namespace: 'shop', name, port: 80, targetPort: 8080, selector });
  }
  mesh.apply(
    'reviews.yaml',
    trafficPolicyYaml(
      'reviews',
      'retry: {attempts: 0}\noutlierEjection: {consecutiveErrors: 3, baseEjectionTime: 2s, maxEjectionTime: 4s, maxEjectionPercent: 50}\nloadBalancer: {policy: RoundRobin}',
    ),
  );
  web = await mesh.addPod({ namespace: 'shop', name: 'web' });
  sick = await mesh.addPod({ namespace: 'shop', name: 'reviews-1', labels: { app: 'reviews' } });
  healthy = await mesh.addPod({ namespace: 'shop', name: 'reviews-2', labels: { app: 'reviews' } });
});

after(() => mesh?.close());

test('an endpoint that fails is ejected, gets no traffic, and returns after its time', async () => {
  await eventually(
    async () => {
      await web.client.request('http://reviews/');
      return sick.app.received.length > 0 && healthy.app.received.length > 0;
    },
    { deadlineMs: 10_000, what: 'both endpoints get traffic' },
  );
  sick.app.answer((_request, response) => response.writeHead(503).end());
  const outcomes: number[] = [];
  for (let index = 0; index < 60; index++)
    outcomes.push((await web.client.request('http://reviews/')).status);
  const failures = outcomes.filter((status) => status === 503).length;
  assert.ok(failures >= 3 && failures <= 4, `${failures} failures reached the client, configured for 3`);
  const seen = sick.app.received.length;
  for (let index = 0; index < 20; index++)
    assert.equal((await web.client.request('http://reviews/')).status, 200);
  assert.equal(sick.app.received.length, seen);
  sick.app.answer((_request, response) => response.end('well again'));
  await eventually(
    async () => {
      await web.client.request('http://reviews/');
      return sick.app.received.length > seen;
    },
    { deadlineMs: 10_000, what: 'the ejected endpoint returns' },
  );
});

test('a pod that dies is passed over without a failed request, for any method', async () => {
  await eventually(
    async () => {
      const before = [sick, healthy].map((pod) => pod.app.received.length);
      for (let index = 0; index < 20; index++) await web.client.request('http://reviews-by-default/');
      return [sick, healthy].every((pod, index) => pod.app.received.length > (before[index] ?? 0));
    },
    { deadlineMs: 10_000, what: 'both endpoints get traffic' },
  );
  let sent = 0;
  const load = startLoad(
    () => {
      const method = sent++ % 2 === 0 ? 'GET' : 'POST';
      return web.client.request('http://reviews-by-default/', { method, body: method === 'POST' ? 'x' : '' });
    },
    2,
    5,
  );
  // The app is gone before the sidecar, as in a rollout that goes wrong: refused, then nobody there at all.
  await sick.app.stop();
  const seen = healthy.app.received.length;
  await eventually(() => healthy.app.received.length > seen + 50, {
    deadlineMs: 20_000,
    what: 'load without the app',
  });
  await sick.sidecar.stop('SIGKILL');
  const later = healthy.app.received.length;
  await eventually(() => healthy.app.received.length > later + 50, {
    deadlineMs: 20_000,
    what: 'load without the pod',
  });
  const { responses, errors } = await load.stop();
  assert.deepEqual(errors, []);
  assert.deepEqual(
    responses
      .filter(({ response }) => response.status !== 200)
      .map(({ response }) => [response.status, response.headers['x-heddle-reason'], response.body]),
    [],
  );
});
