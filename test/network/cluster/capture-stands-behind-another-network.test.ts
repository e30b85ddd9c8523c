import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PLUGIN_TYPE } from '../../../cni/agent/cni/conflist.ts';
import type { AgentStatus, DropRecord } from '../../../common/pod-network.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { TestCluster, type TestNode } from '../../support/network/cluster.ts';
import { podObject } from '../../support/network/cluster-objects.ts';
import type { PluginTarget } from '../../support/network/cni-plugin.ts';
import { runIn } from '../../support/network/commands.ts';
import { networkPolicy } from '../../support/policy-objects.ts';
import { eventually } from '../../support/wait.ts';
import { SidecarProcess } from '../capture/sidecar-process.ts';
import { type GoTools, goTools, otherCniPlugins } from '../cni-plugin/go-tools.ts';
import { Runtime } from '../cni-plugin/runtime.ts';
import type { Program } from '../sockets/program.ts';
import { Attachments, stepOf } from './attachments.ts';
import { ask, Callers, startProgram } from './callers.ts';
import { CLUSTER_IPS, Slices, service } from './services.ts';

leakCheck();

const PORT = 8080;
const withinMs = 10_000;
const CONTAINER = 'c'.repeat(64);
const found = goTools();
const others = otherCniPlugins();
const tools: GoTools = typeof found === 'string' ? { cnitool: '', runtime: '' } : found;
const skip = typeof found === 'string' ? found : typeof others === 'string' ? false : others.problem;

/** A network as many nodes have it: a bridge, and addresses that its own files count. */
const OTHER = {
  ...{ cniVersion: '1.0.0', name: 'other' },
  plugins: [
    {
      ...{ type: 'bridge', bridge: 'cni0', isGateway: true, hairpinMode: true },
      ipam: {
        type: 'host-local',
        ranges: [[{ subnet: '10.99.0.0/24' }], [{ subnet: 'fd99::/64' }]],
        routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
      },
    },
  ],
};

it('all tools are there where everything must be proven', () => {
  if (process.env.HEDDLE_REQUIRE_ALL_TIERS === '1') assert.equal(skip, false);
});

interface OtherPod extends PluginTarget {
  readonly cgroup: string;
  readonly ip4: string;
  readonly ip6: string;
  readonly program: Program;
}

describe('capture behind another network', { skip }, () => {
  let cluster: TestCluster;
  let node: TestNode;
  let callers: Callers;
  let runtime: Runtime;
  let sidecar: SidecarProcess;
  let [meshed, plain, third]: OtherPod[] = [];
  let nodeBefore = '';
  let podBefore = '';

  before(async () => {
    cluster = await TestCluster.start({ nodes: 1, mode: 'capture', agents: false });
    node = cluster.node(0);
    callers = new Callers(cluster);
    const [conf, bin] = ['net.d', 'bin'].map((name) => join(dirname(node.state), name)) as [string, string];
    for (const folder of [conf, bin]) mkdirSync(folder);
    writeFileSync(
      join(conf, '10-other.conflist'),
      JSON.stringify(withFiles(join(cluster.directory, 'leases'))),
    );
    if (typeof others === 'string')
      for (const name of ['bridge', 'host-local']) copyFileSync(join(others, name), join(bin, name));
    runIn(node.netns, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    nodeBefore = stateOf(node.netns);
    cluster.startAgent(node, ['--cni-conf-dir', conf, '--cni-bin-dir', bin]);
    await cluster.ready(node);
    const conflist = readFileSync(join(conf, '05-heddle.conflist'), 'utf8');
    runtime = new Runtime(tools, conflist, { plugins: bin, netns: node.netns });
    const attachments = new Attachments(cluster);
    meshed = await add(attachments.prepare(node, { meshed: true }), true);
    plain = await add(attachments.prepare(node));
    third = await add(attachments.prepare(node));
    const world = cluster.world.netns;
    runIn(world, 'ip', 'route', 'add', '10.99.0.0/24', 'via', node.ip4);
    runIn(world, 'ip', '-6', 'route', 'add', 'fd99::/64', 'via', node.ip6);
    await callers.serve('world', 'world', PORT);
    for (const pod of [meshed, plain, third])
      for (const ip of [pod.ip4, pod.ip6]) await pod.program.run(`serve("${pod.name}", "${ip}", ${PORT})`);
    sidecar = await startSidecar(meshed);
  });
  after(async () => {
    await sidecar?.stop();
    for (const pod of [meshed, plain, third]) await pod?.program.stop();
    await runtime?.[Symbol.asyncDispose]();
    await callers?.stop();
    await cluster?.close();
  });

  async function add(target: PluginTarget, isFirst = false): Promise<OtherPod> {
    runIn(target.netns, 'ip', 'link', 'set', 'lo', 'up');
    if (isFirst) podBefore = stateOf(target.netns);
    const added = await runtime.ask({ do: 'ADD', ...stepOf(target) });
    assert.equal(added.error, undefined);
    const { ips } = added.result as { ips: { address: string }[] };
    const ip = (six: boolean) =>
      ips.find(({ address }) => address.includes(':') === six)?.address.split('/')[0] ?? '';
    const cgroup = join(node.cgroup, target.uid);
    mkdirSync(cgroup);
    const program = await startProgram({ netns: target.netns, cgroup });
    return { ...target, cgroup, program, ip4: ip(false), ip6: ip(true) };
  }

  async function startSidecar(pod: OtherPod): Promise<SidecarProcess> {
    const cgroup = join(pod.cgroup, CONTAINER);
    mkdirSync(cgroup);
    const started = await SidecarProcess.in({ netns: pod.netns, cgroup });
    const status = {
      ...{ phase: 'Running', podIP: pod.ip4, podIPs: [{ ip: pod.ip4 }, { ip: pod.ip6 }] },
      initContainerStatuses: [{ name: 'heddle-proxy', containerID: `containerd://${CONTAINER}` }],
    };
    cluster.apply({ ...podObject(pod.name, 'default', pod.uid, node.name, { meshed: true }), status });
    const dial = `tcp("${cluster.world.ip4}", ${PORT})`;
    await eventually(async () => (await pod.program.error(dial)).startsWith('none'), {
      ...{ deadlineMs: withinMs, what: 'the sidecar is confirmed' },
    });
    started.told.length = 0;
    return started;
  }

  function pods(): readonly [OtherPod, OtherPod, OtherPod] {
    assert.ok(meshed !== undefined && plain !== undefined && third !== undefined);
    return [meshed, plain, third];
  }

  async function heard(from: Program, address: string): Promise<string> {
    const [text] = (await from.value(`tcp("${address}", ${PORT})`)) as [string];
    return text;
  }

  async function told(): Promise<string> {
    await eventually(() => sidecar.told.length > 0, { deadlineMs: withinMs, what: 'the sidecar tells' });
    const all = sidecar.told.splice(0).map(({ way, to, port }) => `${way} ${to} ${port}`);
    return all.join(', ');
  }

  it('nothing of the node is changed', () => {
    // The bridge and its routes are the other network's.
    const own = /heddle|fwmark|table inet|10\.96\.|fd10:/;
    const added = stateOf(node.netns)
      .split('\n')
      .filter((line) => !nodeBefore.includes(line));
    assert.deepEqual(
      added.filter((line) => own.test(line)),
      [],
    );
  });

  for (const family of ['ip4', 'ip6'] as const) {
    it(`a meshed pod goes out and is reached through its sidecar: ${family}`, async () => {
      const [first, second] = pods();
      assert.equal(await heard(first.program, cluster.world[family]), `world ${first[family]}`);
      assert.equal(await told(), `outbound ${cluster.world[family]} ${PORT}`);
      assert.equal(await heard(first.program, second[family]), `${second.name} ${first[family]}`);
      assert.equal(await told(), `outbound ${second[family]} ${PORT}`);
      const bridge = family === 'ip4' ? '10.99.0.1' : 'fd99::1';
      for (const [from, seen] of [
        [second.program, second[family]],
        [await callers.in('world'), cluster.world[family]],
        [await callers.in(node), bridge],
      ] as const) {
        assert.equal(await heard(from, first[family]), `${first.name} ${seen}`);
        assert.equal(await told(), `inbound ${first[family]} ${PORT}`);
      }
    });

    it(`plain pods are left to the other network: ${family}`, async () => {
      const [, second, other] = pods();
      assert.equal(await heard(second.program, cluster.world[family]), `world ${second[family]}`);
      assert.equal(await heard(second.program, other[family]), `${other.name} ${second[family]}`);
      assert.equal(
        await heard(await callers.in('world'), other[family]),
        `${other.name} ${cluster.world[family]}`,
      );
      assert.deepEqual(sidecar.told, []);
    });

    it(`a process that hides from the hooks is stopped, and told: ${family}`, async () => {
      const [first] = pods();
      const hidden = await startProgram({ netns: first.netns, cgroup: dirname(node.cgroup) });
      assert.equal(await hidden.error(`tcp("${cluster.world[family]}", ${PORT}, timeout=0.5)`), 'TIMEOUT');
      await hidden.stop();
      await eventually(
        async () => {
          const { items } = await ask<{ items: readonly DropRecord[] }>(node, '/drops');
          return items.some(({ reason, from }) => reason === 'bypass' && from.ip === first[family]);
        },
        { deadlineMs: withinMs, what: 'the drop is told' },
      );
    });
  }

  it('Services and policies are left to others', async () => {
    const [first, second, other] = pods();
    cluster.apply(
      networkPolicy('deny', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }, 'default').object,
    );
    const backends = [`${other.ip4} ${node.name}`, `${other.ip6} ${node.name}`];
    cluster.apply(service(), ...new Slices().of(backends));
    const seen = async () => (await ask<AgentStatus>(node, '/status')).known;
    await eventually(async () => (await seen()).policies === 1 && (await seen()).services === 1, {
      ...{ deadlineMs: withinMs, what: 'the agent knows both' },
    });
    // Whoever proxies Services here would answer at the cluster IP: a server in the world takes its place.
    const [clusterIp] = CLUSTER_IPS;
    runIn(cluster.world.netns, 'ip', 'addr', 'add', `${clusterIp}/32`, 'dev', 'lo');
    await (await callers.in('world')).run(`serve("other-proxy", "${clusterIp}", 80)`);
    assert.deepEqual(await second.program.value(`tcp("${clusterIp}", 80)`), [
      `other-proxy ${second.ip4}`,
      clusterIp,
      80,
    ]);
    assert.deepEqual(await second.program.value(`udp("${clusterIp}", 80)`), [
      `other-proxy ${second.ip4}`,
      clusterIp,
      80,
    ]);
    assert.equal(await heard(second.program, other.ip4), `${other.name} ${second.ip4}`);
    assert.equal(await heard(first.program, other.ip4), `${other.name} ${first.ip4}`);
    assert.equal(await told(), `outbound ${other.ip4} ${PORT}`);
  });

  it('CHECK goes through the chain; DEL leaves the pod as it was, and the node', async () => {
    const [first] = pods();
    for (const pod of pods())
      assert.equal((await runtime.ask({ do: 'CHECK', ...stepOf(pod) })).error, undefined);
    runIn(first.netns, 'ip', 'rule', 'del', 'pref', '1');
    assert.match((await runtime.ask({ do: 'CHECK', ...stepOf(first) })).error ?? '', /rule/);
    for (const pod of pods()) {
      await pod.program.stop();
      if (pod === first) await sidecar.stop();
      assert.equal((await runtime.ask({ do: 'DEL', ...stepOf(pod) })).error, undefined);
    }
    assert.equal(stateOf(first.netns), podBefore);
    assert.equal((await ask<AgentStatus>(node, '/status')).pods.attached, 0);
    const links = JSON.parse(runIn(node.netns, 'ip', '-j', 'link')) as { ifname: string }[];
    assert.deepEqual(
      links.map(({ ifname }) => ifname).filter((name) => name.startsWith('veth')),
      [],
    );
  });

  it(`the configuration that the runtime reads is the other network's with ${PLUGIN_TYPE} at its end`, () => {
    const file = join(dirname(node.state), 'net.d', '05-heddle.conflist');
    const { name, plugins } = JSON.parse(readFileSync(file, 'utf8')) as {
      name: string;
      plugins: { type: string }[];
    };
    assert.deepEqual([name, plugins.map(({ type }) => type)], ['other', ['bridge', PLUGIN_TYPE]]);
  });
});

function withFiles(dataDir: string): object {
  const [plugin] = OTHER.plugins;
  return { ...OTHER, plugins: [{ ...plugin, ipam: { ...plugin?.ipam, dataDir } }] };
}

/** Devices, rules, routes, filters and settings of a namespace. */
function stateOf(netns: string): string {
  const words = [
    ['ip', '-o', 'link'],
    ['ip', '-o', 'addr'],
    ['ip', 'rule'],
    ['ip', '-6', 'rule'],
    ['ip', 'route', 'show', 'table', 'all'],
    ['ip', '-6', 'route', 'show', 'table', 'all'],
    ['nft', 'list', 'ruleset'],
    [
      'sysctl',
      '-a',
      '--pattern',
      '^net\\.ipv[46]\\.(tcp_fwmark_accept|fwmark_reflect|ip_nonlocal_bind|ip_forward|conf\\.all)',
    ],
  ] as const;
  return words.map(([command, ...rest]) => runIn(netns, command, ...rest)).join('\n');
}
