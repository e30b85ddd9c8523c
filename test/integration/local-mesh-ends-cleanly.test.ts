import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { appYaml, namespaceYaml } from './local-mesh/manifests.ts';
import { LocalMesh, processesOf } from './local-mesh/run.ts';

leakCheck();

let mesh: LocalMesh;
beforeEach(() => {
  mesh = new LocalMesh();
  mesh.write('lab.yaml', namespaceYaml('lab', true) + appYaml({ name: 'web' }));
});
afterEach(() => mesh.close());

/** What a mesh keeps for the next start: applied objects, root and traces, logs, the issuer's key. */
const KEPT = ['applied', 'control-plane', 'logs', 'token-issuer.key', 'token-issuer.pub'];

async function assertNothingLeft(): Promise<void> {
  await mesh
    .until(() => processesOf(mesh.root).length === 0, 'no process is left', 15_000)
    .catch(() => assert.deepEqual(processesOf(mesh.root), []));
  assert.deepEqual(readdirSync(mesh.state).toSorted(), KEPT);
}

const recorded = (name: string) =>
  Number(new RegExp(`^(\\d+) \\d+ ${name}$`, 'm').exec(readFileSync(`${mesh.state}/children`, 'utf8'))?.[1]);

for (const [how, signal, whom] of [
  ['Ctrl-C, which reaches the whole process group', 'SIGINT', 'group'],
  ['SIGTERM', 'SIGTERM', 'supervisor'],
] as const)
  test(`${how}, ends the mesh and leaves no process, socket or temporary file`, async () => {
    await mesh.up();
    assert.ok(
      processesOf(mesh.root).length >= 5,
      'supervisor, watchdog, control plane, injector, sidecar, app',
    );
    await mesh.end(signal, whom);
    assert.equal(mesh.exitCode, 0);
    assert.match(mesh.output, /mesh stopped\n$/);
    await assertNothingLeft();
    const after = await mesh.heddle('get', 'pods');
    assert.equal(after.code, 3);
    assert.match(after.err, /no mesh runs/);
    assert.equal((await mesh.heddle('check')).code, 3);
  });

test('an end while the mesh still starts leaves nothing either', async () => {
  mesh.start();
  await mesh.until(() => existsSync(`${mesh.state}/children`), 'the first process is started');
  await mesh.end('SIGINT', 'group');
  assert.equal(mesh.exitCode, 0);
  await assertNothingLeft();
});

test('heddle down ends the mesh and waits until it is gone', async () => {
  await mesh.up();
  const { code, out } = await mesh.heddle('down');
  assert.deepEqual([code, out], [0, 'mesh default stopped\n']);
  await mesh.until(() => mesh.ended, 'the supervisor has ended', 5_000);
  await assertNothingLeft();
  assert.equal((await mesh.heddle('down')).code, 3);
});

test('a second up of the same place says which process runs it, and changes nothing', async () => {
  await mesh.up();
  const second = await mesh.heddle('up', mesh.manifests);
  assert.equal(second.code, 1);
  assert.match(second.err, new RegExp(`already runs as process ${mesh.pid}; end it with "heddle down"`));
  assert.equal((await mesh.heddle('get', 'pods', '-n', 'lab')).code, 0);
});

test('a dashboard port that is taken moves to the next free one, said plainly', async () => {
  const squatter = createServer().listen({ host: '127.0.0.1', port: 0 });
  await new Promise((resolve) => squatter.once('listening', resolve));
  const address = squatter.address();
  const taken = typeof address === 'object' && address !== null ? address.port : 0;
  await mesh.up('--dashboard-port', String(taken));
  const [, moved] = /port \d+ is taken: the dashboard is on (\d+)/.exec(mesh.output) ?? [];
  assert.ok(Number(moved) > taken, mesh.output);
  assert.equal((await fetch(`http://127.0.0.1:${moved}/api/services`)).status, 200);
  await new Promise((resolve) => squatter.close(resolve));
});

test('a supervisor that is killed is cleaned up after by its watchdog', async () => {
  await mesh.up();
  await mesh.end('SIGKILL');
  await assertNothingLeft();
});

test('where the watchdog died, too, the next up cleans up first', async () => {
  await mesh.up();
  process.kill(recorded('watchdog'), 'SIGKILL');
  await mesh.end('SIGKILL');
  const left = processesOf(mesh.root);
  assert.ok(left.length >= 4, 'nobody was there to end them');
  assert.match((await mesh.heddle('get', 'pods')).err, /crashed; "heddle up DIR" cleans up/);
  await mesh.up();
  assert.match(
    mesh.output,
    /cleaned up after a crash: ended control-plane, injector, lab\/web-\S+\/heddle-proxy/,
  );
  const now = processesOf(mesh.root).map(({ pid }) => pid);
  assert.deepEqual(
    left.filter(({ pid }) => now.includes(pid)),
    [],
  );
  assert.equal((await mesh.heddle('check')).code, 0);
});

test('down cleans up after a crash as well', async () => {
  await mesh.up();
  process.kill(recorded('watchdog'), 'SIGKILL');
  await mesh.end('SIGKILL');
  const { code, out } = await mesh.heddle('down');
  assert.equal(code, 0);
  assert.match(out, /mesh default had crashed: ended control-plane, injector/);
  await assertNothingLeft();
});

test('applied objects, the root and its identity outlive the mesh', async () => {
  await mesh.up();
  const map = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, namespace: lab}\ndata: {a: b}\n';
  assert.equal((await mesh.heddleWith(map, 'apply', '-f', '-')).code, 0);
  const root = readFileSync(`${mesh.state}/control-plane/root.pem`, 'utf8');
  await mesh.end('SIGTERM');
  await mesh.up();
  assert.equal((await mesh.heddle('get', 'cm', 'kept', '-n', 'lab')).code, 0);
  assert.equal(readFileSync(`${mesh.state}/control-plane/root.pem`, 'utf8'), root);
});
