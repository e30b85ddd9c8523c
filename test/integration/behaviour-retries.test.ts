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

before(async () => {
  mesh = await startMesh();
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  // One app under several names: each has a budget of its own.
  for (const name of ['payments', 'outage', 'absence']) {
    mesh.addService({ namespace: 'shop', name, port: 80, targetPort: 8080, selector: { app: 'payments' } });
  }
  web = await mesh.addPod({ namespace: 'shop', name: 'web' });
  payments = await mesh.addPod({ namespace: 'shop', name: 'payments' });
  for (const name of ['payments', 'outage', 'absence']) {
    mesh.apply(
      `${name}.yaml`,
      trafficPolicyYaml(
        name,
        'retry: {attempts: 2, codes: [503], budget: {percent: 20, minPerSecond: 5, interval: 10s}}\noutlierEjection: {consecutiveErrors: 100000}',
      ),
    );
  }
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

test('no unsafe POST reaches an app twice that breaks its connections at every moment', async () => {
  payments.app.received.length = 0;
  let turn = 0;
  payments.app.answer((_request, response, raw) => {
    switch (turn++ % 6) {
      case 0:
        raw.socket.resetAndDestroy();
        return;
      case 1:
        response.writeHead(503).end();
        return;
      case 2:
        // Answered, and the connection gone right after: the next request may be on its way to it.
        response.end('paid', () => raw.socket.destroy());
        return;
      case 3:
        response.end('paid', () => setImmediate(() => raw.socket.resetAndDestroy()));
        return;
      case 4:
        raw.socket.end();
        return;
      default:
        response.end('paid');
    }
  });
  const total = 600;
  let next = 0;
  const statuses = new Map<number, number>();
  const lanes = Array.from({ length: 6 }, async () => {
    while (next < total) {
      const body = `payment ${next++}`;
      const { status } = await web.client.request('http://payments/pay', { method: 'POST', body });
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  });
  await Promise.all(lanes);
  const bodies = payments.app.received.map(({ body }) => body);
  assert.equal(new Set(bodies).size, bodies.length, 'each payment came once at most');
  assert.ok((statuses.get(200) ?? 0) > total / 4, JSON.stringify([...statuses]));
  assert.ok((statuses.get(503) ?? 0) > total / 4, JSON.stringify([...statuses]));
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
      const response = await web.client.request('http://outage/status');
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

test('the retry budget holds where every retry would be safe, too: nobody listens', async () => {
  await payments.app.stop();
  const attempts = async (kind: string) => {
    const { body } = await askPage(`http://${web.record.ip}:15020/metrics`);
    const line = new RegExp(
      `^heddle_attempts_total\\{destination_service="absence.shop",kind="${kind}".*\\} (\\d+)$`,
      'gm',
    );
    return [...body.matchAll(line)].reduce((sum, match) => sum + Number(match[1]), 0);
  };
  const before = { first: await attempts('first'), retry: await attempts('retry') };
  const requests = 600;
  let sent = 0;
  const startedMs = performance.now();
  const lanes = Array.from({ length: 20 }, async () => {
    while (sent < requests) {
      sent++;
      const response = await web.client.request('http://absence/pay', { method: 'POST', body: 'x' });
      assert.equal(response.status, 503);
    }
  });
  await Promise.all(lanes);
  const seconds = (performance.now() - startedMs) / 1000;
  const first = (await attempts('first')) - before.first;
  const retries = (await attempts('retry')) - before.retry;
  const allowed = Math.max(first * 0.2, 5 * (seconds + 10)) + 20;
  assert.ok(first >= requests, `${first} first attempts`);
  assert.ok(retries > 0, 'some retries happen');
  assert.ok(retries <= allowed, `${retries} retries for ${first} requests, allowed ${allowed}`);
});

test('a POST that is at an app whose sidecar dies is not sent to the next pod', async () => {
  mesh.addService({
    namespace: 'shop',
    name: 'ledger',
    port: 80,
    targetPort: 8080,
    selector: { app: 'ledger' },
  });
  const held: (() => void)[] = [];
  const ledgers = await Promise.all(
    ['ledger-1', 'ledger-2'].map((name) =>
      mesh.addPod({
        namespace: 'shop',
        name,
        labels: { app: 'ledger' },
        app: (_request, response) => held.push(() => response.end('noted')),
      }),
    ),
  );
  const [dying, living] = ledgers;
  assert.ok(dying !== undefined && living !== undefined);
  const total = 12;
  const answers = Array.from({ length: total }, (_, index) =>
    web.client.request('http://ledger/note', { method: 'POST', body: `note ${index}` }),
  );
  await eventually(() => held.length === total && ledgers.every((pod) => pod.app.received.length > 0), {
    deadlineMs: 10_000,
    what: 'both apps hold requests',
  });
  const lost = dying.app.received.length;
  await dying.sidecar.stop('SIGKILL');
  const cut = await Promise.race(answers);
  assert.deepEqual([cut.status, cut.headers['x-heddle-reason']], [503, 'upstream-reset']);
  for (const answer of held) answer();
  const statuses = (await Promise.all(answers)).map(({ status }) => status);
  assert.equal(statuses.filter((status) => status === 503).length, lost);
  const bodies = ledgers.flatMap((pod) => pod.app.received.map(({ body }) => body));
  assert.deepEqual(
    bodies.toSorted(),
    Array.from({ length: total }, (_, index) => `note ${index}`).toSorted(),
  );
});
