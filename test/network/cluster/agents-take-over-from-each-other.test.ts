import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { TestCluster } from '../../support/network/cluster.ts';
import { runIn } from '../../support/network/commands.ts';
import { eventually } from '../../support/wait.ts';

leakCheck();

const WITHIN = { deadlineMs: 30_000 };
let cluster: TestCluster;
let first: ChildProcess;
let second: ChildProcess;

/** By the file of a probe of kubelet, as a DaemonSet has it. */
const standby = (number: number) => join(cluster.directory, `standby-${number}`);
const flags = (number: number) => ['--standby-file', standby(number), '--metrics', '127.0.0.1:9964'];

/** A file's number may be given again at once; the moment may not. */
function madeAt(path: string): bigint {
  return statSync(path, { bigint: true }).ctimeNs;
}

async function readyz(): Promise<string> {
  const answer = await fetch('http://127.0.0.1:9964/readyz', { headers: { connection: 'close' } });
  return `${answer.status} ${(await answer.text()).trim()}`;
}

before(async () => {
  cluster = await TestCluster.start({ nodes: 1, agents: false });
});
after(async () => {
  for (const child of [first, second]) {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
  await cluster?.close();
});

test('an agent without another one is ready when it serves, and finds its uplink by itself', async () => {
  const node = cluster.node(0);
  first = cluster.startAgent(node, flags(1));
  await eventually(() => existsSync(standby(1)), { ...WITHIN, what: node.output });
  assert.ok(existsSync(node.socket), 'the CNI plugin finds it');
  assert.equal(readFileSync(join(node.state, 'uplink'), 'utf8'), 'eth0\n');
  assert.equal(await readyz(), '200 ok');
});

test('the next agent stands by while one serves, and serves when that ends', async () => {
  const node = cluster.node(0);
  const pod = await cluster.addPod('one');
  second = cluster.startAgent(node, flags(2));
  await eventually(() => existsSync(standby(2)), { ...WITHIN, what: node.output });
  assert.equal(first.exitCode, null);
  const socket = madeAt(node.socket);
  assert.ok(existsSync(standby(1)), 'the first serves on');

  const ended = once(first, 'exit');
  first.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
  assert.equal(existsSync(standby(1)), false);
  await cluster.ready(node);
  assert.notEqual(madeAt(node.socket), socket);
  assert.ok(existsSync(standby(2)), 'it stayed ready');
  runIn(node.netns, 'ping', '-c1', '-W2', pod.ip4);
});
