import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import tls from 'node:tls';
import type { MtlsMode } from '../../model/snapshot.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { makeCa, type TestCa } from './engine/ca.ts';
import { ask, openTcp, type Sidecar, startServer, startSidecar, type TestServer } from './engine/sidecar.ts';
import { startTap } from './mesh/tap.ts';

leakCheck();

const WEB = 'spiffe://cluster.local/ns/shop/sa/web';
const CATALOG = 'spiffe://cluster.local/ns/shop/sa/catalog';
const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
const TLS_HANDSHAKE = 22;
const HELLO_READ_MS = 600;
const HANDSHAKE_MS = 1_500;

let ca: TestCa;
let web: Sidecar;
let catalog: Sidecar;
let app: TestServer;
/** What reached the app, in order. */
const begun: string[] = [];
const ports = new Map<MtlsMode, number>();

before(async () => {
  ca = makeCa('Heddle test');
  web = await startSidecar(ca, WEB);
  catalog = await startSidecar(ca, CATALOG, 'http-proxy', {
    helloReadMs: HELLO_READ_MS,
    handshakeMs: HANDSHAKE_MS,
  });
  app = await startServer((socket) => {
    socket.on('data', (chunk) => {
      begun.push(chunk[0] === TLS_HANDSHAKE ? 'tls' : 'http');
      if (chunk[0] === TLS_HANDSHAKE) socket.end();
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
  });
  for (const [index, mode] of (['STRICT', 'PERMISSIVE', 'DISABLE'] as const).entries()) {
    catalog.mode(9_000 + index, mode);
    const handle = await catalog.stack.listenInbound(
      { host: '127.0.0.1', port: 0 },
      { containerPort: 9_000 + index, app: { host: '127.0.0.1', port: app.port } },
    );
    ports.set(mode, handle.port);
  }
});

after(async () => {
  await web?.close();
  await catalog?.close();
  await app?.close();
});

function portOf(mode: MtlsMode): number {
  const port = ports.get(mode);
  assert.ok(port !== undefined);
  return port;
}

/** Asks over TLS; what was heard until the connection ended, or the error. */
function askTls(port: number, options: tls.ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const client = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    let heard = '';
    client.on('secureConnect', () => client.write(REQUEST));
    client.on('data', (chunk) => {
      heard += chunk.toString('latin1');
    });
    client.on('error', () => client.destroy());
    client.on('close', () => resolve(heard));
  });
}

const MESH = ['heddle', 'http/1.1'];

function pair(issuer: TestCa, options: { readonly hours?: number } = {}): tls.ConnectionOptions {
  const { certificateChainPem, privateKeyPem } = issuer.issue(WEB, options);
  return { cert: certificateChainPem, key: privateKeyPem };
}

type Client = readonly [
  who: string,
  ask: (port: number) => Promise<string>,
  strict: string,
  permissive: string,
  disable: string,
];

/** What becomes of each client: answered by the app, handed to the app as its own TLS, or refused. */
const CLIENTS: readonly Client[] = [
  [
    'a mesh client',
    (port) => askTls(port, { ALPNProtocols: MESH, ...pair(ca) }),
    ...(['answered', 'answered', 'own TLS'] as const),
  ],
  [
    'a mesh client that offers the marker last',
    (port) => askTls(port, { ALPNProtocols: ['http/1.1', 'heddle'], ...pair(ca) }),
    ...(['answered', 'answered', 'own TLS'] as const),
  ],
  [
    'plaintext',
    async (port) => (await ask(port, REQUEST)).text,
    ...(['refused', 'answered', 'answered'] as const),
  ],
  [
    "a client with the app's own TLS",
    (port) => askTls(port, { ALPNProtocols: ['h2'] }),
    ...(['refused', 'own TLS', 'own TLS'] as const),
  ],
  ['TLS without any ALPN', (port) => askTls(port, {}), ...(['refused', 'own TLS', 'own TLS'] as const)],
  [
    'a certificate of the mesh without the marker',
    (port) => askTls(port, { ALPNProtocols: ['http/1.1'], ...pair(ca) }),
    ...(['refused', 'own TLS', 'own TLS'] as const),
  ],
  [
    'the marker without a certificate',
    (port) => askTls(port, { ALPNProtocols: MESH }),
    ...(['refused', 'refused', 'own TLS'] as const),
  ],
  [
    'the marker with a certificate of another CA',
    (port) => askTls(port, { ALPNProtocols: MESH, ...pair(makeCa('elsewhere')) }),
    ...(['refused', 'refused', 'own TLS'] as const),
  ],
  [
    'the marker with an expired certificate',
    (port) => askTls(port, { ALPNProtocols: MESH, ...pair(ca, { hours: -1 }) }),
    ...(['refused', 'refused', 'own TLS'] as const),
  ],
  [
    'the marker in TLS 1.2',
    (port) => askTls(port, { ALPNProtocols: MESH, maxVersion: 'TLSv1.2', ...pair(ca) }),
    ...(['refused', 'refused', 'own TLS'] as const),
  ],
  [
    'the marker with nothing that is spoken here',
    (port) => askTls(port, { ALPNProtocols: ['heddle', 'spdy/3'], ...pair(ca) }),
    ...(['refused', 'refused', 'own TLS'] as const),
  ],
  [
    'the marker alone',
    (port) => askTls(port, { ALPNProtocols: ['heddle'], ...pair(ca) }),
    ...(['refused', 'refused', 'own TLS'] as const),
  ],
];

for (const [who, askAs, strict, permissive, disable] of CLIENTS) {
  for (const [mode, expected] of [
    ['STRICT', strict],
    ['PERMISSIVE', permissive],
    ['DISABLE', disable],
  ] as const) {
    test(`${mode}, ${who}: ${expected}`, async () => {
      begun.length = 0;
      const heard = await askAs(portOf(mode));
      const outcome = heard.startsWith('HTTP/1.1 200')
        ? 'answered'
        : begun.includes('tls')
          ? 'own TLS'
          : 'refused';
      assert.equal(outcome, expected);
      assert.deepEqual(begun, { answered: ['http'], 'own TLS': ['tls'], refused: [] }[outcome]);
    });
  }
}

test('a session is not resumed: each connection is checked in full', async () => {
  const options = { ALPNProtocols: MESH, ca: ca.rootPem, checkServerIdentity: () => undefined, ...pair(ca) };
  const connect = (
    session?: Buffer,
  ): Promise<{ readonly resumed: boolean; readonly session: Buffer | undefined }> =>
    new Promise((resolve, reject) => {
      const client = tls.connect({ port: portOf('STRICT'), host: '127.0.0.1', session, ...options });
      let ticket: Buffer | undefined;
      client.on('session', (made) => {
        ticket = made;
      });
      client.on('secureConnect', () => client.write(REQUEST));
      client.once('data', () => {
        const resumed = client.isSessionReused();
        client.destroy();
        resolve({ resumed, session: ticket });
      });
      client.on('error', reject);
    });
  const first = await connect();
  assert.ok(first.session !== undefined);
  assert.equal((await connect(first.session)).resumed, false);
});

/** Sends what a client says on to `port` one byte at a time. */
async function startDribble(port: number): Promise<TestServer> {
  return startServer((client) => {
    const upstream = net.connect({ port, host: '127.0.0.1', noDelay: true });
    upstream.on('error', () => client.destroy());
    upstream.on('close', () => client.destroy());
    upstream.pipe(client);
    client.on('close', () => upstream.destroy());
    client.on('data', async (chunk: Buffer) => {
      client.pause();
      for (const byte of chunk) {
        upstream.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      client.resume();
    });
  });
}

test('a mesh client whose bytes come one at a time is understood', async () => {
  for (const mode of ['STRICT', 'PERMISSIVE'] as const) {
    const dribble = await startDribble(portOf(mode));
    const heard = await askTls(dribble.port, { ALPNProtocols: MESH, ...pair(ca) });
    assert.match(heard, /^HTTP\/1\.1 200 /);
    await dribble.close();
  }
});

test('under STRICT a hello that does not come in time, or not within its size, is not waited for', async () => {
  const slow = await openTcp(portOf('STRICT'));
  slow.socket.write(Buffer.from([TLS_HANDSHAKE, 3, 1, 0x10, 0, 1]));
  const startedMs = performance.now();
  await eventually(() => slow.socket.destroyed, { deadlineMs: 5_000, what: 'the slow client is let go' });
  assert.ok(performance.now() - startedMs > HELLO_READ_MS - 50);
  const long = await openTcp(portOf('STRICT'));
  const record = Buffer.concat([Buffer.from([TLS_HANDSHAKE, 3, 1, 0x40, 0]), Buffer.alloc(0x4000)]);
  record.set([1, 0xff, 0xff, 0xff], 5);
  long.socket.write(Buffer.concat([record, record.with(5, 0), record.with(5, 0)]));
  await eventually(() => long.socket.destroyed, {
    deadlineMs: HELLO_READ_MS,
    what: 'the long hello is refused',
  });
});

test('a handshake that is begun and not ended is not waited for', async () => {
  let hello: Buffer | undefined;
  const listening = await startServer((socket) => {
    socket.once('data', (bytes: Buffer) => {
      hello = bytes;
    });
  });
  const honest = tls.connect({ port: listening.port, host: '127.0.0.1', ALPNProtocols: MESH });
  honest.on('error', () => honest.destroy());
  await eventually(() => hello !== undefined, { deadlineMs: 5_000, what: 'a hello' });
  honest.destroy();
  await listening.close();
  const client = await openTcp(portOf('STRICT'));
  const startedMs = performance.now();
  client.socket.write(hello ?? '');
  await eventually(() => client.text().length > 0, { deadlineMs: 5_000, what: 'the server goes on' });
  await eventually(() => client.socket.destroyed || client.ended(), {
    deadlineMs: 5 * HANDSHAKE_MS,
    what: 'the handshake is given up',
  });
  client.socket.destroy();
  assert.ok(performance.now() - startedMs > HANDSHAKE_MS - 50);
});

/** RFC 8446, section 4.2.8: the group of the key share that a ServerHello selects. */
function selectedGroup(fromServer: Buffer): number | undefined {
  let at = 5 + 4 + 2 + 32;
  at += 1 + (fromServer[at] ?? 0) + 3;
  const end = at + 2 + fromServer.readUInt16BE(at);
  for (at += 2; at < end; at += 4 + fromServer.readUInt16BE(at + 2)) {
    if (fromServer.readUInt16BE(at) === 51) return fromServer.readUInt16BE(at + 4);
  }
  return undefined;
}

test('two sidecars agree on a post-quantum key', async () => {
  const tap = await startTap({ host: '127.0.0.1', port: portOf('STRICT') });
  web.fakes.config.add({
    host: 'tapped',
    port: 80,
    endpoints: [{ address: '127.0.0.1', port: tap.port, identities: [CATALOG] }],
  });
  const answer = await ask(
    web.outboundPort,
    'GET http://tapped/ HTTP/1.1\r\nHost: tapped\r\nConnection: close\r\n\r\n',
  );
  assert.match(answer.text, /^HTTP\/1\.1 200 /);
  const [fromServer] = tap.fromServer();
  assert.equal(fromServer === undefined ? undefined : selectedGroup(fromServer), 0x11ec, 'X25519MLKEM768');
  await tap.close();
});

test('certificates are rotated on both sides under load, and no request is lost', async () => {
  web.fakes.config.add({
    host: 'rotating',
    port: 80,
    endpoints: [{ address: '127.0.0.1', port: portOf('STRICT'), identities: [CATALOG] }],
    retry: { attempts: 0 },
  });
  let asking = true;
  let answered = 0;
  const lanes = Array.from({ length: 4 }, async () => {
    while (asking) {
      const { text } = await ask(
        web.outboundPort,
        'POST http://rotating/ HTTP/1.1\r\nHost: rotating\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
      );
      assert.match(text, /^HTTP\/1\.1 200 /);
      answered++;
    }
  });
  for (let turn = 0; turn < 10; turn++) {
    const target = answered + 20;
    await eventually(() => answered >= target, { deadlineMs: 10_000, what: 'twenty answers' });
    if (turn % 2 === 0) catalog.rotate();
    else web.rotate();
  }
  asking = false;
  await Promise.all(lanes);
});
