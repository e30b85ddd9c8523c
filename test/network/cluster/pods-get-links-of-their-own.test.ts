import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { AgentStatus, ProgramStatus } from '../../../common/pod-network.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type ClusterPod, TestCluster } from '../../support/network/cluster.ts';
import { runIn } from '../../support/network/commands.ts';
import { eventually } from '../../support/wait.ts';
import { ask } from './callers.ts';

leakCheck();

const settledMs = 10_000;
const pods = 12;

describe('the programs of pods that are added', () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await TestCluster.start({ nodes: 1 });
  });
  after(() => cluster?.close());

  const programs = async (pod?: ClusterPod): Promise<readonly ProgramStatus[]> => {
    const { programs: all } = await ask<AgentStatus>(cluster.node(0), '/status');
    return all.filter(({ target }) =>
      pod === undefined ? target.startsWith('pod ') : target === `pod ${pod.namespace}/${pod.name}`,
    );
  };
  /** Filters of clsact that stand on any device of the node. */
  const filters = (): readonly string[] => {
    const devices = JSON.parse(runIn(cluster.node(0).netns, 'ip', '-j', 'link')) as { ifname: string }[];
    return devices
      .filter(({ ifname }) => ifname.startsWith('hdl'))
      .flatMap(({ ifname }) => {
        const shown = ['ingress', 'egress'].map((way) =>
          runIn(cluster.node(0).netns, 'tc', 'filter', 'show', 'dev', ifname, way).trim(),
        );
        return shown.filter((text) => text !== '').map((text) => `${ifname}: ${text}`);
      });
  };
  const allLinked = () =>
    eventually(async () => (await programs()).every(({ pin }) => pin !== ''), {
      ...{ deadlineMs: settledMs, what: 'every program has a link of its own' },
    });

  it('run at once, and get links one after the other that take the place of what was first', async () => {
    const added = await Promise.all(Array.from({ length: pods }, (_, n) => cluster.addPod(`p${n}`)));
    for (const pod of added) {
      const own = await programs(pod);
      assert.deepEqual(
        own.map(({ name, attached }) => [name, attached]),
        [
          ['from_pod', true],
          ['to_pod', true],
        ],
      );
    }
    await allLinked();
    assert.deepEqual(filters(), []);
    for (const { attached } of await programs()) assert.equal(attached, true);
    for (const pod of added) await cluster.checkPod(pod);
    for (const pod of added.slice(1)) await cluster.deletePod(pod);
  });

  it('of an agent that was killed in between are linked by the next one', async () => {
    const node = cluster.node(0);
    const added = await Promise.all(Array.from({ length: pods }, (_, n) => cluster.addPod(`k${n}`)));
    await cluster.stopAgent(node, 'SIGKILL');
    assert.notDeepEqual(filters(), [], 'some had no link yet');
    cluster.startAgent(node);
    await cluster.ready(node);
    await allLinked();
    assert.deepEqual(filters(), []);
    for (const pod of added) await cluster.checkPod(pod);
  });
});
