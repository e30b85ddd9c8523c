import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { makeStateDirectories, type StatePaths, statePaths } from '../../cli/local/state-dir.ts';
import { componentStartMs, System } from '../../cli/local/system.ts';
import { systemRandom } from '../../common/random.ts';
import { type FakeChild, FakeChildren } from '../support/cluster-fakes.ts';
import { leakCheck } from '../support/leak-check.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

leakCheck();

let root: string;
let paths: StatePaths;
let clock: VirtualClock;
let children: FakeChildren;
let system: System;
const said: string[] = [];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-system-'));
  paths = statePaths({}, 'default', root);
  makeStateDirectories(paths);
  clock = new VirtualClock();
  children = new FakeChildren();
  said.length = 0;
  system = new System({
    ...{ clock, children, paths, random: systemRandom, manifests: '/m', dashboardPort: 0, node: 'node' },
    ...{ environment: {}, say: (line: string) => void said.push(line) },
    network: () => ({
      controlPlaneAddress: () => '127.0.0.1',
      capture: 'http-proxy',
      agentSockets: () => [],
    }),
  });
});
afterEach(async () => {
  await system.stop();
  rmSync(root, { recursive: true, force: true });
});

const option = (child: FakeChild, name: string) => child.spec.args[child.spec.args.indexOf(name) + 1] ?? '';
/** What a control plane does once it listens. */
function listens(child: FakeChild): void {
  const ports = { xds: option(child, '--xds-port'), dashboard: option(child, '--dashboard-port') };
  const numbers = Object.fromEntries(Object.entries(ports).map(([name, port]) => [name, Number(port)]));
  writeFileSync(option(child, '--ports-file'), JSON.stringify(numbers));
}
/** Lets ports be chosen, which takes real turns, until so many processes were started. */
async function started(count: number): Promise<FakeChild> {
  while (children.started.length < count) {
    await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(20);
  }
  return children.started[count - 1] ?? assert.fail();
}

test('the control plane is up once it has written its ports', async () => {
  const up = system.startControlPlane();
  const child = await started(1);
  listens(child);
  await clock.advance(100);
  assert.equal((await up).xds, Number(option(child, '--xds-port')));
  assert.equal(system.sidecar().env.HEDDLE_CONTROL_PLANE, `127.0.0.1:${option(child, '--xds-port')}`);
});

test('one whose port was lost to somebody else is started with others', async () => {
  const up = system.startControlPlane();
  const first = await started(1);
  first.stderr.write('listen EADDRINUSE 127.0.0.1');
  await clock.advance(1);
  first.exit(1);
  const second = await started(2);
  assert.notEqual(option(second, '--xds-port'), option(first, '--xds-port'));
  listens(second);
  await clock.advance(100);
  await up;
});

test('one that ends is a failure with its last words, and where its log is', async () => {
  const up = system.startControlPlane();
  const failed = assert.rejects(
    up,
    /control-plane did not start: the root can't be read\n.*heddle-system\/control-plane\.log/,
  );
  const child = await started(1);
  child.stderr.write("the root can't be read\n");
  await clock.advance(1);
  child.exit(1);
  await clock.advance(20);
  await failed;
});

test('one that never says where it listens is a failure once its time is over', async () => {
  const up = system.startControlPlane();
  let over = false;
  const failed = assert.rejects(up, /did not start: it printed nothing/).then(() => {
    over = true;
  });
  await started(1);
  await clock.advance(componentStartMs - 1_000);
  assert.equal(over, false);
  await clock.advance(2_000);
  await failed;
});

test('one that ends later is started again at the same ports, after ever longer pauses', async () => {
  const up = system.startControlPlane();
  const first = await started(1);
  listens(first);
  await clock.advance(100);
  await up;
  let pauseMs = 100;
  for (let restarts = 1; restarts <= 4; restarts++) {
    children.started.at(-1)?.exit(null, 'SIGKILL');
    await clock.advance(pauseMs - 1);
    assert.equal(children.started.length, restarts);
    await clock.advance(1);
    assert.equal(children.started.length, restarts + 1);
    pauseMs *= 2;
  }
  assert.deepEqual(children.started.at(-1)?.spec.args, first.spec.args);
  assert.match(said[0] ?? '', /control-plane ended \(SIGKILL\); it is started again in 100 ms/);
});

test('nothing is started any more once the mesh is being stopped', async () => {
  await system.stop();
  await assert.rejects(system.startControlPlane(), /the mesh was stopped while it started/);
  assert.equal(children.started.length, 0);
  assert.match(readFileSync(paths.tokenPublicKeyFile, 'utf8'), /BEGIN PUBLIC KEY/);
});
