import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { processesOf } from '../../integration/local-mesh/run.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { LaptopMesh } from './laptop-mesh.ts';

leakCheck();

const APP = fileURLToPath(new URL('./app.mjs', import.meta.url));

const MANIFESTS = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        command: [node, app.mjs]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
`;

let mesh: LaptopMesh;
beforeEach(async () => {
  mesh = new LaptopMesh('ends');
  mesh.write('app.mjs', readFileSync(APP, 'utf8'));
  mesh.write('web.yaml', MANIFESTS);
  await mesh.stand();
});
afterEach(() => mesh.close());

test('Ctrl-C takes everything away', async () => {
  assert.notDeepEqual(mesh.laptop.left(), []);
  await mesh.end('SIGINT', 'group');
  assert.equal(mesh.exitCode, 0, mesh.output);
  assert.deepEqual(mesh.left(), []);
});

test('"heddle down" takes everything away', async () => {
  const { code, err } = await mesh.heddle('down', '--name', mesh.laptop.mesh);
  assert.equal(code, 0, err);
  assert.deepEqual(mesh.left(), []);
});

test('a killed supervisor is cleaned up after at once', async () => {
  await mesh.end('SIGKILL');
  await mesh.leavesNothing();
});

test('where its watchdog was killed as well, "heddle down" cleans up', async () => {
  for (const { pid, what } of processesOf(mesh.state))
    if (/watchdog/.test(what)) process.kill(pid, 'SIGKILL');
  await mesh.end('SIGKILL');
  assert.notDeepEqual(mesh.laptop.left(), []);
  const { code, err } = await mesh.heddle('down', '--name', mesh.laptop.mesh);
  assert.equal(code, 0, err);
  assert.deepEqual(mesh.left(), []);
});

test('the next "heddle up" cleans up and runs', async () => {
  for (const { pid, what } of processesOf(mesh.state))
    if (/watchdog/.test(what)) process.kill(pid, 'SIGKILL');
  await mesh.end('SIGKILL');
  await mesh.stand();
  assert.match(mesh.output, /cleaned up after a crash/);
  await mesh.end('SIGTERM');
  assert.deepEqual(mesh.left(), []);
});
