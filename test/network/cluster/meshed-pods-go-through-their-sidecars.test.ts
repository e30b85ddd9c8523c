import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { CaptureStatus, DropRecord } from '../../../common/pod-network.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type ClusterPod, TestCluster, type TestNode } from '../../support/network/cluster.ts';
import { podObject } from '../../support/network/cluster-objects.ts';
import { eventually } from '../../support/wait.ts';
import { SIDECAR_UID, SidecarProcess } from '../capture/sidecar-process.ts';
import { Program } from '../sockets/program.ts';
import { ask, Callers, inForce } from './callers.ts';
import { FAMILIES } from './service-world.ts';
import { CLUSTER_IPS, endpointsOf, Slices, service } from './services.ts';

leakCheck();

const PORT = 8080;
const withinMs = 10_000;
/** What the app is to see of a connection that nobody lets through. */
const SHORT = ', timeout=0.5';

describe('a meshed pod, with the real agent', () => {
  let cluster: TestCluster;
  let node: TestNode;
  let callers: Callers;
  let meshed: ClusterPod;
  let plain: ClusterPod;
  let neighbour: ClusterPod;
  let sidecar: SidecarProcess;
  let app: Program;
  let containers = 0;
  const more: Program[] = [];

  before(async () => {
    cluster = await TestCluster.start();
    node = cluster.node(0);
    callers = new Callers(cluster);
    meshed = await cluster.addPod('meshed', { meshed: true });
    neighbour = await cluster.addPod('neighbour');
    plain = await cluster.addPod('plain', { node: 1 });
    for (const pod of [meshed, neighbour, plain]) await callers.serve(pod, pod.name, PORT);
    app = await callers.in(meshed);
    sidecar = await startSidecar();
  });
  after(async () => {
    await sidecar?.stop();
    for (const one of more) await one.stop();
    await callers?.stop();
    await cluster?.close();
  });
  beforeEach(() => {
    sidecar.told.length = 0;
  });

  /** In a container of its own, which the Pod's status names as kubelet does. */
  async function startSidecar(): Promise<SidecarProcess> {
    const id = `${'0'.repeat(62)}${10 + ++containers}`;
    const cgroup = join(meshed.cgroup, id);
    mkdirSync(cgroup);
    const started = await SidecarProcess.in({ netns: meshed.netns, cgroup });
    const object = podObject(meshed.name, meshed.namespace, meshed.uid, node.name, { meshed: true });
    const podIPs = [meshed.ip4, meshed.ip6].map((ip) => ({ ip }));
    const initContainerStatuses = [{ name: 'heddle-proxy', containerID: `containerd://${id}` }];
    cluster.apply({
      ...object,
      status: { phase: 'Running', podIP: meshed.ip4, podIPs, initContainerStatuses },
    });
    await eventually(async () => (await app.error(`tcp("${plain.ip4}", ${PORT})`)).startsWith('none'), {
      ...{ deadlineMs: withinMs, what: 'the sidecar is confirmed' },
    });
    started.told.length = 0;
    return started;
  }

  async function told(): Promise<object> {
    await eventually(() => sidecar.told.length > 0, { deadlineMs: withinMs, what: 'the sidecar tells' });
    const [first, ...others] = sidecar.told.splice(0);
    assert.deepEqual(others, []);
    return { ...first, from: undefined };
  }

  async function bypasses(): Promise<readonly DropRecord[]> {
    const { items } = await ask<{ items: readonly DropRecord[] }>(node, '/drops');
    return items.filter(({ reason }) => reason === 'bypass');
  }

  for (const family of FAMILIES) {
    it(`its calls go out through the sidecar, to pods here and elsewhere: ${family}`, async () => {
      for (const to of [plain, neighbour]) {
        const [text, host, port] = (await app.value(`tcp("${to[family]}", ${PORT})`)) as [
          string,
          string,
          number,
        ];
        assert.deepEqual([text, host, port], [`${to.name} ${meshed[family]}`, to[family], PORT]);
        assert.deepEqual(await told(), { way: 'outbound', to: to[family], port: PORT, from: undefined });
      }
    });

    it(`the sidecar sees the address of a Service that the app asked for: ${family}`, async () => {
      cluster.apply(service(), ...new Slices().of(endpointsOf([plain])));
      await inForce(cluster);
      const address = family === 'ip4' ? CLUSTER_IPS[0] : CLUSTER_IPS[1];
      await app.error(`tcp("${address}", 80${SHORT})`);
      await eventually(() => sidecar.told.length > 0, { deadlineMs: withinMs, what: 'the sidecar tells' });
      const { way, to, port } = sidecar.told[0] ?? {};
      assert.deepEqual({ way, to, port }, { way: 'outbound', to: address, port: 80 });
    });

    it(`who calls it comes in through the sidecar, and the app sees who it is: ${family}`, async () => {
      for (const from of [plain, neighbour, node, cluster.node(1)]) {
        const program = await callers.in(from);
        const [text] = (await program.value(`tcp("${meshed[family]}", ${PORT})`)) as [string];
        assert.equal(text, `meshed ${from[family]}`);
        assert.deepEqual(await told(), { way: 'inbound', to: meshed[family], port: PORT, from: undefined });
      }
    });

    it(`UDP passes by it: ${family}`, async () => {
      const [text] = (await app.value(`udp("${plain[family]}", ${PORT})`)) as [string];
      assert.equal(text, `plain ${meshed[family]}`);
      assert.deepEqual(sidecar.told, []);
    });

    it(`the sidecar's uid in another container is captured like any other: ${family}`, async () => {
      const impostor = await Program.start({ netns: meshed.netns, cgroup: meshed.cgroup, uid: SIDECAR_UID });
      more.push(impostor);
      await impostor.run(`tcp("${plain[family]}", ${PORT})`);
      assert.deepEqual(await told(), { way: 'outbound', to: plain[family], port: PORT, from: undefined });
      for (const port of [15001, 15006])
        assert.equal(await impostor.error(`listener("::", ${port})`), 'EADDRINUSE');
    });

    it(`a process that hides from the hooks of its node is stopped at the veth, and told: ${family}`, async () => {
      const hidden = await Program.start({ netns: meshed.netns, cgroup: dirname(node.cgroup) });
      more.push(hidden);
      const before = (await bypasses()).length;
      for (const to of [plain, neighbour, cluster.world])
        assert.equal(await hidden.error(`tcp("${to[family]}", ${PORT}${SHORT})`), 'TIMEOUT');
      await eventually(async () => (await bypasses()).length >= before + 3, {
        ...{ deadlineMs: withinMs, what: 'the drops are told' },
      });
      for (const drop of (await bypasses()).slice(before)) {
        const { from, direction, protocol, policies } = drop;
        assert.deepEqual(
          { kind: from.kind, name: from.name, direction, protocol, policies },
          { kind: 'pod', name: 'default/meshed', direction: 'egress', protocol: 'TCP', policies: [] },
        );
      }
      assert.deepEqual(sidecar.told, []);
    });
  }

  it('a pod without a sidecar is none of this', async () => {
    const program = await callers.in(neighbour);
    await program.run(`tcp("${plain.ip4}", ${PORT})`);
    assert.deepEqual(sidecar.told, []);
  });

  it('a sidecar that is down means refused, both ways; who binds its ports gets nothing', async () => {
    await sidecar.stop();
    const trap = await Program.start({ netns: meshed.netns, cgroup: meshed.cgroup, uid: SIDECAR_UID });
    more.push(trap);
    await trap.run(
      'traps = [listener(host, port) for host in ("127.0.0.1", "::1") for port in (15001, 15006)]',
    );
    await trap.run('for one in traps: one.settimeout(0.2)');
    for (const family of FAMILIES) {
      for (const to of [plain, neighbour])
        assert.equal(await app.error(`tcp("${to[family]}", ${PORT})`), 'ECONNREFUSED');
      for (const from of [plain, neighbour, node]) {
        const program = await callers.in(from);
        assert.equal(await program.error(`tcp("${meshed[family]}", ${PORT})`), 'ECONNREFUSED');
      }
    }
    for (let index = 0; index < 4; index++)
      assert.equal(await trap.error(`traps[${index}].accept()`), 'TIMEOUT');
    await trap.run('for one in traps: one.close()');
  });

  it('its next container is confirmed as the last one was', async () => {
    sidecar = await startSidecar();
    await app.run(`tcp("${plain.ip4}", ${PORT})`);
    assert.deepEqual(await told(), { way: 'outbound', to: plain.ip4, port: PORT, from: undefined });
  });

  it('all of this outlives the agent: meanwhile, and after its successor came', async () => {
    await cluster.stopAgent(node, 'SIGKILL');
    const serves = async () => {
      for (const family of FAMILIES) {
        await app.run(`tcp("${plain[family]}", ${PORT})`);
        assert.deepEqual(await told(), { way: 'outbound', to: plain[family], port: PORT, from: undefined });
        await (await callers.in(plain)).run(`tcp("${meshed[family]}", ${PORT})`);
        assert.deepEqual(await told(), { way: 'inbound', to: meshed[family], port: PORT, from: undefined });
      }
    };
    await serves();
    cluster.startAgent(node);
    await cluster.ready(node);
    await serves();
    const { items } = await ask<{ items: readonly CaptureStatus[] }>(node, '/capture');
    const own = items.find(({ pod }) => pod === 'default/meshed');
    assert.ok(own?.captured === true && own.sidecarCgroup !== '');
  });

  it('a sidecar that begins while no agent runs is confirmed by the next', async () => {
    await sidecar.stop();
    await cluster.stopAgent(node, 'SIGKILL');
    const starting = startSidecar();
    cluster.startAgent(node);
    await cluster.ready(node);
    sidecar = await starting;
    await app.run(`tcp("${plain.ip4}", ${PORT})`);
    assert.deepEqual(await told(), { way: 'outbound', to: plain.ip4, port: PORT, from: undefined });
  });
});
