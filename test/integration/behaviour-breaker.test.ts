import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { namespaceYaml, trafficPolicyYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import { askPage } from './mesh/pages.ts';

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

async function explain(url: string): Promise<{ readonly state: string }> {
  const answer = await askPage(`http://127.0.0.1:${mesh.ports().dashboard}/api/heddle/explain`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ from: { namespace: 'shop', name: 'web' }, url }),
  });
  assert.equal(answer.status, 200, answer.body);
  return JSON.parse(answer.body);
}

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

  const explained = await explain('http://payments/status');
  assert.match(explained.state, /the live state of shop\/web/);
  assert.match(JSON.stringify(explained), /circuit-open/, 'explain decides as the sidecar does');
  const scraped = await askPage(`http://${web.record.ip}:15020/metrics`);
  assert.match(scraped.body, /^heddle_breaker_open\{cluster="outbound\|80\|\|payments[^}]*\} 1$/m);

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
  const closed = await askPage(`http://${web.record.ip}:15020/metrics`);
  assert.match(closed.body, /^heddle_breaker_open\{cluster="outbound\|80\|\|payments[^}]*\} 0$/m);
  for (let index = 0; index < 20; index++) {
    assert.equal((await web.client.request('http://payments/status')).status, 200);
  }
});

test('a probe that fails keeps the breaker open for another reset time', async () => {
  payments.app.answer((_request, response) => response.writeHead(500).end());
  await eventually(
    async () => {
      const response = await web.client.request('http://payments/status');
      return response.headers['x-heddle-reason'] === 'circuit-open';
    },
    { deadlineMs: 20_000, what: 'the breaker opens again' },
  );
  const seen = payments.app.received.length;
  const probes: number[] = [];
  const untilMs = performance.now() + RESET_MS * 3.5;
  await eventually(
    async () => {
      await web.client.request('http://payments/status');
      while (payments.app.received.length > seen + probes.length) probes.push(performance.now());
      return performance.now() > untilMs;
    },
    { deadlineMs: RESET_MS * 6, what: 'three reset times pass' },
  );
  assert.ok(
    probes.length >= 2 && probes.length <= 3,
    `${probes.length} probes in three and a half reset times`,
  );
  probes.slice(1).forEach((atMs, index) => {
    const gapMs = atMs - (probes[index] ?? 0);
    assert.ok(gapMs >= RESET_MS * 0.9, `probes ${Math.round(gapMs)} ms apart`);
  });
});
