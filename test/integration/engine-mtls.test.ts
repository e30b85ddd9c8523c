import assert from 'node:assert/strict';
import type net from 'node:net';
import { after, before, test } from 'node:test';
import tls from 'node:tls';
import type { MtlsMode } from '../../model/snapshot.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { makeCa, type TestCa } from './engine/ca.ts';
import { ask, openTcp, type Sidecar, startServer, startSidecar, type TestServer } from './engine/sidecar.ts';

leakCheck();

const WEB = 'spiffe://cluster.local/ns/shop/sa/web';
const CATALOG = 'spiffe://cluster.local/ns/shop/sa/catalog';

let ca: TestCa;
let app: TestServer;
let echo: TestServer;
let web: Sidecar;
let catalog: Sidecar;

before(async () => {
  ca = makeCa('Heddle test');
  app = await startServer((socket) => {
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1');
      if (!text.startsWith('GET') && !text.startsWith('POST')) return;
      const body = text;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
  });
  // Speaks first, as databases and mail servers do.
  echo = await startServer((socket) => {
    socket.write('220 ready\r\n');
    socket.pipe(socket);
  });
  web = await startSidecar(ca, WEB);
  catalog = await startSidecar(ca, CATALOG);
});

after(async () => {
  await web.close();
  await catalog.close();
  await app.close();
  await echo.close();
});

async function inboundPort(mode: MtlsMode, appPort: number, sidecar = catalog): Promise<number> {
  const containerPort = 1_000 + Math.floor(Math.random() * 50_000);
  sidecar.mode(containerPort, mode);
  const handle = await sidecar.stack.listenInbound(
    { host: '127.0.0.1', port: 0 },
    { containerPort, app: { host: '127.0.0.1', port: appPort } },
  );
  return handle.port;
}

test('two sidecars carry a request over mTLS, and the app learns who called', async () => {
  const port = await inboundPort('STRICT', app.port);
  web.fakes.config.add({
    host: 'catalog',
    port: 80,
    endpoints: [{ address: '127.0.0.1', port, identities: [CATALOG] }],
  });
  const answer = await ask(
    web.outboundPort,
    'GET http://catalog/a HTTP/1.1\r\nHost: catalog\r\nConnection: close\r\n\r\n',
  );
  assert.match(answer.text, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(answer.text, new RegExp(`x-forwarded-client-cert: By=${CATALOG};URI=${WEB}\r\n`));
  assert.match(answer.text, /x-heddle-attempt: 1\r\n/);
  assert.equal(catalog.fakes.telemetry.opened.at(-1)?.peer, WEB);
});

test('a server with another identity than the endpoint may have is refused before a byte is sent', async () => {
  const port = await inboundPort('STRICT', app.port);
  web.fakes.config.add({
    host: 'impostor',
    port: 80,
    endpoints: [{ address: '127.0.0.1', port, identities: ['spiffe://cluster.local/ns/shop/sa/other'] }],
  });
  const answer = await ask(
    web.outboundPort,
    'GET http://impostor/ HTTP/1.1\r\nHost: impostor\r\nConnection: close\r\n\r\n',
  );
  assert.match(answer.text, /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: peer-identity\r\n/);
});

test('a server of another CA is refused', async () => {
  const elsewhere = await startSidecar(makeCa('elsewhere'), CATALOG);
  const port = await inboundPort('PERMISSIVE', app.port, elsewhere);
  web.fakes.config.add({
    host: 'foreign',
    port: 80,
    endpoints: [{ address: '127.0.0.1', port, identities: [CATALOG] }],
  });
  const answer = await ask(
    web.outboundPort,
    'GET http://foreign/ HTTP/1.1\r\nHost: foreign\r\nConnection: close\r\n\r\n',
  );
  assert.match(answer.text, /^HTTP\/1\.1 503 /);
  await elsewhere.close();
});

async function meshClient(port: number, options: tls.ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const client = tls.connect({
      port,
      host: '127.0.0.1',
      ALPNProtocols: ['heddle', 'http/1.1'],
      rejectUnauthorized: false,
      ...options,
    });
    let heard = '';
    client.on('secureConnect', () => client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'));
    client.on('data', (chunk) => {
      heard += chunk.toString('latin1');
    });
    client.on('error', () => client.destroy());
    client.on('close', () => resolve(heard));
  });
}

test('a client without a certificate, of another CA, or without a workload name is refused', async () => {
  for (const mode of ['STRICT', 'PERMISSIVE'] as const) {
    const port = await inboundPort(mode, app.port);
    const before = app.connections();
    const foreign = makeCa('elsewhere').issue(WEB);
    const otherDomain = ca.issue('spiffe://other.domain/ns/shop/sa/web');
    const noSpiffe = ca.issue('https://cluster.local/web');
    for (const credentials of [undefined, foreign, otherDomain, noSpiffe]) {
      const heard = await meshClient(
        port,
        credentials === undefined
          ? {}
          : { cert: credentials.certificateChainPem, key: credentials.privateKeyPem },
      );
      assert.equal(heard, '');
    }
    assert.equal(app.connections(), before);
    const good = ca.issue(WEB);
    const heard = await meshClient(port, { cert: good.certificateChainPem, key: good.privateKeyPem });
    assert.match(heard, /^HTTP\/1\.1 200 /);
  }
});

test('an expired client certificate is refused', async () => {
  const port = await inboundPort('STRICT', app.port);
  const expired = ca.issue(WEB, { hours: -1 });
  const heard = await meshClient(port, { cert: expired.certificateChainPem, key: expired.privateKeyPem });
  assert.equal(heard, '');
});

test('the key agreement is post-quantum and the protocol TLS 1.3', async () => {
  const port = await inboundPort('STRICT', app.port);
  const good = ca.issue(WEB);
  const client = tls.connect({
    port,
    host: '127.0.0.1',
    ALPNProtocols: ['heddle', 'http/1.1'],
    ca: ca.rootPem,
    cert: good.certificateChainPem,
    key: good.privateKeyPem,
    checkServerIdentity: () => undefined,
    ecdhCurve: 'X25519MLKEM768',
  });
  await new Promise((resolve, reject) => {
    client.once('secureConnect', resolve);
    client.once('error', reject);
  });
  assert.equal(client.getProtocol(), 'TLSv1.3');
  assert.equal(client.alpnProtocol, 'http/1.1');
  client.destroy();
});

test('plaintext is refused under STRICT and passes under PERMISSIVE, without a name of its caller', async () => {
  const strict = await inboundPort('STRICT', app.port);
  const refused = await ask(strict, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  assert.equal(refused.text, '');
  const permissive = await inboundPort('PERMISSIVE', app.port);
  const passed = await ask(
    permissive,
    'GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=spiffe://evil\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n',
  );
  assert.match(passed.text, /^HTTP\/1\.1 200 /);
  assert.equal(/client-cert|6\.6\.6\.6/i.test(passed.text), false);
});

test("an app's own TLS passes under PERMISSIVE, ALPN and all, and is refused under STRICT", async () => {
  const own = ca.issue('spiffe://cluster.local/ns/shop/sa/own');
  const server = tls.createServer({
    cert: own.certificateChainPem,
    key: own.privateKeyPem,
    ALPNProtocols: ['h2'],
  });
  server.on('secureConnection', (socket) => socket.end(`own ${String(socket.alpnProtocol)}`));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const ownPort = (server.address() as net.AddressInfo).port;
  const talk = (port: number): Promise<string> =>
    new Promise((resolve) => {
      const client = tls.connect({
        port,
        host: '127.0.0.1',
        ALPNProtocols: ['h2'],
        rejectUnauthorized: false,
      });
      let heard = '';
      client.on('data', (chunk) => {
        heard += chunk.toString();
      });
      client.on('error', () => client.destroy());
      client.on('close', () => resolve(heard));
    });
  assert.equal(await talk(await inboundPort('PERMISSIVE', ownPort)), 'own h2');
  assert.equal(await talk(await inboundPort('STRICT', ownPort)), '');
  assert.equal(await talk(await inboundPort('DISABLE', ownPort)), 'own h2');
  await new Promise((resolve) => server.close(resolve));
});

test('a server that speaks first is heard through CONNECT and mTLS, and each side ends by itself', async () => {
  const port = await inboundPort('STRICT', echo.port);
  web.fakes.config.add({
    host: 'mail',
    port: 25,
    endpoints: [{ address: '127.0.0.1', port, identities: [CATALOG] }],
  });
  const client = await openTcp(web.outboundPort);
  client.socket.write('CONNECT mail:25 HTTP/1.1\r\nHost: mail:25\r\n\r\n');
  await eventually(() => client.text().includes('220 ready'), { deadlineMs: 5_000, what: 'the greeting' });
  client.socket.end('EHLO x\r\n');
  await eventually(() => client.text().endsWith('EHLO x\r\n') && client.ended(), {
    deadlineMs: 5_000,
    what: 'the echo and the end of it',
  });
});

test('an app that is not there is app-refused, which the client side may send elsewhere', async () => {
  const gone = await startServer(() => undefined);
  await gone.close();
  const dead = await inboundPort('STRICT', gone.port);
  const alive = await inboundPort('STRICT', app.port);
  web.fakes.config.add({
    host: 'half',
    port: 80,
    endpoints: [
      { address: '127.0.0.1', port: dead, identities: [CATALOG] },
      { address: '127.0.0.1', port: alive, identities: [CATALOG] },
    ],
  });
  const post =
    'POST http://half/ HTTP/1.1\r\nHost: half\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody';
  const saved = await ask(web.outboundPort, post);
  assert.match(saved.text, /^HTTP\/1\.1 200 [\s\S]*x-heddle-attempt: 2\r\n/);
  web.fakes.config.add({
    host: 'half',
    port: 80,
    endpoints: [{ address: '127.0.0.1', port: dead, identities: [CATALOG] }],
    retry: { attempts: 0 },
  });
  const lost = await ask(web.outboundPort, post);
  assert.match(lost.text, /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: app-refused\r\n/);
});

test('a new leaf is used by new connections while old ones live on', async () => {
  const port = await inboundPort('STRICT', app.port);
  web.fakes.config.add({
    host: 'rotated',
    port: 80,
    endpoints: [{ address: '127.0.0.1', port, identities: [CATALOG] }],
  });
  const request = 'GET http://rotated/ HTTP/1.1\r\nHost: rotated\r\n\r\n';
  const client = await openTcp(web.outboundPort);
  client.socket.write(request);
  await eventually(() => client.text().split('HTTP/1.1 200').length === 2, {
    deadlineMs: 5_000,
    what: 'an answer',
  });
  catalog.rotate();
  web.rotate();
  client.socket.write(request);
  await eventually(() => client.text().split('HTTP/1.1 200').length === 3, {
    deadlineMs: 5_000,
    what: 'another',
  });
  client.socket.destroy();
});

test('a ClientHello in single bytes is understood, and a silent or endless one is not waited for', async () => {
  const port = await inboundPort('STRICT', app.port);
  const garbage = await ask(port, `\x16\x03\x01\x40\x00\x01${'\0'.repeat(70_000)}`);
  assert.equal(garbage.text, '');
  const invalid = await ask(port, '\x16\x03\x01\x00\x05\x02hello');
  assert.equal(invalid.text, '');
});
