import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { after, test } from 'node:test';
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import grpc from '@grpc/grpc-js';
import { systemClock } from '../../common/clock.ts';
import { silentLogger } from '../../common/log.ts';
import { tcpDialer } from '../../common/net.ts';
import { json, type PageRequest, text } from '../../proxy/admin/answer.ts';
import type { AppProbe } from '../../proxy/admin/app-probe-spec.ts';
import { appProber } from '../../proxy/admin/app-probes.ts';
import { ControlPlaneAdmin } from '../../proxy/admin/control-plane-admin.ts';
import { guardBrowsers } from '../../proxy/admin/guard.ts';
import { ADMIN_LIMITS, type AdminServer, serveAdmin } from '../../proxy/admin/server.ts';
import type { Credentials, IdentityStage } from '../../proxy/stage.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { makeCa } from './engine/ca.ts';
import { askPage } from './mesh/pages.ts';

leakCheck();

const closers: (() => unknown)[] = [];
after(async () => {
  for (const close of closers.toReversed()) await close();
});

const asked: PageRequest[] = [];
let afterwards = 0;
const admin: AdminServer = await serveAdmin({
  ...{ name: 'the test port', host: '127.0.0.1', port: 0, log: silentLogger },
  handle(request) {
    asked.push(request);
    if (request.path === '/broken') throw new Error('secret detail');
    if (request.path === '/never') return new Promise(() => {});
    return { ...text(200, 'fine'), afterwards: () => afterwards++ };
  },
  guard: guardBrowsers('127.0.0.1'),
});
closers.push(() => admin.close());
const url = (path: string) => `http://127.0.0.1:${admin.port}${path}`;

/** Everything that comes back for raw bytes, until the other side ends. */
function raw(bytes: string): Promise<string> {
  return new Promise((resolve) => {
    let heard = '';
    const socket = net.connect(admin.port, '127.0.0.1', () => socket.write(bytes));
    socket.on('data', (chunk) => {
      heard += chunk.toString();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve(heard));
  });
}

test('a page is answered, and what follows is done after the answer', async () => {
  const before = afterwards;
  const { status, body, headers } = await askPage(url('/page?level=debug&x=%20'));
  assert.deepEqual([status, body], [200, 'fine\n']);
  assert.equal(headers['x-content-type-options'], 'nosniff');
  const last = asked.at(-1);
  assert.deepEqual([last?.path, last?.query.get('level'), last?.query.get('x')], ['/page', 'debug', ' ']);
  await eventually(() => afterwards === before + 1, { deadlineMs: 2_000, what: 'the action is done' });
});

test('a page that fails says nothing of why', async () => {
  const { status, body } = await askPage(url('/broken'));
  assert.equal(status, 500);
  assert.ok(!body.includes('secret'));
});

test('requests with a body, too long an address or head, or another form are refused', async () => {
  const seen = asked.length;
  assert.equal((await askPage(url('/'), { method: 'POST', body: 'level=debug' })).status, 413);
  assert.equal((await askPage(url(`/${'a'.repeat(ADMIN_LIMITS.urlBytesMax)}`))).status, 414);
  const huge = await raw(
    `GET / HTTP/1.1\r\nHost: localhost\r\nA: ${'a'.repeat(ADMIN_LIMITS.headBytesMax)}\r\n\r\n`,
  );
  assert.match(huge, /^HTTP\/1\.1 431 /);
  const absolute = await raw(
    'GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
  );
  assert.match(absolute, /^HTTP\/1\.1 400 /);
  assert.match(await raw('nonsense\r\n\r\n'), /^HTTP\/1\.1 400 /);
  assert.equal(asked.length, seen);
});

test('a page of somebody else reaches nothing, by name or by origin', async () => {
  const seen = asked.length;
  assert.equal((await askPage(url('/'), { headers: { host: 'evil.example' } })).status, 421);
  const forged = { method: 'POST', headers: { origin: 'http://evil.example' } };
  assert.equal((await askPage(url('/quit'), forged)).status, 403);
  assert.equal(asked.length, seen);
});

/** A connection from an address of this machine that has said `first`, and whether it is gone. */
async function hold(localAddress: string, first: string) {
  const socket = net.connect({ port: admin.port, host: '127.0.0.1', localAddress });
  const held = { socket, gone: false };
  socket.on('error', () => socket.destroy());
  // Its end is seen by reading.
  socket.resume();
  socket.on('close', () => {
    held.gone = true;
  });
  await once(socket, 'connect');
  if (first !== '') socket.write(first);
  return held;
}

const HEALTH = 'GET /healthz/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
/** Idle, in the middle of a head, waiting for an answer. */
const WAYS_TO_HOLD = ['', 'GET /a HTTP/1.1\r\n', 'GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n'];

test('connections are bounded, and whoever holds most of them keeps nobody out', async () => {
  const { connectionsMax } = ADMIN_LIMITS;
  const held: Awaited<ReturnType<typeof hold>>[] = [];
  const gone = () => held.filter((one) => one.gone).length;
  const take = async (first: string) => held.push(await hold('127.0.0.2', first));
  try {
    for (let index = 0; index < connectionsMax; index++) await take(WAYS_TO_HOLD[index % 3] ?? '');
    const underWay = () => asked.filter(({ path }) => path === '/never').length;
    await eventually(() => underWay() === Math.floor(connectionsMax / 3), {
      ...{ deadlineMs: 2_000, what: 'requests are under way' },
    });
    assert.equal(gone(), 0);
    // A kubelet with many containers to ask.
    const answers = await Promise.all(Array.from({ length: 10 }, () => raw(HEALTH)));
    for (const answer of answers) assert.match(answer, /^HTTP\/1\.1 200 /);
    await eventually(() => gone() > 0, { deadlineMs: 2_000, what: 'who holds most has lost some' });
    assert.ok(gone() <= 10, `${gone()} are gone`);
    for (let index = 0; index < connectionsMax; index++) await take('');
    await eventually(() => held.length - gone() === connectionsMax, {
      ...{ deadlineMs: 2_000, what: 'as many are held as may be' },
    });
    assert.equal(underWay(), Math.floor(connectionsMax / 3));
  } finally {
    for (const { socket } of held) socket.destroy();
  }
});

test('a port that is taken is told with its name', async () => {
  await assert.rejects(
    serveAdmin({
      ...{ name: 'the second port', host: '127.0.0.1', port: admin.port, log: silentLogger },
      handle: () => text(200, ''),
    }),
    /the second port can't listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/,
  );
});

// ── the read-only admin for the control plane ─────────────────────────────────────────────────────────────────────

const ca = makeCa('Mesh root');
const SIDECAR = 'spiffe://cluster.local/ns/shop/sa/web';
const CONTROL_PLANE = 'spiffe://cluster.local/ns/heddle-system/sa/heddle-control-plane';

class ChangingIdentity implements IdentityStage {
  #current = ca.issue(SIDECAR);
  readonly #listeners = new Set<(credentials: Credentials) => void>();
  current(): Credentials {
    return this.#current;
  }
  onChange(listener: (credentials: Credentials) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  rotate(): void {
    this.#current = ca.issue(SIDECAR);
    for (const listener of this.#listeners) listener(this.#current);
  }
}

const identity = new ChangingIdentity();
const readOnly = new ControlPlaneAdmin({
  ...{ host: '127.0.0.1', port: 0, trustDomain: 'cluster.local', identity, log: silentLogger },
  ...{ pages: () => json({ clusters: {} }), wallMs: () => systemClock.wallMs() },
});
const { port: readOnlyPort } = await readOnly.start();
closers.push(() => readOnly.close());

/** Asks as the owner of these credentials would; `serial` is that of the certificate which the sidecar showed. */
function askAs(own: Credentials | undefined): Promise<{ status: number; body: string; serial: string }> {
  return new Promise((resolve, reject) => {
    let serial = '';
    const request = https.get(
      {
        ...{ host: '127.0.0.1', port: readOnlyPort, path: '/breakers', agent: false, ca: ca.rootPem },
        ...(own === undefined ? {} : { cert: own.certificateChainPem, key: own.privateKeyPem }),
        checkServerIdentity: (_host, certificate) => {
          serial = certificate.serialNumber;
          return certificate.subjectaltname === `URI:${SIDECAR}` ? undefined : new Error('not the sidecar');
        },
      },
      (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => {
          body += chunk.toString();
        });
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body, serial }));
      },
    );
    request.on('error', reject);
  });
}

test('the control plane reads a sidecar, and nobody else does', async () => {
  const { status, body } = await askAs(ca.issue(CONTROL_PLANE));
  assert.deepEqual([status, JSON.parse(body)], [200, { clusters: {} }]);
  const others = [
    SIDECAR,
    'spiffe://cluster.local/ns/shop/sa/heddle-control-plane',
    'spiffe://other.example/ns/heddle-system/sa/heddle-control-plane',
  ];
  for (const uri of others) {
    const refused = await askAs(ca.issue(uri));
    assert.equal(refused.status, 403, uri);
    assert.ok(!refused.body.includes('clusters'), uri);
  }
  await assert.rejects(askAs(undefined), 'no certificate');
  await assert.rejects(askAs(makeCa('Mesh root').issue(CONTROL_PLANE)), 'another CA of the same name');
  await assert.rejects(askAs(ca.issue(CONTROL_PLANE, { hours: -1 })), 'expired');
});

test('a new certificate is shown from the moment it is there', async () => {
  const before = (await askAs(ca.issue(CONTROL_PLANE))).serial;
  identity.rotate();
  const now = (await askAs(ca.issue(CONTROL_PLANE))).serial;
  assert.notEqual(now, before);
});

// ── an app's own probes, over real sockets ────────────────────────────────────────────────────────────────────────

const run = appProber({
  ...{ clock: systemClock, dialer: tcpDialer },
  appAddress: (port) => ({ host: '127.0.0.1', port }),
});

async function listening(server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => new Promise((resolve) => server.close(resolve)));
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

const httpProbe = (port: number, tls = false): AppProbe => ({
  ...{ kind: 'http', timeoutMs: 5_000, port, host: undefined, path: '/healthz', tls, headers: [] },
});

test('HTTP and HTTPS probes reach the app, whoever signed its certificate', async () => {
  const answer = (request: http.IncomingMessage, response: http.ServerResponse) =>
    response.writeHead(request.url === '/healthz' ? 200 : 404).end();
  assert.equal(await run(httpProbe(await listening(http.createServer(answer)))), undefined);
  const own = makeCa('The app itself').issue('spiffe://elsewhere/ns/a/sa/b');
  const secure = https.createServer({ cert: own.certificateChainPem, key: own.privateKeyPem }, answer);
  assert.equal(await run(httpProbe(await listening(secure), true)), undefined);
});

test('a gRPC probe asks the health service for its service by name', async () => {
  const statuses = new Map([
    ['', 1],
    ['shop.Catalog', 2],
  ]);
  const server = new grpc.Server();
  server.addService(
    {
      Check: {
        path: '/grpc.health.v1.Health/Check',
        ...{ requestStream: false, responseStream: false },
        requestSerialize: ({ service }: HealthRequest) => Buffer.from(service),
        requestDeserialize: readRequest,
        responseSerialize: (status: number) =>
          Buffer.from(new BinaryWriter().uint32(8).int32(status).finish()),
        responseDeserialize: (bytes: Buffer) => bytes.length,
      },
    },
    {
      Check(call: grpc.ServerUnaryCall<HealthRequest, number>, done: grpc.sendUnaryData<number>) {
        const status = statuses.get(call.request.service);
        if (status === undefined) done({ code: grpc.status.NOT_FOUND, details: 'unknown service' });
        else done(null, status);
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  closers.push(() => server.forceShutdown());
  const probe = (service: string): AppProbe => ({ kind: 'grpc', timeoutMs: 5_000, port, service });
  assert.equal(await run(probe('')), undefined);
  assert.equal(await run(probe('shop.Catalog')), 'the app says NOT_SERVING');
  assert.equal(await run(probe('shop.Unknown')), "the app's health service: unknown service");
});

interface HealthRequest {
  readonly service: string;
}

/** `HealthCheckRequest`: the service is field 1, and absent where it is empty. */
function readRequest(bytes: Buffer): HealthRequest {
  const reader = new BinaryReader(bytes);
  return { service: reader.pos < reader.len && reader.uint32() === 10 ? reader.string() : '' };
}

test('a gRPC app that is not there, or is silent, is not healthy, in time', async () => {
  const sockets = new Set<net.Socket>();
  const mute = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
  });
  const port = await listening(mute);
  const startedMs = performance.now();
  assert.match(
    (await run({ kind: 'grpc', timeoutMs: 500, port, service: '' })) ?? '',
    /no answer within 500 ms/,
  );
  assert.ok(performance.now() - startedMs < 3_000);
  for (const socket of sockets) socket.destroy();
});
