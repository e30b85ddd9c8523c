import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { askPage, type Page } from './mesh/pages.ts';
import { type HeddleProcess, startProcess } from './mesh/processes.ts';

leakCheck();

const STARTS_MS = 20_000;
const folder = mkdtempSync(join(tmpdir(), 'heddle-waits-'));
let controlPlane: HeddleProcess;
let metricsPort: number;

/** A port that nothing listens on. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

before(async () => {
  metricsPort = await freePort();
  const kubeconfig = join(folder, 'kubeconfig');
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'away' },
      clusters: [{ name: 'away', cluster: { server: `https://127.0.0.1:${await freePort()}` } }],
      users: [{ name: 'nobody', user: { token: 'none' } }],
      contexts: [{ name: 'away', context: { cluster: 'away', user: 'nobody' } }],
    }),
  );
  const free = ['xds', 'otlp-grpc', 'otlp-http', 'dashboard'].flatMap((name) => [`--${name}-port`, '0']);
  controlPlane = startProcess(
    'control-plane/main.ts',
    [
      ...['--kubernetes', '--kubeconfig', kubeconfig, '--state-dir', join(folder, 'state'), ...free],
      ...['--metrics-port', String(metricsPort)],
    ],
    {},
  );
});
after(async () => {
  await controlPlane?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const ask = (path: string): Promise<Page | undefined> =>
  askPage(`http://127.0.0.1:${metricsPort}${path}`).catch(() => undefined);

test('it lives, and says what it waits for', async () => {
  await eventually(async () => (await ask('/livez'))?.status === 200, {
    ...{ deadlineMs: STARTS_MS, what: 'it lives' },
  });
  const ready = await ask('/readyz');
  assert.deepEqual(
    [ready?.status, ready?.body],
    [503, 'waiting for the objects and settings, the root of the CA, its ports\n'],
  );
  assert.equal((await ask('/metrics'))?.status, 503);
  assert.equal((await ask('/healthz'))?.status, 404);
  assert.equal((await askPage(`http://127.0.0.1:${metricsPort}/livez`, { method: 'POST' })).status, 405);
});

test('it ends when it is told to, though it never started', async () => {
  const begun = performance.now();
  await controlPlane.stop('SIGTERM');
  assert.ok(performance.now() - begun < 5_000);
  assert.equal(controlPlane.child.exitCode, 1);
});
