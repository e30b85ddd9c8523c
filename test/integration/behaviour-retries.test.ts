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
  web = await mesh.addPod({ namespace: 'shop', name: 'web' });
  payments = await mesh.addPod({ namespace: 'shop', name: 'payments' });
  mesh.apply(
    'payments.yaml',
    trafficPolicyYaml(
      'payments',
      'retry: {attempts: 2, codes: [503], budget: {percent: 20, minPerSecond: 5, interval: 10s}}\noutlierEjection: {consecutiveErrors: 100000}',
    ),
  );
});

after(() => mesh?.close());

test('a GET that meets one 503 is retried and succeeds', async () => {
  payments.app.answer((_request, response) => response.end('paid'));
  // The policy is in force once a failing GET is seen twice by the app.
  await eventually(
    async () => {
      payments.app.received.length = 0;
      let failures = 0;
      payments.app.answer((_request, response) => {
        if (failures++ === 0) response.writeHead(503).end();
        else response.end('paid');
      });
      const response = await web.client.request('http://payments/status');
      return response.status === 200 && payments.app.received.length === 2;
    },
    { deadlineMs: 10_000, what: 'the retry policy is in force' },
  );
});

test('an unsafe POST is never sent twice, whatever the app does with it', async () => {
  const troubles: ((
    response: import('node:http').ServerResponse,
    raw: import('node:http').IncomingMessage,
  ) => void)[] = [
    (response) => response.writeHead(503).end(),
    (_response, raw) => raw.socket.destroy(),
    (_response, raw) => raw.socket.resetAndDestroy(),
    (response, raw) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('half');
      setImmediate(() => raw.socket.destroy());
    },
  ];
  for (const trouble of troubles) {
    payments.app.received.length = 0;
    payments.app.answer((_request, response, raw) => trouble(response, raw));
    await web.client
      .request('http://payments/pay', { method: 'POST', body: '{"amount":1}' })
      .catch((cut: unknown) => cut);
    assert.equal(payments.app.received.length, 1);
  }
});

test('an unsafe POST whose app refuses the connection reaches no app, and says so', async () => {
  await payments.app.stop();
  payments.app.received.length = 0;
  const response = await web.client.request('http://payments/pay', { method: 'POST', body: 'x' });
  assert.equal(response.status, 503);
  assert.ok(response.headers['x-heddle-reason'] !== undefined);
  assert.equal(payments.app.received.length, 0);
  await payments.app.start();
  payments.app.answer((_request, answer) => answer.end('paid'));
  await eventually(
    async () =>
      (await web.client.request('http://payments/pay', { method: 'POST', body: 'x' })).status === 200,
    { deadlineMs: 10_000, what: 'the app that came back is used again' },
  );
});

test('the retry budget holds under a full outage', async () => {
  payments.app.received.length = 0;
  payments.app.answer((_request, response) => response.writeHead(503).end());
  const requests = 600;
  let sent = 0;
  const startedMs = performance.now();
  const lanes = Array.from({ length: 20 }, async () => {
    while (sent < requests) {
      sent++;
      const response = await web.client.request('http://payments/status');
      assert.equal(response.status, 503);
    }
  });
  await Promise.all(lanes);
  const seconds = (performance.now() - startedMs) / 1000;
  const retries = payments.app.received.length - requests;
  // 20 % of the requests, or five a second, whichever is more; the window adds one interval's allowance at most.
  const allowed = Math.max(requests * 0.2, 5 * (seconds + 10)) + 20;
  assert.ok(retries > 0, 'some retries happen');
  assert.ok(
    retries <= allowed,
    `${retries} retries for ${requests} requests in ${seconds.toFixed(1)} s, allowed ${allowed}`,
  );
});
