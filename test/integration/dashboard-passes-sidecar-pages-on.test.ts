import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { afterEach, test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { PORTS } from '../../common/contracts.ts';
import type { JsonObject } from '../../common/json.ts';
import { silentLogger } from '../../common/log.ts';
import { createAuthority, makeRoot } from '../../control-plane/ca/authority.ts';
import { HttpError, hostAllowed } from '../../control-plane/dashboard/http.ts';
import { pageAccess } from '../../control-plane/dashboard/page-access.ts';
import { PROXY_PAGE_LIMITS, proxyPages } from '../../control-plane/dashboard/proxy-pages.ts';
import { type Dashboard, startDashboard } from '../../control-plane/dashboard/server.ts';
import { sidecarAdmin } from '../../control-plane/sidecar-admin.ts';
import type { ControlPlaneView } from '../../control-plane/view.ts';
import type { KubeObject } from '../../model/objects.ts';
import { FakeClusterApi } from '../support/fake-cluster-api.ts';
import { leakCheck } from '../support/leak-check.ts';
import { meshOf, pod } from '../support/small-mesh.ts';
import { eventually } from '../support/wait.ts';
import { podObject } from './mesh/manifests.ts';

leakCheck();

const HOUR_MS = 3_600_000;
/** The port is the contract's; the address keeps test files apart, which run as processes of their own. */
const IP = `127.247.${process.pid % 250}.1`;
const WEB = pod('shop', 'web', IP);
const WEB_ID = 'spiffe://cluster.local/ns/shop/sa/web';
/** Short, so that a sidecar that says nothing is given up soon. */
const SILENCE_MS = 300;

const authority = createAuthority(makeRoot('cluster.local', HOUR_MS, systemClock), systemClock);
const own = certified('spiffe://cluster.local/ns/heddle-system/sa/heddle-control-plane');

function certified(uri: string) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { certificatePem } = authority.issue({ publicKey: createPublicKey(privateKey), uri, ttlMs: HOUR_MS });
  return { certificatePem, privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A sidecar's read-only admin; tells what it was asked. */
async function sidecar(answer: http.RequestListener, uri = WEB_ID): Promise<http.IncomingMessage[]> {
  const asked: http.IncomingMessage[] = [];
  const { certificatePem, privateKeyPem } = certified(uri);
  const server = https.createServer(
    {
      ...{ cert: certificatePem, key: privateKeyPem, ca: authority.trustBundlePem() },
      ...{ requestCert: true, rejectUnauthorized: true },
    },
    (request, response) => {
      asked.push(request);
      answer(request, response);
    },
  );
  await new Promise<void>((resolve) => server.listen(PORTS.proxyAdminForControlPlane, IP, resolve));
  closers.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return asked;
}

/** What no test here asks for. */
const unused = () => assert.fail('not asked for here');
const view: ControlPlaneView = {
  ...{ mesh: unused, objects: unused, statusOf: unused, statuses: unused, problems: unused },
  ...{ proxies: () => [], onChange: () => () => undefined, proxyState: unused },
};
const traces = { ...{ find: unused, get: unused, graph: unused, services: unused, counters: unused } };

async function dashboard(
  access = pageAccess('127.0.0.1', undefined),
  silenceMs = SILENCE_MS,
): Promise<Dashboard> {
  const pages = proxyPages({
    ...{ access, log: silentLogger, silenceMs },
    sidecar: (name) =>
      sidecarAdmin(name, {
        mesh: () => meshOf([podObject(WEB)]),
        trustBundlePem: () => authority.trustBundlePem(),
        own: () => own,
      }),
  });
  const started = await startDashboard({
    ...{ view, proxyPages: pages, listen: '127.0.0.1', port: 0, log: silentLogger, clock: systemClock },
    // Whatever reads traces isn't asked.
    traces: { ...traces, onChange: () => () => undefined } as never,
  });
  closers.push(async () => {
    await started.close();
    pages.close();
  });
  return started;
}

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

function ask(port: number, path: string, options: http.RequestOptions = {}, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { ...{ host: '127.0.0.1', port, path, agent: false }, ...options },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            ...{ status: response.statusCode ?? 0, headers: response.headers },
            text: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

const page: http.RequestListener = (_, response) =>
  void response
    .writeHead(200, { 'content-type': 'text/html', 'set-cookie': 'a=b', location: '/x' })
    .end('{"a":1}');

test('a page of a sidecar comes through, as data and with none of its headers', async () => {
  const asked = await sidecar(page);
  const { port } = await dashboard();
  const { status, headers, text } = await ask(port, '/proxies/shop/web/breakers?x=1');
  assert.equal(status, 200);
  assert.equal(text, '{"a":1}');
  assert.equal(headers['content-type'], 'application/json; charset=utf-8');
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.equal(headers['set-cookie'], undefined);
  assert.equal(headers.location, undefined);
  assert.deepEqual(
    asked.map(({ method, url }) => [method, url]),
    [['GET', '/breakers']],
  );
});

test("nothing of the client's head reaches the sidecar", async () => {
  const asked = await sidecar(page);
  const { port } = await dashboard();
  const headers = {
    authorization: 'Bearer secret',
    cookie: 'session=1',
    connection: 'keep-alive, x-evil',
    'x-evil': '1',
    'x-forwarded-for': '10.0.0.1',
    'x-http-method-override': 'POST',
    te: 'trailers',
  };
  assert.equal((await ask(port, '/proxies/shop/web/config', { headers })).status, 200);
  const { host, ...rest } = asked[0]?.headers ?? {};
  assert.equal(host, `${IP}:${PORTS.proxyAdminForControlPlane}`);
  assert.deepEqual(rest, { accept: 'application/json', connection: 'close' });
});

for (const path of [
  '/proxies/shop/web/drain',
  '/proxies/shop/web/quit',
  '/proxies/shop/web/',
  '/proxies/shop/web',
  '/proxies/shop/web/config/',
  '/proxies/shop/web/config/../quit',
  '/proxies/shop/web/%2e%2e/quit',
  '/proxies/shop/web/..%2fquit',
  '/proxies/shop/web/config%00',
  '/proxies/shop/web/config%3Fx',
  '/proxies/shop/web%2Fquit/config',
  '/proxies/shop/web@127.0.0.1/config',
  '/proxies/shop/127.0.0.1:15000/config',
  '/proxies/Shop/web/config',
  '/proxies/shop/other/config',
  '/proxies//web/config',
  `/proxies/shop/${'a'.repeat(300)}/config`,
]) {
  test(`nobody is asked for ${path.slice(0, 60)}`, async () => {
    const asked = await sidecar(page);
    const { port } = await dashboard();
    assert.equal((await ask(port, path)).status, 404);
    assert.equal(asked.length, 0);
  });
}

for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE']) {
  test(`${method} is not passed on`, async () => {
    const asked = await sidecar(page);
    const { port } = await dashboard();
    assert.equal((await ask(port, '/proxies/shop/web/logging', { method })).status, 405);
    assert.equal(asked.length, 0);
  });
}

test('a request with a body or an upgrade is refused, and no body is passed on', async () => {
  const asked = await sidecar(page);
  const { port } = await dashboard();
  const smuggled = 'POST /quit HTTP/1.1\r\nhost: x\r\n\r\n';
  for (const headers of [
    { 'content-length': String(smuggled.length) },
    { 'transfer-encoding': 'chunked' },
  ] as const)
    assert.equal((await ask(port, '/proxies/shop/web/config', { headers }, smuggled)).status, 400);
  const upgrade = { connection: 'Upgrade', upgrade: 'websocket' };
  assert.equal((await ask(port, '/proxies/shop/web/config', { headers: upgrade })).status, 400);
  assert.equal(
    (await ask(port, '/proxies/shop/web/config', { headers: { host: 'evil.example' } })).status,
    421,
  );
  assert.equal(asked.length, 0);
});

test('a big page is streamed, and HEAD has none', async () => {
  const part = Buffer.alloc(1024 * 1024, 'x');
  const parts = 24;
  await sidecar((_, response) => {
    let sent = 0;
    const more = () => {
      while (sent < parts) {
        sent++;
        if (!response.write(part)) return void response.once('drain', more);
      }
      response.end();
    };
    more();
  });
  const { port } = await dashboard();
  const { status, text } = await ask(port, '/proxies/shop/web/config');
  assert.equal(status, 200);
  assert.equal(text.length, parts * part.length);
  const head = await ask(port, '/proxies/shop/web/config', { method: 'HEAD' });
  assert.deepEqual([head.status, head.text], [200, '']);
});

test('a page without end is cut off', async () => {
  const part = Buffer.alloc(1024 * 1024, 'x');
  await sidecar((_, response) => {
    const more = () => {
      while (!response.destroyed && response.write(part));
    };
    response.on('drain', more);
    more();
  });
  const { port } = await dashboard();
  await assert.rejects(ask(port, '/proxies/shop/web/config'), /aborted|ECONNRESET|socket hang up/);
  assert.ok(PROXY_PAGE_LIMITS.pageBytesMax < 128 * 1024 * 1024);
});

const SILENT: readonly (readonly [string, RegExp, () => Promise<unknown>])[] = [
  ['is gone', /ECONNREFUSED/, async () => undefined],
  ['is somebody else', /must present/, () => sidecar(page, 'spiffe://cluster.local/ns/shop/sa/other')],
  [
    'answers with an error',
    /answered 503/,
    () => sidecar((_, response) => void response.writeHead(503).end()),
  ],
  [
    'redirects',
    /answered 302/,
    () => sidecar((_, response) => void response.writeHead(302, { location: 'http://x/' }).end()),
  ],
  ['says nothing', /nothing for too long/, () => sidecar(() => undefined)],
];
for (const [what, reason, start] of SILENT) {
  test(`502 with the reason where the sidecar ${what}`, async () => {
    await start();
    const { port } = await dashboard();
    const { status, text } = await ask(port, '/proxies/shop/web/stats');
    assert.equal(status, 502);
    assert.match(text, /the sidecar of pod shop\/web gives no answer/);
    assert.match(text, reason);
  });
}

test('502 where the handshake never ends', async () => {
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => void sockets.push(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => server.listen(PORTS.proxyAdminForControlPlane, IP, resolve));
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = await dashboard();
  assert.equal((await ask(port, '/proxies/shop/web/stats')).status, 502);
});

test('a client that goes away ends the request to the sidecar', async () => {
  let gone = false;
  await sidecar((request, response) => {
    request.socket.once('close', () => {
      gone = true;
    });
    response.writeHead(200).write('{');
  });
  const { port } = await dashboard();
  const request = http.get({ host: '127.0.0.1', port, path: '/proxies/shop/web/config', agent: false });
  request.on('error', () => undefined);
  await new Promise((resolve) => request.once('response', resolve));
  request.destroy();
  await eventually(() => gone, { deadlineMs: 5_000, what: 'the sidecar is let go of' });
});

test('no more than so many pages are fetched at once', async () => {
  const held: http.ServerResponse[] = [];
  await sidecar((_, response) => void held.push(response.writeHead(200)));
  const { port } = await dashboard(undefined, PROXY_PAGE_LIMITS.silenceMs);
  const first = Array.from({ length: PROXY_PAGE_LIMITS.pagesMax }, () =>
    ask(port, '/proxies/shop/web/config'),
  );
  await eventually(() => held.length === PROXY_PAGE_LIMITS.pagesMax, {
    ...{ deadlineMs: 5_000, what: 'all pages are on their way' },
  });
  assert.equal((await ask(port, '/proxies/shop/web/config')).status, 503);
  for (const response of held) response.end('{}');
  for (const { status } of await Promise.all(first)) assert.equal(status, 200);
});

test('a dashboard on all addresses is asked under any address, and under no name of somebody else', () => {
  for (const listen of ['0.0.0.0', '::']) {
    for (const host of ['10.0.0.5', '10.0.0.5:15080', '[fd00::1]:15080', 'localhost:1'])
      assert.equal(hostAllowed(host, [listen]), true, host);
    for (const host of ['evil.example', '10.0.0.5.evil.example', '', 'x:y', undefined])
      assert.equal(hostAllowed(host, [listen]), false, host ?? 'none');
  }
  assert.equal(hostAllowed('10.0.0.6', ['10.0.0.5']), false);
});

/** An API server that knows one token, and lets its owner see pods/proxy of one namespace. */
function reviewer(): FakeClusterApi {
  const api = new FakeClusterApi();
  api.answer = (object: KubeObject) => {
    const spec = object.spec as JsonObject;
    if (object.kind === 'TokenReview')
      return spec.token === 'good'
        ? ({
            ...object,
            status: { authenticated: true, user: { username: 'ann', groups: ['dev'] } },
          } as KubeObject)
        : ({ ...object, status: { authenticated: false } } as KubeObject);
    assert.deepEqual([spec.user, spec.groups], ['ann', ['dev']]);
    const { namespace, subresource, verb, resource } = spec.resourceAttributes as JsonObject;
    assert.deepEqual([verb, resource, subresource], ['get', 'pods', 'proxy']);
    return { ...object, status: { allowed: namespace === 'shop' } } as KubeObject;
  };
  return api;
}

test('off loopback a page is for whoever brings a token of somebody who may proxy to the pod', async () => {
  const asked = await sidecar(page);
  const { port } = await dashboard(pageAccess('0.0.0.0', reviewer()));
  const bearing = (authorization?: string) =>
    ask(port, '/proxies/shop/web/config', authorization === undefined ? {} : { headers: { authorization } });
  const without = await bearing();
  assert.equal(without.status, 401);
  assert.equal(without.headers['www-authenticate'], 'Bearer');
  for (const wrong of ['Bearer bad', 'Basic good', 'Bearer', `Bearer ${'x'.repeat(20_000)}`, 'good'])
    assert.ok([401, 431].includes((await bearing(wrong)).status), wrong.slice(0, 20));
  assert.equal(asked.length, 0);
  assert.equal((await bearing('Bearer good')).status, 200);
  assert.equal(asked[0]?.headers.authorization, undefined);
});

test('off loopback rights are asked for by namespace, and an API server that fails lets nobody in', async () => {
  const access = pageAccess('10.0.0.5', reviewer());
  const request = { headers: { authorization: 'Bearer good' } } as http.IncomingMessage;
  const status = (code: number) => (thrown: unknown) => thrown instanceof HttpError && thrown.status === code;
  await access(request, { namespace: 'shop', pod: 'web', page: 'config' });
  await assert.rejects(access(request, { namespace: 'bank', pod: 'web', page: 'config' }), status(403));
  const failing = new FakeClusterApi();
  failing.before = () => {
    throw new Error('Bearer good: down');
  };
  const down = pageAccess('::', failing);
  await assert.rejects(
    down(request, { namespace: 'shop', pod: 'web', page: 'config' }),
    (thrown) => status(503)(thrown) && !String(thrown).includes('good'),
  );
});

test('off loopback without an API server nobody sees a page, and on loopback everybody does', async () => {
  const request = { headers: {} } as http.IncomingMessage;
  const wanted = { namespace: 'shop', pod: 'web', page: 'config' } as const;
  for (const address of ['0.0.0.0', '10.0.0.1', '::', '128.0.0.1'])
    await assert.rejects(pageAccess(address, undefined)(request, wanted), HttpError, address);
  for (const address of ['127.0.0.1', '127.9.9.9', '::1'])
    await pageAccess(address, undefined)(request, wanted);
});
