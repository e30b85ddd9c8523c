import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { heddleConflist } from '../../../cni/agent/cni/conflist.ts';
import type { AgentStatus } from '../../../common/pod-network.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { TestCluster, type TestNode } from '../../support/network/cluster.ts';
import { runIn } from '../../support/network/commands.ts';
import { type GoTools, goTools } from '../cni-plugin/go-tools.ts';
import { PLUGIN_FOLDER } from '../cni-plugin/node-side.ts';
import { Runtime } from '../cni-plugin/runtime.ts';
import { Attachments, stepOf } from './attachments.ts';
import { ask } from './callers.ts';

leakCheck();

const run = promisify(execFile);
const podsAtOnce = 50;
/** For all of them (CNI calls of a node that starts). */
const addedMs = 2_000;
/** What else the machine does makes it slower, and never faster: the best counts. */
const roundsMax = 5;
const found = goTools();
const skip = typeof found === 'string' ? found : false;
const tools: GoTools = typeof found === 'string' ? { cnitool: '', runtime: '' } : found;

it('all tools are there where everything must be proven', () => {
  if (process.env.HEDDLE_REQUIRE_ALL_TIERS === '1') assert.equal(skip, false);
});

describe('runtimes and the agent', { skip }, () => {
  let cluster: TestCluster;
  let node: TestNode;
  let attachments: Attachments;
  before(async () => {
    cluster = await TestCluster.start({ nodes: 1 });
    node = cluster.node(0);
    attachments = new Attachments(cluster);
  });
  after(() => cluster?.close());

  const attached = async () => (await ask<AgentStatus>(node, '/status')).pods.attached;

  it('libcni adds, checks, collects and deletes', async () => {
    await using runtime = new Runtime(tools, heddleConflist(node.socket));
    const [one, other] = [attachments.prepare(node), attachments.prepare(node)];
    assert.equal((await runtime.ask({ do: 'STATUS' })).error, undefined);
    for (const target of [one, other]) {
      const added = await runtime.ask({ do: 'ADD', ...stepOf(target) });
      assert.equal(added.error, undefined);
      assert.deepEqual(added.cached, added.result);
      const { ips } = added.result as { ips: { address: string }[] };
      for (const { address } of ips)
        assert.match(runIn(target.netns, 'ip', '-o', 'addr'), new RegExp(` ${address.replace('/', '\\/')} `));
      assert.equal((await runtime.ask({ do: 'CHECK', ...stepOf(target) })).error, undefined);
    }
    runIn(one.netns, 'ip', 'addr', 'flush', 'dev', 'eth0');
    const broken = await runtime.ask({ do: 'CHECK', ...stepOf(one) });
    assert.match(broken.error ?? '', /eth0/);
    const valid = [{ containerID: one.containerId, ifname: 'eth0' }];
    assert.equal((await runtime.ask({ do: 'GC', valid })).error, undefined);
    assert.equal(await attached(), 1);
    for (const target of [one, other, one])
      assert.equal((await runtime.ask({ do: 'DEL', ...stepOf(target) })).error, undefined);
    assert.equal(await attached(), 0);
  });

  it('cnitool adds, checks, deletes, and asks for the status', async () => {
    const conf = join(cluster.directory, 'net.d');
    mkdirSync(conf);
    writeFileSync(join(conf, '05-heddle.conflist'), heddleConflist(node.socket));
    const { netns } = attachments.prepare(node);
    const env = { PATH: '/usr/bin:/bin', CNI_PATH: PLUGIN_FOLDER, NETCONFPATH: conf };
    const cnitool = async (command: string) =>
      (await run(tools.cnitool, [command, 'heddle', netns], { env })).stdout;
    assert.equal(await cnitool('status'), '');
    const added = JSON.parse(await cnitool('add')) as { ips: readonly unknown[] };
    try {
      assert.equal(added.ips.length, 2);
      assert.equal(await cnitool('check'), '');
      assert.equal(await attached(), 1);
    } finally {
      await cnitool('del');
    }
    assert.equal(await attached(), 0);
  });

  it(`libcni adds ${podsAtOnce} pods at once within ${addedMs} ms`, async (context) => {
    await using runtime = new Runtime(tools, heddleConflist(node.socket));
    let took = Number.POSITIVE_INFINITY;
    for (let round = 0; round < roundsMax && took >= addedMs; round++) {
      const targets = Array.from({ length: podsAtOnce }, () => attachments.prepare(node));
      const said = await runtime.ask({ do: 'ADD-MANY', many: targets.map(stepOf) });
      assert.equal(said.error, undefined);
      context.diagnostic(`${podsAtOnce} pods in ${said.took} ms`);
      assert.equal(await attached(), podsAtOnce);
      for (const target of targets) await attachments.remove(target);
      assert.equal(await attached(), 0);
      took = Math.min(took, said.took);
    }
    assert.ok(took < addedMs, `${took} ms at best`);
  });
});
