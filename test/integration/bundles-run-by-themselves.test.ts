import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { namespaceYaml, strictYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh } from './mesh/harness.ts';

leakCheck();

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Far from the checkout: nothing but the bundles themselves is there to be found. */
let directory: string;
let mesh: TestMesh;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-bundles-'));
  const built = spawnSync(process.execPath, ['scripts/build.ts', directory], { cwd: ROOT, encoding: 'utf8' });
  assert.equal(built.status, 0, built.stderr);
  mesh = await startMesh({ program: (room) => join(directory, room, 'main.mjs') });
});

after(async () => {
  await mesh?.close();
  rmSync(directory, { recursive: true, force: true });
});

async function page(path: string): Promise<{ status: number; text: string }> {
  const url = `http://127.0.0.1:${mesh.ports().dashboard}${path}`;
  const answer = await fetch(url, { headers: { connection: 'close' } });
  return { status: answer.status, text: await answer.text() };
}

test('bundled control plane and sidecars carry a request over mTLS, and its spans arrive', async () => {
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  mesh.apply('strict.yaml', strictYaml('shop'));
  const selector = { app: 'catalog' };
  mesh.addService({ namespace: 'shop', name: 'catalog', port: 80, targetPort: 8080, selector });
  const web = await mesh.addPod({ namespace: 'shop', name: 'web' });
  await mesh.addPod({ namespace: 'shop', name: 'catalog' });
  const response = await web.client.request('http://catalog/items');
  assert.deepEqual([response.status, response.body], [200, 'catalog']);
  await eventually(async () => /"web"/.test((await page('/api/services')).text), {
    deadlineMs: 15_000,
    what: "the client's span is kept",
  });
});

test('the page and its libraries are served from the bundle', async () => {
  for (const path of ['/', '/app/main.js', '/app/style.css', '/vendor/preact.js', '/vendor/htm-preact.js']) {
    const { status, text } = await page(path);
    assert.equal(status, 200, path);
    assert.ok(text.length > 0, path);
  }
  assert.doesNotMatch((await page('/app/format.js')).text, /: string/);
});
