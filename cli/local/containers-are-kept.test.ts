import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import { FakeChildren } from '../../test/support/cluster-fakes.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { MemoryNetwork } from '../../test/support/memory-net.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import { at } from '../kube/fields.ts';
import { CONTAINER_BACKOFF } from './backoff.ts';
import { Container } from './container.ts';
import { podSpecOf, type RestartPolicy } from './pod-spec.ts';

leakCheck();

const IP = '127.244.0.1';
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-container-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** A container of a pod on a clock and in a network of its own, not started yet. */
function made(spec: Record<string, JsonValue> = {}, restartPolicy: RestartPolicy = 'Always') {
  const clock = new VirtualClock();
  const children = new FakeChildren();
  const network = new MemoryNetwork();
  const [container] = podSpecOf({
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web-1' } },
    spec: { containers: [{ name: 'app', ports: [{ name: 'http', containerPort: 8080 }], ...spec }] },
  }).containers;
  assert.ok(container !== undefined);
  let changes = 0;
  const one = new Container({
    ...{ clock, children, dialer: network.dialer, spec: container, cwd: '/', podIp: IP, restartPolicy },
    commandLine: { command: 'app', args: [], env: {} },
    mounts: new Map([['/scratch', '/pods/p1/scratch']]),
    podName: 'shop/web-1',
    podUid: 'u',
    logDirectory: directory,
    onChange: () => {
      changes++;
    },
  });
  return { one, clock, children, network, changes: () => changes };
}
const NAME = 'shop/web-1/app';

test('a container without probes is ready as soon as it runs', () => {
  const { one, children } = made();
  assert.equal(at(one.status(), 'state', 'waiting', 'reason'), 'ContainerCreating');
  one.start();
  assert.deepEqual(children.running(), [NAME]);
  assert.equal(one.ready, true);
  assert.equal(at(one.status(), 'restartCount'), 0);
});

test('output goes to the log, and its end into messages', async () => {
  const { one, children } = made();
  one.start();
  children.latest(NAME).stdout.write('hello\n');
  children.latest(NAME).stderr.write('oh\n');
  await settle();
  assert.equal(readFileSync(join(directory, 'app.log'), 'utf8'), 'hello\noh\n');
  assert.equal(one.lastOutput, 'hello\noh\n');
  await one.stop(0);
});

test('a container that keeps ending is started again after ever longer pauses', async () => {
  const { one, clock, children } = made();
  one.start();
  let pauseMs = CONTAINER_BACKOFF.baseMs;
  for (let restarts = 0; restarts < 4; restarts++) {
    children.latest(NAME).exit(1);
    await settle();
    assert.equal(at(one.status(), 'state', 'waiting', 'reason'), 'CrashLoopBackOff');
    assert.match(one.trouble, /container app ended with exit code 1; started again in \d+ s/);
    await clock.advance(pauseMs - 1);
    assert.equal(children.started.length, restarts + 1, 'not before the pause is over');
    await clock.advance(1);
    assert.equal(children.started.length, restarts + 2);
    assert.equal(at(one.status(), 'restartCount'), restarts + 1);
    pauseMs *= 2;
  }
  await one.stop(0);
});

test('a port that is taken is explained, and a program that is not there', async () => {
  const { one, children } = made();
  one.start();
  children.latest(NAME).stderr.write('Error: listen EADDRINUSE 0.0.0.0:8080\n');
  await settle();
  children.latest(NAME).exit(1);
  await settle();
  assert.match(one.trouble, /its port is taken: .* let the app listen on \$HOST:\$PORT/);
  const missing = made();
  missing.one.start();
  missing.children.latest(NAME).exit(null, null, 'spawn app ENOENT');
  await settle();
  assert.match(missing.one.trouble, /"app" could not be started: spawn app ENOENT/);
  await one.stop(0);
  await missing.one.stop(0);
});

const ends: readonly [RestartPolicy, number, 'again' | 'ended'][] = [
  ['Always', 0, 'again'],
  ['OnFailure', 0, 'ended'],
  ['OnFailure', 3, 'again'],
  ['Never', 0, 'ended'],
  ['Never', 3, 'ended'],
];
for (const [policy, code, outcome] of ends)
  test(`restartPolicy ${policy}: after exit code ${code} it is ${outcome}`, async () => {
    const { one, clock, children } = made({}, policy);
    one.start();
    children.latest(NAME).exit(code);
    await clock.advance(CONTAINER_BACKOFF.baseMs);
    assert.equal(children.started.length, outcome === 'again' ? 2 : 1);
    assert.equal(one.succeeded, outcome === 'ended' && code === 0);
    assert.equal(one.failed, outcome === 'ended' && code !== 0);
    if (outcome === 'ended') assert.equal(at(one.status(), 'state', 'terminated', 'exitCode'), code);
    await one.stop(0);
  });

test('an end by a signal has the exit code that shells give it', async () => {
  const { one, children } = made({}, 'Never');
  one.start();
  children.latest(NAME).exit(null, 'SIGSEGV');
  await settle();
  assert.equal(at(one.status(), 'state', 'terminated', 'exitCode'), 139);
});

test('readiness follows its probe, and the reason is told', async () => {
  const { one, clock, network, changes } = made({ readinessProbe: { tcpSocket: { port: 'http' } } });
  one.start();
  await clock.advance(0);
  assert.equal(one.ready, false);
  await clock.advance(60_000);
  assert.match(one.trouble, /readiness probe: port 8080: connect ECONNREFUSED/);
  const listener = network.listen(IP, 8080, (stream) => void stream.resume());
  const before = changes();
  await clock.advance(500);
  assert.equal(one.ready, true);
  assert.equal(one.trouble, '');
  assert.ok(changes() > before);
  listener.close();
  await clock.advance(60_000);
  assert.equal(one.ready, false, 'and back again');
  await one.stop(0);
});

test('the startup probe comes before the others', async () => {
  const { one, clock, network } = made({
    startupProbe: { tcpSocket: { port: 9090 }, failureThreshold: 100 },
    readinessProbe: { tcpSocket: { port: 8080 } },
  });
  network.listen(IP, 8080, (stream) => void stream.resume());
  one.start();
  await clock.advance(5_000);
  assert.deepEqual([one.started, one.ready], [false, false]);
  network.listen(IP, 9090, (stream) => void stream.resume());
  await clock.advance(2_000);
  assert.deepEqual([one.started, one.ready], [true, true]);
  await one.stop(0);
});

test('a liveness probe that fails ends the process, and the message says so', async () => {
  const { one, clock, children } = made({
    livenessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 2, failureThreshold: 2 },
  });
  one.start();
  await clock.advance(2_000);
  await settle();
  assert.deepEqual(children.latest(NAME).signals, ['SIGTERM']);
  assert.match(one.trouble, /liveness probe: port 8080: .*; so container app ended by SIGTERM/);
  await clock.advance(CONTAINER_BACKOFF.baseMs);
  assert.equal(children.started.length, 2);
  await one.stop(0);
});

test('a stopped container is not started again, and its probes are over', async () => {
  const { one, clock, children } = made({ readinessProbe: { tcpSocket: { port: 8080 } } });
  one.start();
  await one.stop(10_000);
  await clock.advance(600_000);
  assert.equal(children.started.length, 1);
  assert.equal(clock.pendingTimers(), 0);
  one.start();
  assert.equal(children.started.length, 1, 'not even when asked to');
});

test('a stop during the pause before a restart ends the pause', async () => {
  const { one, clock, children } = made();
  one.start();
  children.latest(NAME).exit(1);
  await settle();
  await one.stop(0);
  await clock.advance(600_000);
  assert.equal(children.started.length, 1);
});

test('the words of a probe stand for the folders that are mounted', async () => {
  const exec = { command: ['test', '-d', '/scratch/new'] };
  const { one, children, clock } = made({ livenessProbe: { exec, periodSeconds: 1 } });
  one.start();
  await clock.advance(1_000);
  assert.deepEqual(children.latest(`${NAME}/exec`).spec.args, ['-d', '/pods/p1/scratch/new']);
  children.latest(`${NAME}/exec`).exit(0);
  await one.stop(0);
});

test('a preStop sleep comes before SIGTERM, within the grace period', async () => {
  const { one, clock, children } = made({ lifecycle: { preStop: { sleep: { seconds: 5 } } } });
  one.start();
  const stopped = one.stop(30_000);
  await clock.advance(4_999);
  assert.deepEqual(children.latest(NAME).signals, []);
  await clock.advance(1);
  await stopped;
  assert.deepEqual(children.latest(NAME).signals, ['SIGTERM']);
});

test('a preStop command runs to its end first; another kind of hook is told in the log', async () => {
  const { one, children } = made({ lifecycle: { preStop: { exec: { command: ['drain', 'now'] } } } });
  one.start();
  const stopped = one.stop(30_000);
  await settle();
  const hook = children.latest(`${NAME}/exec`);
  assert.deepEqual([hook.spec.command, ...hook.spec.args], ['drain', 'now']);
  assert.deepEqual(children.latest(NAME).signals, []);
  hook.exit(0);
  await stopped;
  assert.deepEqual(children.latest(NAME).signals, ['SIGTERM']);
  const other = made({ lifecycle: { preStop: { httpGet: { port: 1 } } } });
  other.one.start();
  await other.one.stop(0);
  assert.match(readFileSync(join(directory, 'app.log'), 'utf8'), /this hook was not run/);
});
