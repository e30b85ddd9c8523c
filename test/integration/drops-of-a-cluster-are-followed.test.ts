import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { parseCommandLine } from '../../cli/command-line.ts';
import { drops } from '../../cli/commands/drops.ts';
import type { CliContext } from '../../cli/context.ts';
import { tcpDialer } from '../../common/net.ts';
import { systemRandom } from '../../common/random.ts';
import { leakCheck } from '../support/leak-check.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { eventually } from '../support/wait.ts';
import {
  AgentsCluster,
  deadlineMs,
  NODES,
  type NodeName,
  recordsIn,
  type ShownDrop,
} from './agents/cluster.ts';

leakCheck();

let cluster: AgentsCluster;
beforeEach(async () => {
  cluster = await AgentsCluster.start();
});
afterEach(() => cluster.close());

/** Drops packets until one is shown: what is dropped before anybody follows is among those kept. */
async function shown(
  node: NodeName,
  seen: () => readonly ShownDrop[],
  { from }: { readonly from: number },
): Promise<void> {
  let port = from;
  await eventually(
    () => {
      cluster.drop(node, { destinationPort: port++ });
      return seen().some((record) => record.node === node && record.to.port >= from);
    },
    { deadlineMs, what: `a drop of ${node} is shown` },
  );
}

test('drops of all nodes are followed until Ctrl-C, which leaves nothing in the pods', async () => {
  const { child, ran } = cluster.run('drops', '-f', '-o', 'json', '--tail', '0');
  await eventually(() => cluster.commands.running === 2, { deadlineMs, what: 'both are followed' });
  for (const node of NODES) await shown(node, () => recordsIn(ran.out), { from: 4_000 });
  child.kill('SIGINT');
  assert.deepEqual(await once(child, 'close'), [0, null]);
  assert.equal(ran.err, '');
  await eventually(() => cluster.commands.running === 0, { deadlineMs, what: 'the commands have ended' });
});

test('a command line that is killed leaves nothing in the pods either', async () => {
  const { child } = cluster.run('drops', '-f');
  await eventually(() => cluster.commands.running === 2, { deadlineMs, what: 'both are followed' });
  child.kill('SIGKILL');
  await once(child, 'close');
  await eventually(() => cluster.commands.running === 0 && cluster.commands.open === 0, {
    ...{ deadlineMs, what: 'the commands have ended' },
  });
});

test('Ctrl-C ends at once, also while the API server has not answered for a node', async () => {
  cluster.leads.set('agent-of-worker-2', 'silent');
  const { child } = cluster.run('drops', '-f');
  await eventually(() => cluster.commands.open === 2, { deadlineMs, what: 'both are asked' });
  child.kill('SIGINT');
  const began = performance.now();
  await once(child, 'close');
  // Given up by itself it would be after 15 s.
  assert.ok(performance.now() - began < 5_000);
  await eventually(() => cluster.commands.open === 0, { deadlineMs, what: 'the API server is let go of' });
});

test("a node's next pod is followed once the first is gone", async () => {
  cluster.drop('worker-1', { destinationPort: 80 });
  const { child, ran } = cluster.run('drops', '-f', '-o', 'json', '--node', 'worker-1');
  await eventually(() => recordsIn(ran.out).length > 0, { deadlineMs, what: 'those kept are shown' });
  cluster.delete('agent-of-worker-1');
  cluster.put('next-of-worker-1', 'worker-1', cluster.dial('worker-1'));
  cluster.commands.drop('agent-of-worker-1');
  await shown('worker-1', () => recordsIn(ran.out), { from: 5_000 });
  assert.equal(cluster.commands.asked.at(-1)?.pod, 'next-of-worker-1');
  child.kill('SIGINT');
  assert.deepEqual(await once(child, 'close'), [0, null]);
});

test('those that answer are followed although another node does not', async () => {
  cluster.drop('worker-1', { destinationPort: 80 });
  cluster.leads.set('agent-of-worker-2', cluster.dial('nobody'));
  const { child, ran } = cluster.run('drops', '-f', '-o', 'json');
  await eventually(() => recordsIn(ran.out).length > 0, { deadlineMs, what: 'the others are shown' });
  assert.match(ran.err, /agent of worker-2 doesn't run/);
  child.kill('SIGINT');
  assert.deepEqual(await once(child, 'close'), [1, null]);
});

test('an agent that takes a connection and says nothing holds nobody up for ever', async () => {
  cluster.drop('worker-1', { destinationPort: 80 });
  const silent = net.createServer((socket) => void socket.resume());
  const taken = new Set<net.Socket>();
  silent.on('connection', (socket) => taken.add(socket));
  await new Promise<void>((resolve) => silent.listen(cluster.socketOf('silent'), resolve));
  const clock = new VirtualClock();
  const ran = { out: '', err: '' };
  let interrupt = () => {};
  const context: CliContext = {
    ...{ env: {}, cwd: cluster.folder, clock, random: systemRandom, dialer: tcpDialer, columns: 120 },
    ...{ node: process.execPath, nodeVersion: '', terminal: false, colours: false },
    out: (text) => {
      ran.out += text;
    },
    err: (text) => {
      ran.err += text;
    },
    readStdin: async () => '',
    onInterrupt(task) {
      interrupt = () => task(1);
      return () => undefined;
    },
  };
  try {
    cluster.leads.set('agent-of-worker-2', cluster.dial('silent'));
    const input = parseCommandLine(drops, ['-f', '-o', 'json', '--kubeconfig', cluster.kubeconfig]);
    assert.ok(input !== 'help');
    const running = drops.run(input, context);
    await eventually(() => cluster.commands.running === 2, { deadlineMs, what: 'both are asked' });
    await eventually(
      async () => {
        await clock.advance(1_000);
        return ran.out !== '';
      },
      { deadlineMs, what: 'the other is shown' },
    );
    assert.match(ran.err, /agent of worker-2 doesn't answer: no answer within 20 s/);
    await eventually(() => cluster.commands.running === 1, { deadlineMs, what: 'its command ends' });
    interrupt();
    assert.equal(await running, 1);
  } finally {
    interrupt();
    for (const socket of taken) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  }
});
