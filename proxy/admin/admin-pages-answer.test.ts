import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { beforeEach, test } from 'node:test';
import { jsonLogger, type Logger } from '../../common/log.ts';
import { DEFAULT_SIDECAR_SETTINGS, type InboundConfig } from '../../model/snapshot.ts';
import { stateFromDump } from '../../model/state.ts';
import { makeCa } from '../../test/integration/engine/ca.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import type { Credentials } from '../stage.ts';
import { adminPages } from './actions.ts';
import type { PageAnswer, PageHandler } from './answer.ts';
import { guardBrowsers } from './guard.ts';
import { healthPages, unreadyReason } from './health.ts';
import { type AdminView, READ_ONLY_PAGES, readOnlyPages } from './pages.ts';

const IDENTITY = 'spiffe://cluster.local/ns/shop/sa/web';
const credentials: Credentials = makeCa('Test root').issue(IDENTITY);
const inbound: InboundConfig = {
  ports: [{ port: 8080, protocol: 'http', mode: 'STRICT' }],
  ...{ defaultMode: 'STRICT', settings: DEFAULT_SIDECAR_SETTINGS, draining: false },
};

const view: AdminView = {
  config: { inbound: () => inbound },
  identity: { current: () => credentials },
  link: () => ({
    ...{ connected: true, lastResponseAtMs: 0, lastRefusal: undefined, reconnects: 2, subscriptions: 1 },
    ...{ certificateExpiresAtMs: credentials.expiresAtMs, certificateRenewalAtMs: undefined },
  }),
  contents: () => ({ destinations: [], clusters: [] }),
  liveState: () => ({ clusters: { 'outbound|80||catalog': { breaker: 'open', requestsInFlight: 3 } } }),
  stack: () => ({
    connections: 1,
    active: 0,
    upstream: { open: 2, idle: 1, pending: 0 },
    mirrors: { inFlight: 0, heldBytes: 0 },
    draining: false,
  }),
  process: () => ({ uptimeMs: 10, residentBytes: 20, heapUsedBytes: 30 }),
  about: { pod: 'shop/web', node: 'node-1' },
};

let done: string[];
let log: Logger;
let pages: PageHandler;

beforeEach(() => {
  done = [];
  log = jsonLogger(new VirtualClock(), () => undefined);
  const actions = { drain: () => done.push('drain'), quit: () => done.push('quit') };
  pages = adminPages(readOnlyPages(view), actions, log);
});

async function ask(handler: PageHandler, method: string, target: string): Promise<PageAnswer> {
  const [path = '', query = ''] = target.split('?');
  return handler({ method, path, query: new URLSearchParams(query) });
}

test('the first page lists every other, and each of them answers in JSON', async () => {
  const index = await ask(pages, 'GET', '/');
  for (const { path } of READ_ONLY_PAGES) {
    assert.ok(index.body.includes(`GET  ${path} `), path);
    const page = await ask(pages, 'GET', path);
    assert.equal(page.status, 200, path);
    assert.match(page.type, /^application\/json/);
    assert.doesNotThrow(() => JSON.parse(page.body), path);
  }
  for (const path of ['/logging?level=debug', '/drain', '/quit'])
    assert.ok(index.body.includes(`POST ${path} `), path);
  assert.equal((await ask(pages, 'GET', '/nothing')).status, 404);
});

test('no page shows key material', async () => {
  const secret = credentials.privateKeyPem.replace(/-----[A-Z ]+-----|\s/g, '');
  for (const { path } of READ_ONLY_PAGES) {
    const { body } = await ask(pages, 'GET', path);
    assert.ok(!body.includes('PRIVATE KEY'), path);
    assert.ok(!body.replace(/\\n|\s/g, '').includes(secret), path);
  }
});

test('/certs tells who the workload is and what it trusts', async () => {
  const certs = JSON.parse((await ask(pages, 'GET', '/certs')).body);
  assert.equal(certs.identity, IDENTITY);
  assert.equal(certs.chain[0].names, `URI:${IDENTITY}`);
  assert.equal(certs.chain[0].issuer, certs.roots[0].subject);
  assert.equal(Date.parse(certs.chain[0].validTo), Math.floor(credentials.expiresAtMs / 1000) * 1000);
  assert.equal(certs.roots.length, 1);
});

test('/breakers is what decisions can be replayed with', async () => {
  const state = stateFromDump(JSON.parse((await ask(pages, 'GET', '/breakers')).body));
  assert.equal(state.breaker('outbound|80||catalog'), 'open');
  assert.equal(state.requestsInFlight('outbound|80||catalog'), 3);
});

test("/config shows the pod's own side, and /stats how it is connected", async () => {
  assert.equal(JSON.parse((await ask(pages, 'GET', '/config')).body).inbound.ports[0].mode, 'STRICT');
  const stats = JSON.parse((await ask(pages, 'GET', '/stats')).body);
  assert.deepEqual(
    [stats.pod, stats.controlPlane.connected, stats.controlPlane.lastResponseAt, stats.proxy.connections],
    ['shop/web', true, '1970-01-01T00:00:00.000Z', 1],
  );
});

test('the log level changes while the sidecar runs', async () => {
  assert.equal(JSON.parse((await ask(pages, 'GET', '/logging')).body).level, 'info');
  assert.equal((await ask(pages, 'POST', '/logging?level=debug')).status, 200);
  assert.equal(log.level(), 'debug');
  const wrong = await ask(pages, 'POST', '/logging?level=loud');
  assert.equal(wrong.status, 400);
  assert.match(wrong.body, /debug, info, warn or error/);
  assert.equal(log.level(), 'debug');
});

test('drain and quit are done by POST only, once the answer is out', async () => {
  for (const path of ['/drain', '/quit']) {
    const refused = await ask(pages, 'GET', path);
    assert.deepEqual([refused.status, refused.headers?.allow], [405, 'POST']);
    const taken = await ask(pages, 'POST', path);
    assert.equal(taken.status, 200);
    assert.equal(done.length, 0);
    taken.afterwards?.();
    assert.deepEqual(done.splice(0), [path.slice(1)]);
  }
});

test('pages that read take no other method', async () => {
  for (const { path } of READ_ONLY_PAGES) {
    const { status, headers } = await ask(pages, 'POST', path);
    assert.deepEqual([status, headers?.allow], [405, 'GET, HEAD'], path);
  }
});

const request = (headers: IncomingMessage['headers']) => ({ headers }) as IncomingMessage;

test('the guard lets tools in, under loopback names only', () => {
  const guard = guardBrowsers('127.244.0.7');
  for (const host of [
    'localhost:15000',
    '127.0.0.1:15000',
    '127.244.0.7:15000',
    '[::1]:15000',
    'LOCALHOST',
  ]) {
    assert.equal(guard(request({ host })), undefined, host);
  }
  const strangers = [
    'evil.example:15000',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '10.0.0.1',
    '',
    '[::2]',
  ];
  for (const host of strangers) assert.equal(guard(request({ host }))?.status, 421, host);
  assert.equal(guard(request({}))?.status, 421);
});

test("the guard keeps other sites' pages out, also with a POST that needs no permission", () => {
  const guard = guardBrowsers('127.0.0.1');
  const host = '127.0.0.1:15000';
  assert.equal(guard(request({ host, origin: 'http://evil.example' }))?.status, 403);
  assert.equal(guard(request({ host, origin: 'null' }))?.status, 403);
  assert.equal(
    guard(request({ host, origin: 'http://127.0.0.1:8080' }))?.status,
    403,
    'another port is another origin',
  );
  assert.equal(guard(request({ host, 'sec-fetch-site': 'cross-site' }))?.status, 403);
  assert.equal(guard(request({ host, 'sec-fetch-site': 'same-site' }))?.status, 403);
  assert.equal(
    guard(request({ host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' })),
    undefined,
  );
  assert.equal(guard(request({ host, 'sec-fetch-site': 'none' })), undefined, 'typed into the address bar');
});

const READY = { hasCertificate: true, hasConfiguration: true, listening: true, draining: false };

test('readiness names what is missing, the first thing first', async () => {
  const cases = [
    [{ ...READY, hasCertificate: false, hasConfiguration: false }, /no certificate from the CA yet/],
    [{ ...READY, hasConfiguration: false }, /no configuration from the control plane yet/],
    [{ ...READY, listening: false }, /listeners are not open yet/],
    [{ ...READY, draining: true }, /draining/],
  ] as const;
  for (const [state, says] of cases) {
    assert.match(unreadyReason(state) ?? '', says);
    const page = await ask(
      healthPages(
        () => state,
        new Map(),
        async () => undefined,
      ),
      'GET',
      '/healthz/ready',
    );
    assert.equal(page.status, 503);
    assert.match(page.body, says);
  }
  const ready = await ask(
    healthPages(
      () => READY,
      new Map(),
      async () => undefined,
    ),
    'GET',
    '/healthz/ready',
  );
  assert.equal(ready.status, 200);
});

test('a declared probe is run, another is not known', async () => {
  const probe = { kind: 'tcp', timeoutMs: 1_000, port: 8080, host: undefined } as const;
  const probes = new Map([['/app-health/web/readyz', probe]]);
  let problem: string | undefined;
  const handler = healthPages(
    () => READY,
    probes,
    async (asked) => {
      assert.equal(asked, probe);
      return problem;
    },
  );
  assert.equal((await ask(handler, 'GET', '/app-health/web/readyz')).status, 200);
  problem = 'the app answered 500';
  const failed = await ask(handler, 'GET', '/app-health/web/readyz');
  assert.deepEqual([failed.status, failed.body], [503, 'the app answered 500\n']);
  assert.equal((await ask(handler, 'GET', '/app-health/web/livez')).status, 404);
  assert.equal((await ask(handler, 'POST', '/healthz/ready')).status, 405);
});
