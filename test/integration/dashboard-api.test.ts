import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { silentLogger } from '../../common/log.ts';
import { dropFlowsShownMax } from '../../control-plane/dashboard/heddle-api.ts';
import { type Dashboard, startDashboard } from '../../control-plane/dashboard/server.ts';
import { DEFAULT_TRACE_LIMITS } from '../../control-plane/traces/limits.ts';
import { decodeJsonExport } from '../../control-plane/traces/otlp-json.ts';
import { readerOf } from '../../control-plane/traces/reader.ts';
import { openTraceStore, type TraceStore } from '../../control-plane/traces/store.ts';
import { dropRecord, SeedDrops, seedExport, seedView } from '../browser/seed.ts';
import { leakCheck } from '../support/leak-check.ts';

leakCheck();

let store: TraceStore;
let dashboard: Dashboard;
const drops = new SeedDrops();

before(async () => {
  store = openTraceStore({ path: ':memory:', clock: systemClock, log: silentLogger });
  store.add(decodeJsonExport(JSON.stringify(seedExport(Date.now())), DEFAULT_TRACE_LIMITS).spans);
  dashboard = await startDashboard({
    ...{ view: seedView(), traces: readerOf(store), drops, listen: '127.0.0.1', port: 0 },
    ...{ log: silentLogger, clock: systemClock },
  });
});

after(async () => {
  await dashboard.close();
  store.close();
});

interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

function ask(path: string, { method = 'GET', headers = {}, body }: Ask = {}) {
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const target = { host: '127.0.0.1', port: dashboard.port, path, method, headers, agent: false };
    const request = http.request(target, async (response) => {
      let text = '';
      for await (const chunk of response) text += String(chunk);
      resolve({ status: response.statusCode ?? 0, text });
    });
    request.on('error', reject);
    request.end(body);
  });
}

const json = async (path: string, options?: Ask) => JSON.parse((await ask(path, options)).text);

test("Jaeger's queries answer in Jaeger's shape", async () => {
  assert.deepEqual((await json('/api/services')).data, ['catalog', 'reviews', 'shadow', 'web']);
  assert.deepEqual((await json('/api/services/reviews/operations')).data, ['GET /all']);
  assert.deepEqual((await json('/api/operations?service=reviews')).data, [
    { name: 'GET /all', spanKind: 'server' },
  ]);
  assert.equal((await json('/api/traces?limit=3')).data.length, 3);
  const tags = encodeURIComponent('{"heddle.attempt":"2"}');
  assert.equal((await json(`/api/traces?service=web&tags=${tags}`)).data.length, 3);
  assert.equal(
    (await json('/api/traces?tag=heddle.attempt:2&tag=http.response.status_code:200')).data.length,
    3,
  );
  const links = (await json('/api/dependencies')).data;
  assert.ok(
    links.some(
      (link: { parent: string; child: string }) => link.parent === 'web' && link.child === 'catalog',
    ),
  );
  const copied = links.find(({ child }: { child: string }) => child === 'shadow');
  assert.deepEqual(copied, { parent: 'web', child: 'shadow', callCount: 1 }, 'a copy is a call for Jaeger');
});

test('an unknown trace is 404 with errors, and a bad parameter 400', async () => {
  const missing = await ask(`/api/traces/${'f'.repeat(32)}`);
  assert.equal(missing.status, 404);
  assert.deepEqual(JSON.parse(missing.text).errors, [{ code: 404, msg: 'trace not found' }]);
  for (const query of ['minDuration=long', 'tags=nonsense', 'start=x', 'tag=none'])
    assert.equal((await ask(`/api/traces?${query}`)).status, 400, query);
});

test('a foreign host name, a write, and a path outside the page are refused', async () => {
  assert.equal((await ask('/', { headers: { host: 'evil.example' } })).status, 421);
  assert.equal((await ask('/', { headers: { host: '127.0.0.1.evil.example' } })).status, 421);
  assert.equal((await ask('/', { headers: { host: 'localhost:1' } })).status, 200);
  assert.equal((await ask('/api/services', { method: 'POST' })).status, 405);
  for (const path of ['/app/../server.ts', '/app/%2e%2e/server.ts', '/vendor/../../package.json', '//x/y'])
    assert.ok((await ask(path)).status >= 400, path);
});

test('explain answers with a decision and its reasons', async () => {
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ from: { namespace: 'shop' }, url: 'http://catalog/items' });
  const explained = await json('/api/heddle/explain', { method: 'POST', headers, body });
  assert.equal(explained.answer.code, 'unknown-destination');
  assert.ok(explained.reasons.length > 0);
  assert.equal((await ask('/api/heddle/explain', { method: 'POST', body })).status, 415);
  assert.equal((await ask('/api/heddle/explain', { method: 'POST', headers, body: '{}' })).status, 400);
  const large = 'x'.repeat(300_000);
  assert.equal((await ask('/api/heddle/explain', { method: 'POST', headers, body: large })).status, 413);
  const replay = await json(`/api/heddle/explain?trace=${'1'.padStart(32, 'a')}`);
  assert.equal(replay.recorded.reasons.length, 5);
});

test('objects are filtered and carry their status', async () => {
  const { items } = await json('/api/heddle/objects?kind=httproute&namespace=shop&name=mirror');
  assert.equal(items.length, 1);
  assert.equal(items[0].status.parents[0].conditions[0].status, 'False');
});

test('drops are answered newest first, so many at most, with how many more there are', async () => {
  assert.deepEqual(await json('/api/heddle/drops'), {
    ...{ known: true, agents: { connected: 2, all: 2 }, items: [], more: 0 },
  });
  const { to } = dropRecord(1);
  for (let port = 1; port <= dropFlowsShownMax + 3; port++) {
    const at = new Date(Date.UTC(2026, 0, 1) + port).toISOString();
    drops.add(dropRecord(port, { at, to: { ...to, port } }));
  }
  const { items, more } = await json('/api/heddle/drops');
  assert.deepEqual([items.length, more, items[0].to.port], [dropFlowsShownMax, 3, dropFlowsShownMax + 3]);
});
