import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { namespaceYaml, trafficPolicyYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';

leakCheck();

let mesh: TestMesh;
let web: TestPod;
let payments: TestPod;
const RESET_MS = 1_500;
const VOLUME = 10;

before(async () => {
  mesh = await startMesh();
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  mesh.addService({
    namespace: 'shop',
    name: 'payments',
    port: 80,
    targetPort: 8080,
    selector: { app: 'payments' },
  });
  mesh.apply(
    'payments.yaml',
    trafficPolicyYaml(
      'payments',
      `retry: {attempts: 0}
outlierEjection: {consecutiveErrors: 100000}
circuitBreaker: {errorThresholdPercentage: 50, volumeThreshold: ${VOLUME}, rollingCountTimeout: 10s, resetTimeout: ${RESET_MS}ms}`,
    ),
  );
  web = await mesh.addPod({ namespace: 'shop', name: 'web' });
  payments = await mesh.addPod({ namespace: 'shop', name: 'payments' });
});

after(() => mesh?.close());

test('a breaker opens at the configured volume, half-opens with one probe, and closes when the probe succeeds', async () => {
  payments.app.answer((_request, response) => response.writeHead(500).end());
  let answered = 0;
  let refused: string | undefined;
  for (; answered < VOLUME * 3 && refused === undefined; ) {
    const response = await web.client.request('http://payments/pay', { method: 'POST', body: 'x' });
    const reason = response.headers['x-heddle-reason'];
    if (reason === 'circuit-open') refused = String(reason);
    else answered++;
  }
  assert.equal(refused, 'circuit-open');
  assert.ok(
    answered >= VOLUME && answered <= VOLUME + 1,
    `opened after ${answered} failures, configured for ${VOLUME}`,
  );
  const openedMs = performance.now();

  const seen = payments.app.received.length;
  assert.equal((await web.client.request('http://payments/status')).status, 503);
  assert.equal(payments.app.received.length, seen, 'an open breaker lets nothing through');

  // Half-open: hold the probe, and offer more requests meanwhile.
  let release: () => void = () => {};
  payments.app.answer((_request, response) => {
    release = () => response.end('paid');
  });
  let probe: Promise<{ status: number }> | undefined;
  await eventually(
    async () => {
      const attempt = web.client.request('http://payments/status');
      const first = await Promise.race([
        attempt,
        new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 150)),
      ]);
      if (first !== undefined) return false;
      probe = attempt;
      return true;
    },
    { deadlineMs: RESET_MS * 4, what: 'a probe is let through' },
  );
  const halfOpenAfterMs = performance.now() - openedMs;
  assert.ok(halfOpenAfterMs >= RESET_MS * 0.9, `half-open after ${halfOpenAfterMs} ms`);
  const others = await Promise.all(
    Array.from({ length: 8 }, () => web.client.request('http://payments/status')),
  );
  assert.deepEqual(
    new Set(others.map((response) => response.headers['x-heddle-reason'])),
    new Set(['circuit-open']),
  );
  assert.equal(payments.app.received.length, seen + 1, 'exactly one probe reached the app');
  payments.app.answer((_request, response) => response.end('paid'));
  release();
  assert.equal((await probe)?.status, 200);
  for (let index = 0; index < 20; index++) {
    assert.equal((await web.client.request('http://payments/status')).status, 200);
  }
});
