import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { type ClusterPod, TestCluster, type TestNode } from '../../support/network/cluster.ts';
import { runIn } from '../../support/network/commands.ts';
import { Callers } from './callers.ts';

leakCheck();

const PORT = 8080;
const TUNNEL_ENTRY = /dport=4789\b/;

describe("packets of the tunnel in the nodes' connection tracking", () => {
  let cluster: TestCluster;
  let callers: Callers;
  let [here, far]: ClusterPod[] = [];

  before(async () => {
    cluster = await TestCluster.start();
    callers = new Callers(cluster);
    here = await cluster.addPod('here');
    far = await cluster.addPod('far', { node: 1 });
    await callers.serve(far, 'far', PORT);
  });

  after(async () => {
    await callers?.stop();
    await cluster?.close();
  });

  async function call(): Promise<void> {
    assert.ok(here !== undefined && far !== undefined);
    const program = await callers.in(here);
    const [text] = (await program.value(`tcp("${far.ip4}", ${PORT})`)) as [string];
    assert.equal(text, `far ${here.ip4}`);
  }

  const tracked = ({ netns }: TestNode): boolean =>
    TUNNEL_ENTRY.test(runIn(netns, 'cat', '/proc/net/nf_conntrack'));

  it('they are none of it, on both nodes', async () => {
    await call();
    assert.deepEqual(cluster.nodes.map(tracked), [false, false]);
  });

  it('without the rules that say so they would be', async () => {
    for (const { netns } of cluster.nodes)
      for (const chain of ['arriving', 'sending'])
        runIn(netns, 'nft', 'flush', 'chain', 'inet', 'heddle', chain);
    await call();
    assert.deepEqual(cluster.nodes.map(tracked), [true, true]);
  });
});
