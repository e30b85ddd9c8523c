import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { makeCa } from './engine/ca.ts';
import {
  type ForeignApp,
  HAS_NGINX,
  nginxApp,
  nodeApp,
  pythonApp,
  run,
  runPythonClient,
} from './engine/peers.ts';
import { type Sidecar, startSidecar } from './engine/sidecar.ts';

leakCheck();

const CATALOG = 'spiffe://cluster.local/ns/shop/sa/catalog';
const FILE = randomBytes(3_000_000);
const HOSTS = ['python10', 'python11', 'node', 'nginx'];
const HAS_CURL = spawnSync('curl', ['--version']).status === 0;

let directory: string;
let web: Sidecar;
let catalog: Sidecar;
const apps: ForeignApp[] = [];

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-peers-'));
  writeFileSync(join(directory, 'file'), FILE);
  const ca = makeCa('Heddle test');
  web = await startSidecar(ca, 'spiffe://cluster.local/ns/shop/sa/web');
  catalog = await startSidecar(ca, CATALOG);
  await serve('python10', await pythonApp('HTTP/1.0', directory));
  await serve('python11', await pythonApp('HTTP/1.1', directory));
  await serve('node', await nodeApp(FILE));
  if (HAS_NGINX) await serve('nginx', await nginxApp(directory));
});

after(async () => {
  await web?.close();
  await catalog?.close();
  await Promise.all(apps.map((app) => app.close()));
  rmSync(directory, { recursive: true, force: true });
});

/** Puts an app behind two sidecars as `host:80`. */
async function serve(host: string, app: ForeignApp): Promise<void> {
  apps.push(app);
  const handle = await catalog.stack.listenInbound(
    { host: '127.0.0.1', port: 0 },
    { containerPort: app.port, app: { host: '127.0.0.1', port: app.port } },
  );
  web.fakes.config.add({
    host,
    port: 80,
    endpoints: [{ address: '127.0.0.1', port: handle.port, identities: [CATALOG] }],
  });
}

interface Curl {
  readonly status: string;
  readonly bytes: number;
  readonly body: Buffer;
}

/** curl through the sidecar as its proxy: status and size of the last answer, and its body. */
async function curl(...args: string[]): Promise<Curl> {
  const out = join(directory, 'out');
  writeFileSync(out, '');
  const { code, output } = await run('curl', [
    ...['--silent', '--show-error', '--max-time', '30', '--proxy', `http://127.0.0.1:${web.outboundPort}`],
    ...['--output', out, '--write-out', '\n%{http_code} %{size_download}', ...args],
  ]);
  assert.equal(code, 0, `${args.join(' ')}: ${output}`);
  const [status = '', bytes = ''] = output.slice(output.lastIndexOf('\n') + 1).split(' ');
  return { status, bytes: Number(bytes), body: readFileSync(out) };
}

for (const host of HOSTS) {
  const missing = HAS_CURL ? (host === 'nginx' && !HAS_NGINX ? 'nginx' : undefined) : 'curl';
  const skip = missing === undefined ? false : `${missing} is not installed`;
  describe(`curl and ${host}`, { skip }, () => {
    const url = `http://${host}/file`;
    const upload = `http://${host}/length`;
    const body = () => `@${join(directory, 'file')}`;
    /** nginx serves files: of what is sent to it, it tells nothing. */
    const says = (method: string, length: number) => (host === 'nginx' ? 'length\n' : `${method} ${length}`);

    test('a file arrives as it is, in HTTP/1.1, HTTP/1.0 and through CONNECT', async () => {
      for (const how of [[], ['--http1.0'], ['--proxytunnel'], ['--compressed']]) {
        const answer = await curl(...how, url);
        assert.equal(answer.status, '200');
        assert.equal(answer.body.equals(FILE), true, how.join(' '));
      }
    });

    test('HEAD has no body, and the length where the server tells it', async () => {
      const { status, body: head } = await curl('--head', url);
      assert.equal(status, '200');
      assert.match(head.toString('latin1'), /\r\n\r\n$/);
      if (host !== 'node') assert.match(head.toString('latin1'), /\r\ncontent-length: 3000000\r\n/);
    });

    test('a body arrives with a length, in chunks, with an expectation, and with DELETE', async () => {
      const small = ['--data-binary', 'abc'];
      assert.equal(String((await curl(...small, upload)).body), says('POST', 3));
      assert.equal(String((await curl('--request', 'DELETE', ...small, upload)).body), says('DELETE', 3));
      if (host === 'nginx') return;
      const large = ['--data-binary', body()];
      assert.equal(String((await curl(...large, upload)).body), `POST ${FILE.length}`);
      assert.equal(
        String((await curl('-H', 'Expect: 100-continue', ...large, upload)).body),
        `POST ${FILE.length}`,
      );
      const chunked = ['-H', 'Transfer-Encoding: chunked', '--upload-file', join(directory, 'file')];
      assert.equal(String((await curl(...chunked, upload)).body), `PUT ${FILE.length}`);
    });
  });
}

test("Python's client keeps its connection, and hears an early answer after all of its body", async () => {
  for (const host of HAS_NGINX ? ['node', 'nginx'] : ['node']) {
    const { output } = await runPythonClient(web.outboundPort, host);
    const lines = output.trim().split('\n');
    assert.deepEqual(lines.slice(0, 3), Array(3).fill(`200 ${FILE.length}`), output);
    assert.match(lines[3] ?? '', /^200 /);
    assert.equal(lines[4], '200 0');
    assert.match(lines[5] ?? '', /^413 /);
  }
});
