import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LocalMesh, processesOf } from '../../integration/local-mesh/run.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { eventually } from '../../support/wait.ts';
import { Laptop } from './laptop.ts';

leakCheck();

const APP = fileURLToPath(new URL('./app.mjs', import.meta.url));
const AGENT = fileURLToPath(new URL('../../../cni/agent/main.ts', import.meta.url));
const skip = existsSync(AGENT) ? false : 'this version of Heddle has no node agent yet';

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

let laptop: Laptop;
let mesh: LocalMesh;
beforeEach(async () => {
  if (skip !== false) return;
  laptop = new Laptop('ends');
  mesh = new LocalMesh(laptop.netns);
  mesh.write('app.mjs', readFileSync(APP, 'utf8'));
  mesh.write('web.yaml', MANIFESTS);
  await mesh.up('--network', 'ebpf', '--name', laptop.mesh);
});
afterEach(async () => {
  if (skip !== false) return;
  await mesh.close();
  laptop.close();
});

const left = () => [...laptop.left(), ...processesOf(mesh.state).map(({ what }) => what)];
const nothingLeft = () =>
  eventually(() => left().length === 0, { deadlineMs: 10_000, what: `nothing is left, but ${left()}` });

test('Ctrl-C takes everything away', { skip }, async () => {
  assert.notDeepEqual(laptop.left(), []);
  await mesh.end('SIGINT', 'group');
  assert.equal(mesh.exitCode, 0, mesh.output);
  assert.deepEqual(left(), []);
});

test('"heddle down" takes everything away', { skip }, async () => {
  const { code, err } = await mesh.heddle('down', '--name', laptop.mesh);
  assert.equal(code, 0, err);
  assert.deepEqual(left(), []);
});

test('a killed supervisor is cleaned up after at once', { skip }, async () => {
  await mesh.end('SIGKILL');
  await nothingLeft();
});

test('where its watchdog was killed as well, "heddle down" cleans up', { skip }, async () => {
  for (const { pid, what } of processesOf(mesh.state))
    if (/watchdog/.test(what)) process.kill(pid, 'SIGKILL');
  await mesh.end('SIGKILL');
  assert.notDeepEqual(laptop.left(), []);
  const { code, err } = await mesh.heddle('down', '--name', laptop.mesh);
  assert.equal(code, 0, err);
  assert.deepEqual(left(), []);
});

test('the next "heddle up" cleans up and runs', { skip }, async () => {
  for (const { pid, what } of processesOf(mesh.state))
    if (/watchdog/.test(what)) process.kill(pid, 'SIGKILL');
  await mesh.end('SIGKILL');
  await mesh.up('--network', 'ebpf', '--name', laptop.mesh);
  assert.match(mesh.output, /cleaned up after a crash/);
  await mesh.end('SIGTERM');
  assert.deepEqual(left(), []);
});
