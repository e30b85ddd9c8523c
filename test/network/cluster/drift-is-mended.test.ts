import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fetchText } from '../../../cli/client/mesh.ts';
import { openPinnedLink, openPinnedMap } from '../../../cni/kernel/libbpf.ts';
import type { AgentStatus, MapStatus, RepairReport } from '../../../common/pod-network.ts';
import { leakCheck } from '../../support/leak-check.ts';
import type { ClusterPod, TestNode } from '../../support/network/cluster.ts';
import { nodeObject } from '../../support/network/cluster-objects.ts';
import { runIn } from '../../support/network/commands.ts';
import { eventually } from '../../support/wait.ts';
import { ask, inForce } from './callers.ts';
import { FAMILIES, NODE_PORT, ServiceWorld } from './service-world.ts';
import { CLUSTER_IPS, endpointsOf, nodePorts } from './services.ts';

leakCheck();

/** Maps that this cluster has entries in. */
const FILLED = [
  'node_map',
  'policy_map',
  'cidr_map',
  'block_map',
  'endpoint_map',
  'service_map',
  'backend_map',
  'pod_map',
];

const toldMs = 5_000;

describe('what somebody else changed on a node', () => {
  let world: ServiceWorld;
  let node: TestNode;
  let pod: ClusterPod;
  before(async () => {
    world = await ServiceWorld.start();
    node = world.cluster.node(0);
    [pod] = world.clients;
    world.cluster.apply({
      ...{
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { name: 'web', namespace: 'shop' },
      },
      spec: {
        podSelector: {},
        ingress: [{}, { from: [{ ipBlock: { cidr: '192.0.2.0/24' } }] }],
        policyTypes: ['Ingress'],
      },
    });
    await world.apply({ type: 'NodePort', ...nodePorts(NODE_PORT) }, endpointsOf(world.backends));
    await repair();
  });
  after(() => world?.close());

  async function repair(of = node): Promise<number> {
    const { status, text } = await fetchText('http://agent/repair', {
      socketPath: of.adminSocket,
      body: {},
    });
    assert.equal(status, 200, text);
    return (JSON.parse(text) as RepairReport).repaired;
  }

  async function assertSound(): Promise<void> {
    assert.equal(await repair(), 0, 'a second look finds nothing');
    const { programs, maps = [] } = await ask<AgentStatus>(node, '/status?kernel=1');
    assert.deepEqual(
      programs.filter(({ attached }) => !attached),
      [],
    );
    const wrong = (one: MapStatus) => one.missing + one.differing + one.stale > 0;
    assert.deepEqual(maps.filter(wrong), []);
    for (const family of FAMILIES) {
      const seen = pod[family];
      const address = family === 'ip4' ? CLUSTER_IPS[0] : CLUSTER_IPS[1];
      assert.equal(await world.answering(pod, 'tcp', address, 80, seen), 'web1 web2');
      const outside = world.cluster.world[family];
      assert.equal(await world.answering('world', 'tcp', node[family], NODE_PORT, outside), 'web1 web2');
      assert.match(await world.refusal(pod, 'tcp', outside, 81), /ECONNREFUSED/);
    }
  }

  it('is nothing at first', () => assertSound());

  it('is looked for only where somebody asks in earnest', async () => {
    const { status, text } = await fetchText('http://agent/repair', { socketPath: node.adminSocket });
    assert.deepEqual([status, JSON.parse(text)], [405, { error: '/repair takes POST', code: 'method' }]);
  });

  for (const name of FILLED)
    it(`entries of ${name} that were taken away are put back, and foreign ones taken away`, async () => {
      using map = openPinnedMap(`${node.pins}/maps/${name}`);
      const entries = [...map.entries()];
      assert.ok(entries.length > 0, `${name} holds something`);
      // An array has no entry that could be taken away.
      if (name === 'node_map')
        map.update(entries[0]?.[0] ?? Buffer.alloc(0), Buffer.alloc(entries[0]?.[1].length ?? 0));
      else {
        for (const [key] of entries) map.delete(key);
        const [key, value] = entries[0] ?? [];
        assert.ok(key !== undefined && value !== undefined);
        if (name !== 'cidr_map' && name !== 'block_map' && name !== 'policy_map') {
          const foreign = Buffer.from(key);
          foreign[0] = (foreign[0] ?? 0) ^ 0x55;
          map.update(foreign, value);
        }
      }
      const repaired = await repair();
      // Each round reads pod_map anew, so that what is wrong there is no drift but due.
      if (name !== 'pod_map') assert.ok(repaired >= entries.length);
      await assertSound();
    });

  const netns = () => node.netns;
  const BROKEN: readonly (readonly [string, () => void])[] = [
    ['the route to the pods', () => runIn(netns(), 'ip', 'route', 'del', '10.244.0.0/16')],
    ['the IPv6 route to the pods', () => runIn(netns(), 'ip', '-6', 'route', 'del', 'fd10:244::/56')],
    ['the tunnel', () => runIn(netns(), 'ip', 'link', 'del', 'heddle_vxlan')],
    ['the tunnel, which is down', () => runIn(netns(), 'ip', 'link', 'set', 'heddle_vxlan', 'down')],
    ['the masquerade', () => runIn(netns(), 'nft', 'delete', 'table', 'inet', 'heddle')],
    ['forwarding', () => runIn(netns(), 'sysctl', '-qw', 'net.ipv4.ip_forward=0')],
    ["a pod's route", () => runIn(netns(), 'ip', 'route', 'del', pod.ip4)],
    ["a pod's own address", () => runIn(pod.netns, 'ip', 'addr', 'flush', 'dev', 'eth0')],
    ["a pod's gateway", () => runIn(pod.netns, 'ip', 'neigh', 'flush', 'all', 'nud', 'permanent')],
    ["a pod's device, which is down", () => runIn(pod.netns, 'ip', 'link', 'set', 'eth0', 'down')],
    ["a pod's device", () => runIn(pod.netns, 'ip', 'link', 'del', 'eth0')],
  ];
  for (const [what, harm] of BROKEN)
    it(`is put right: ${what}`, async () => {
      harm();
      assert.ok((await repair()) > 0);
      await assertSound();
    });

  it('pins that were removed are made again, and the next agent begins with the same maps', async () => {
    const mapIds = () =>
      readdirSync(`${node.pins}/maps`).map((name) => {
        using map = openPinnedMap(`${node.pins}/maps/${name}`);
        return `${name} ${map.info().id}`;
      });
    const before = mapIds();
    rmSync(node.pins, { recursive: true });
    assert.ok((await repair()) > before.length);
    assert.deepEqual(mapIds(), before);
    await assertSound();
  });

  it('a bpffs that is gone is mounted again, with all programs', async () => {
    const { nodes } = world.cluster;
    const folder = dirname(node.pins);
    const here = '/proc/self/ns/net';
    runIn(here, 'umount', folder);
    try {
      for (const one of nodes) assert.ok((await repair(one)) > 0);
      await assertSound();
    } finally {
      for (const { pins } of nodes) runIn(here, 'umount', pins);
      runIn(here, 'mount', '-t', 'bpf', 'bpf', folder);
    }
    for (const one of nodes) assert.ok((await repair(one)) > 0);
    await assertSound();
  });

  it('an uplink that lost its name is told of, and nothing else waits for it', async () => {
    const rename = (from: string, to: string) => {
      for (const change of [['down'], ['name', to]]) runIn(netns(), 'ip', 'link', 'set', from, ...change);
      runIn(netns(), 'ip', 'link', 'set', to, 'up');
    };
    const other = { number: 6, name: 'node-7', ip4: '192.0.2.17', ip6: '2001:db8::17' };
    const lastError = async () => (await ask<AgentStatus>(node, '/status')).lastError?.message;
    rename('eth0', 'other0');
    world.cluster.apply(nodeObject(other));
    await eventually(async () => /no device eth0/.test((await lastError()) ?? ''), {
      ...{ deadlineMs: toldMs, what: 'the status says that the uplink is missing' },
    });
    await world.apply({}, endpointsOf([pod]));
    await world.apply({ type: 'NodePort', ...nodePorts(NODE_PORT) }, endpointsOf(world.backends));
    rename('other0', 'eth0');
    runIn(netns(), 'ip', 'route', 'replace', 'default', 'via', world.cluster.world.ip4);
    runIn(netns(), 'ip', 'addr', 'replace', `${node.ip6}/64`, 'dev', 'eth0', 'nodad');
    runIn(netns(), 'ip', '-6', 'route', 'replace', 'default', 'via', world.cluster.world.ip6);
    await repair();
    assert.equal(await lastError(), undefined);
    assert.match(runIn(netns(), 'nft', 'list', 'table', 'inet', 'heddle'), /192\.0\.2\.17/);
    world.cluster.delete(nodeObject(other));
    await inForce(world.cluster);
    await repair();
    await assertSound();
  });

  it('programs that were detached are attached again', async () => {
    const before = (await ask<AgentStatus>(node, '/status')).programs;
    assert.ok(before.length > 10);
    for (const { pin } of before) {
      using link = openPinnedLink(pin);
      link.detach();
    }
    const { programs } = await ask<AgentStatus>(node, '/status');
    assert.deepEqual(
      programs.filter(({ attached }) => attached).map(({ name }) => name),
      [],
    );
    assert.ok((await repair()) >= before.length);
    await assertSound();
  });
});
