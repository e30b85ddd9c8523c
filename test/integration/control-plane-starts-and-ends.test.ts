import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TYPE } from '../../common/wire/types.ts';
import { leakCheck } from '../support/leak-check.ts';
import { pod } from '../support/small-mesh.ts';
import { eventually } from '../support/wait.ts';
import { AdsClient, nodeIdOf } from './control-plane/ads-client.ts';
import { certify } from './control-plane/credentials.ts';
import { startMesh, type TestMesh } from './mesh/harness.ts';
import { podObject } from './mesh/manifests.ts';
import { askPage } from './mesh/pages.ts';

leakCheck();

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

describe('a control plane with proxies connected', () => {
  const WEB = pod('shop', 'web', '127.244.0.1');
  let mesh: TestMesh;
  before(async () => {
    mesh = await startMesh();
    mesh.apply('web.json', JSON.stringify(podObject(WEB)));
  });
  after(() => mesh?.close());

  test('signs what openssl verifies, with nothing in it but the identity', async () => {
    const { certificateChainPem } = await certify(mesh, WEB);
    const leaf = join(mesh.directory, 'leaf.pem');
    const root = join(mesh.directory, 'state', 'root.pem');
    writeFileSync(leaf, certificateChainPem);
    const openssl = (...args: string[]) => execFileSync('openssl', args, { encoding: 'utf8' });
    for (const purpose of ['sslserver', 'sslclient']) {
      assert.match(openssl('verify', '-x509_strict', '-purpose', purpose, '-CAfile', root, leaf), /OK/);
    }
    const text = openssl('x509', '-in', leaf, '-noout', '-text');
    assert.match(
      text,
      /X509v3 Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web\n/,
    );
    assert.match(text, /Key Usage: critical\s+Digital Signature\n/);
    assert.match(
      text,
      /Extended Key Usage:\s+TLS Web Server Authentication, TLS Web Client Authentication\n/,
    );
    assert.match(text, /Basic Constraints: critical\s+CA:FALSE\n/);
    assert.match(text, /Subject:\s*\n/);
    const rootText = openssl('x509', '-in', root, '-noout', '-text');
    assert.match(rootText, /CA:TRUE, pathlen:0/);
    assert.match(rootText, /Certificate Sign, CRL Sign/);
  });

  test("refuses a request for somebody else's identity over the wire", async () => {
    await assert.rejects(certify(mesh, WEB, 'spiffe://cluster.local/ns/shop/sa/other'), {
      code: 'ca-refused',
      message: /the SAN must be spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web/,
    });
  });

  test('keeps its root over a kill, so that nobody has to be certified anew', async () => {
    const own = await certify(mesh, WEB);
    const before = readFileSync(join(mesh.directory, 'state', 'root.pem'), 'utf8');
    await mesh.controlPlane().stop('SIGKILL');
    await mesh.startControlPlane();
    assert.equal(readFileSync(join(mesh.directory, 'state', 'root.pem'), 'utf8'), before);
    assert.equal(statSync(join(mesh.directory, 'state', 'root-key.pem')).mode & 0o777, 0o600);
    const client = new AdsClient({ port: mesh.ports().xds, rootsPem: own.rootsPem, own });
    client.hello(nodeIdOf(WEB), TYPE.secret, 'trust-bundle');
    await client.received(1);
    client.close();
  });

  test('ends within a second when told to, with streams open on every port', async () => {
    const own = await certify(mesh, WEB);
    const clients = Array.from({ length: 4 }, () => {
      const client = new AdsClient({ port: mesh.ports().xds, rootsPem: own.rootsPem, own });
      client.hello(nodeIdOf(WEB), TYPE.secret, 'trust-bundle');
      return client;
    });
    const { dashboard, metrics, otlpHttp, otlpGrpc } = mesh.ports();
    const sockets = [dashboard, metrics, otlpHttp, otlpGrpc].map((port) => net.connect(port, '127.0.0.1'));
    for (const socket of sockets) socket.on('error', () => undefined);
    sockets[0]?.write('GET /api/heddle/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    await Promise.all(clients.map((client) => client.received(1)));
    const startedMs = performance.now();
    await mesh.controlPlane().stop('SIGTERM');
    const tookMs = performance.now() - startedMs;
    assert.equal(mesh.controlPlane().child.exitCode, 0, mesh.controlPlane().output());
    assert.ok(tookMs < 1_000, `${Math.round(tookMs)} ms`);
    for (const client of clients) client.close();
    for (const socket of sockets) socket.destroy();
    await mesh.startControlPlane();
  });

  test('logs neither tokens nor keys', async () => {
    await certify(mesh, WEB);
    const output = mesh.controlPlane().output();
    assert.match(output, /certificate issued/);
    const key = readFileSync(join(mesh.directory, 'state', 'root-key.pem'), 'utf8').split('\n')[1] ?? '';
    const token = mesh.issuer.issue({ ...WEB, pod: WEB.name }).split('.')[0] ?? '';
    assert.ok(!output.includes(key) && !output.includes(token));
  });

  test('counts what it signs and refuses', async () => {
    const page = await askPage(`http://127.0.0.1:${mesh.ports().metrics}/metrics`);
    assert.match(page.body, /heddle_ca_certificates_total\{outcome="issued"\} [1-9]/);
  });
});

describe('a control plane that can not start', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'heddle-start-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  /** Runs until it ends by itself. */
  async function run(...args: string[]): Promise<{ code: number | null; errors: string }> {
    const child = spawn(process.execPath, [`${ROOT}control-plane/main.ts`, ...args], {
      env: { PATH: process.env.PATH ?? '', NODE_NO_WARNINGS: '1' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    const closed = once(child, 'close');
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
    await closed;
    clearTimeout(timer);
    return { code: child.exitCode, errors };
  }

  const state = () => join(directory, 'state');
  const free = [
    '--otlp-grpc-port',
    '0',
    '--otlp-http-port',
    '0',
    '--dashboard-port',
    '0',
    '--metrics-port',
    '0',
  ];
  const start = (...more: string[]) =>
    run('--manifests', directory, '--state-dir', state(), '--xds-port', '0', ...free, ...more);

  test('says what is wrong with its command line', async () => {
    const { code, errors } = await run('--manifests', directory);
    assert.equal(code, 2);
    assert.match(errors, /^control-plane: --state-dir is required\n\nUsage:/);
  });

  test('says which port is taken', async () => {
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? String(address.port) : '';
    const { code, errors } = await start('--xds-port', port);
    await new Promise((resolve) => server.close(resolve));
    assert.equal(code, 1);
    assert.match(errors, new RegExp(`^control-plane: xDS can't listen on 127\\.0\\.0\\.1:${port}: `, 'm'));
  });

  test('says that half a root is none', async () => {
    const files = join(directory, 'state');
    execFileSync('mkdir', [files]);
    writeFileSync(join(files, 'root.pem'), 'x');
    const { code, errors } = await start();
    assert.equal(code, 1);
    assert.match(errors, /^control-plane: .* holds only one of root-key\.pem and root\.pem: put both there/);
  });

  test('says which key of tokens it can not use', async () => {
    writeFileSync(join(directory, 'issuer.pem'), 'x');
    const { code, errors } = await start('--token-issuer-key', join(directory, 'issuer.pem'));
    assert.equal(code, 1);
    assert.match(errors, /^control-plane: --token-issuer-key must be a public key in PEM/);
  });

  test('says which directory it can not write to', async () => {
    writeFileSync(join(directory, 'file'), '');
    chmodSync(join(directory, 'file'), 0o600);
    const { code, errors } = await run(
      '--manifests',
      directory,
      '--state-dir',
      join(directory, 'file', 'state'),
    );
    assert.equal(code, 1);
    assert.match(errors, /^control-plane: .*file.state/);
  });

  test('leaves no ports file behind that would say it is there', async () => {
    const portsFile = join(directory, 'ports.json');
    await start('--ports-file', portsFile, '--token-issuer-key', join(directory, 'missing.pem'));
    assert.equal(existsSync(portsFile), false);
  });

  test('starts without manifests, says so, and serves what appears later', async () => {
    const portsFile = join(directory, 'ports.json');
    const manifests = join(directory, 'later');
    const child = spawn(
      process.execPath,
      [
        `${ROOT}control-plane/main.ts`,
        '--manifests',
        manifests,
        '--state-dir',
        state(),
        '--xds-port',
        '0',
        ...free,
        '--ports-file',
        portsFile,
      ],
      { stdio: 'ignore', env: { PATH: process.env.PATH ?? '' } },
    );
    const closed = once(child, 'close');
    await eventually(() => existsSync(portsFile), { deadlineMs: 20_000, what: 'it listens' });
    const { dashboard } = JSON.parse(readFileSync(portsFile, 'utf8')) as { dashboard: number };
    const problems = await askPage(`http://127.0.0.1:${dashboard}/api/heddle/problems`);
    assert.match(problems.body, /later.*can't be read/);
    child.kill('SIGTERM');
    await closed;
    assert.equal(child.exitCode, 0);
  });
});
