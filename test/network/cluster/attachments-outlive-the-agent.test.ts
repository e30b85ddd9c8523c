import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { AgentStatus, CaptureStatus } from '../../../common/pod-network.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { TestCluster, type TestNode } from '../../support/network/cluster.ts';
import type { PluginTarget } from '../../support/network/cni-plugin.ts';
import { runIn } from '../../support/network/commands.ts';
import { eventually } from '../../support/wait.ts';
import { Attachments } from './attachments.ts';
import { ask, Callers } from './callers.ts';

leakCheck();

const podsInTurn = 300;
const podsAtOnce = 40;
const workers = 8;
/** An agent is killed after so many more pods. */
const podsBetweenKills = 70;
const againMs = 10_000;
const TRY_AGAIN = /"code": ?11\b/;

describe('attachments while agents come and go', () => {
  let cluster: TestCluster;
  let node: TestNode;
  let attachments: Attachments;
  before(async () => {
    cluster = await TestCluster.start({ nodes: 1 });
    node = cluster.node(0);
    attachments = new Attachments(cluster);
  });
  after(() => cluster?.close());

  async function restart(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await cluster.stopAgent(node, signal);
    cluster.startAgent(node);
    await cluster.ready(node);
  }

  it('a pod that is added while no agent runs is told to come again, and then gets its addresses', async () => {
    const target = attachments.prepare(node);
    await cluster.stopAgent(node, 'SIGKILL');
    await assert.rejects(attachments.add(target), TRY_AGAIN);
    cluster.startAgent(node);
    const addresses = await addAgain(target);
    assert.equal(addresses.length, 2);
    await cluster.ready(node);
    await attachments.check(target);
    await attachments.remove(target);
  });

  it('a pod that ends while no agent runs is taken off by the next', async () => {
    const target = attachments.prepare(node);
    await attachments.add(target);
    const device = deviceOf(target);
    assert.match(runIn(node.netns, 'ip', '-o', 'link'), new RegExp(device));
    await cluster.stopAgent(node, 'SIGKILL');
    const queue = join(dirname(node.socket), 'deleted');
    await attachments.remove(target);
    assert.equal(readdirSync(queue).length, 1);
    cluster.startAgent(node);
    await cluster.ready(node);
    assert.deepEqual(readdirSync(queue), []);
    assert.doesNotMatch(runIn(node.netns, 'ip', '-o', 'link'), new RegExp(device));
    assert.deepEqual(await givenBy(node), 0);
  });

  it('pods that stand are known to the next agent, and checked by it', async () => {
    const target = attachments.prepare(node);
    const addresses = await attachments.add(target);
    await restart();
    await attachments.check(target);
    const { items } = await ask<{ items: readonly CaptureStatus[] }>(node, '/capture');
    assert.deepEqual(
      items.map(({ ips }) => ips),
      [addresses],
    );
    assert.deepEqual(await attachments.add(target), addresses, 'ADD again gives the same');
    await attachments.remove(target);
  });

  it('a second agent of the node waits until the first has ended, and gives none of its addresses', async () => {
    await cluster.stopAgent(node);
    const first = cluster.startAgent(node);
    await cluster.ready(node);
    const uninstall = cluster.startAgent(node, ['--uninstall']);
    await eventually(() => uninstall.exitCode === 1, {
      ...{ deadlineMs: againMs, what: 'nobody uninstalls below an agent' },
    });
    assert.match(node.output, /end it first/);
    const waiting = 'waiting for the other agent';
    assert.ok(!node.output.includes(waiting));
    cluster.startAgent(node);
    await eventually(() => node.output.includes(waiting), {
      ...{ deadlineMs: againMs, what: 'the second agent says what it waits for' },
    });
    const targets = [attachments.prepare(node), attachments.prepare(node)];
    const given = await Promise.all(targets.map((target) => attachments.add(target)));
    first.kill('SIGTERM');
    const late = attachments.prepare(node);
    given.push(await addAgain(late));
    await cluster.ready(node);
    assert.equal(new Set(given.flat()).size, 6, given.join());
    for (const target of [...targets, late]) {
      await attachments.check(target);
      await attachments.remove(target);
    }
  });

  it(`no address is given twice over ${podsInTurn} pods and several agents`, async (context) => {
    const standing = new Map<string, string>();
    const alive: PluginTarget[] = [];
    let begun = 0;
    let kills = 0;
    let restarting = Promise.resolve();
    const work = async () => {
      while (begun < podsInTurn) {
        begun++;
        if (begun % podsBetweenKills === 0) {
          kills++;
          restarting = restarting.then(() => restart());
        }
        const target = attachments.prepare(node);
        for (const address of await addAgain(target)) {
          assert.equal(standing.get(address), undefined, `${address} is another pod's`);
          standing.set(address, target.containerId);
        }
        alive.push(target);
        if (alive.length > podsAtOnce) await remove();
      }
    };
    const remove = async () => {
      const target = alive.shift();
      if (target === undefined) return;
      for (const [address, owner] of standing) if (owner === target.containerId) standing.delete(address);
      await attachments.remove(target);
    };
    await Promise.all(Array.from({ length: workers }, work));
    await restarting;
    context.diagnostic(`${begun} pods, ${kills} agents killed`);
    await eventually(async () => (await givenBy(node)) === alive.length * 2, {
      ...{ deadlineMs: againMs, what: `${alive.length} pods have addresses` },
    });
    while (alive.length > 0) await remove();
    assert.equal(await givenBy(node), 0);
  });

  it('nothing of all these pods is left', async () => {
    const status = await ask<AgentStatus>(node, '/status?kernel=1');
    assert.equal(status.pods.attached, 0);
    for (const { map, stale, missing, differing } of status.maps ?? [])
      assert.deepEqual([stale, missing, differing], [0, 0, 0], map);
    assert.doesNotMatch(runIn(node.netns, 'ip', '-o', 'link'), /hdl[0-9a-f]{11}/);
    assert.deepEqual(readdirSync(join(node.state, 'pods')), []);
    const pods = join(node.pins, 'links/pods');
    assert.deepEqual(existsSync(pods) ? readdirSync(pods) : [], []);
  });

  it('a pod that is added after all of this is served', async () => {
    const callers = new Callers(cluster);
    const pod = await cluster.addPod('last');
    await callers.serve(pod, 'last', 8080);
    const program = await callers.in(node);
    assert.deepEqual(await program.value(`tcp("${pod.ip4}", 8080)`), [`last ${node.ip4}`, pod.ip4, 8080]);
    await callers.stop();
  });

  /** As kubelet does, until an agent is there. */
  async function addAgain(target: PluginTarget): Promise<readonly string[]> {
    let found: readonly string[] = [];
    await eventually(
      async () => {
        try {
          found = await attachments.add(target);
          return true;
        } catch (thrown) {
          assert.match(String(thrown), TRY_AGAIN);
          return false;
        }
      },
      { deadlineMs: againMs, what: `${target.name} is added` },
    );
    return found;
  }
});

/** Addresses of pods that the agent counts as given. */
async function givenBy(node: TestNode): Promise<number> {
  const { blocks } = await ask<AgentStatus>(node, '/status');
  return blocks.reduce((sum, { given }) => sum + given, 0);
}

function deviceOf({ netns }: PluginTarget): string {
  const [link] = JSON.parse(runIn(netns, 'ip', '-j', 'link', 'show', 'eth0')) as { link_index: number }[];
  assert.ok(link !== undefined);
  return `\\n${link.link_index}: `;
}
