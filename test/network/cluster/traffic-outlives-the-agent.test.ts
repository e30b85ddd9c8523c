import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openPinnedLink } from '../../../cni/kernel/libbpf.ts';
import { leakCheck } from '../../support/leak-check.ts';
import type { TestNode } from '../../support/network/cluster.ts';
import { FAMILIES, NODE_PORT, ServiceWorld } from './service-world.ts';
import { CLUSTER_IPS, ECHO_PORT, endpointsOf, nodePorts } from './services.ts';

leakCheck();

/** Between the calls of one flow. */
const intervalS = 0.02;
/** What was lost and sent again would take as long at least (TCP_RTO_MIN). */
const retransmissionMs = 200;
const callsMin = 20;
const OWN_PORT = 8_090;
const CONTROL_PORT = 8_099;

interface Measured {
  readonly name: string;
  readonly sent: number;
  readonly worstMs: number;
  readonly errors: readonly string[];
}

describe('traffic while the agents of both nodes are killed and started anew', () => {
  let world: ServiceWorld;
  before(async () => {
    world = await ServiceWorld.start();
    for (const backend of world.backends)
      for (const family of FAMILIES) {
        const program = await world.callers.in(backend);
        await program.run(
          `echo("${backend[family]}", ${ECHO_PORT}); echo("${backend[family]}", ${OWN_PORT})`,
        );
      }
    for (const spot of [world.clients[0], 'world'] as const)
      await (await world.callers.in(spot)).run(`echo("127.0.0.1", ${CONTROL_PORT})`);
    await world.apply({ type: 'NodePort', ...nodePorts(NODE_PORT) }, endpointsOf([world.backends[1]]));
  });
  after(() => world?.close());

  function flowsInside() {
    return FAMILIES.flatMap((family, index) => [
      ...world.backends.flatMap((pod) =>
        ['keep', 'udp', 'anew'].map((kind) => [kind, pod[family], OWN_PORT]),
      ),
      ...['keep', 'anew', 'udp'].map((kind) => [kind, CLUSTER_IPS[index], 81]),
    ]);
  }

  function flowsOutside() {
    const node = world.cluster.node(0);
    return FAMILIES.flatMap((family) => ['keep', 'anew'].map((kind) => [kind, node[family], NODE_PORT + 1]));
  }

  /** What became of all flows while `task` ran; of the last of each program no packet passes any program of the agent. */
  async function during(task: () => Promise<void>): Promise<readonly (readonly Measured[])[]> {
    const programs = [
      { program: await world.callers.in(world.clients[0]), flows: flowsInside() },
      { program: await world.callers.in('world'), flows: flowsOutside() },
    ];
    for (const { program, flows } of programs) {
      const all = [...flows, ['anew', '127.0.0.1', CONTROL_PORT]];
      const list = all.map((one) => `Steady(*${JSON.stringify(one)}, ${intervalS})`).join(', ');
      await program.run(`flows = [${list}]`);
    }
    await task();
    return await Promise.all(
      programs.map(async ({ program }) => {
        await program.run(`[flow.reach(${callsMin}) for flow in flows]`);
        return (await program.value('[flow.stop() for flow in flows]')) as readonly Measured[];
      }),
    );
  }

  function assertUntouched(flows: readonly Measured[]): void {
    const ordinaryMs = flows.at(-1)?.worstMs ?? 0;
    for (const { name, errors, worstMs } of flows) {
      assert.deepEqual(errors, [], name);
      const late = worstMs > retransmissionMs && worstMs > 2 * ordinaryMs;
      assert.ok(
        !late,
        `${name}: a call took ${worstMs.toFixed(0)} ms, where ${ordinaryMs.toFixed(0)} are ordinary`,
      );
    }
  }

  for (const signal of ['SIGKILL', 'SIGTERM'] as const)
    it(`not one call is lost or late: ${signal}`, async (context) => {
      const { cluster } = world;
      const measured = await during(async () => {
        await Promise.all(cluster.nodes.map((node) => cluster.stopAgent(node, signal)));
        for (const node of cluster.nodes) cluster.startAgent(node);
        await Promise.all(cluster.nodes.map((node) => cluster.ready(node)));
      });
      const all = measured.flat();
      const calls = all.reduce((sum, one) => sum + one.sent, 0);
      const slowest = Math.max(...all.map((one) => one.worstMs));
      context.diagnostic(`${calls} calls of ${all.length} flows, the slowest ${slowest.toFixed(1)} ms`);
      measured.forEach(assertUntouched);
    });

  it('programs are replaced by those of the next agent, and links stay', async () => {
    const { cluster } = world;
    const before = attached(cluster.nodes);
    for (const node of cluster.nodes) {
      await cluster.stopAgent(node, 'SIGKILL');
      cluster.startAgent(node);
      await cluster.ready(node);
    }
    const afterwards = attached(cluster.nodes);
    assert.deepEqual([...afterwards.keys()], [...before.keys()]);
    for (const [pin, { link, program }] of afterwards) {
      assert.equal(link, before.get(pin)?.link, `the link of ${pin} is the same`);
      assert.notEqual(program, before.get(pin)?.program, `${pin} runs the new program`);
    }
  });
});

/** By pin: which link stands there, and which program runs in it. */
function attached(
  nodes: readonly TestNode[],
): ReadonlyMap<string, { readonly link: number; readonly program: number }> {
  const pins = nodes.flatMap(({ pins: folder }) =>
    readdirSync(join(folder, 'links'), { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name)),
  );
  return new Map(
    pins.toSorted().map((pin) => {
      using link = openPinnedLink(pin);
      const { id, programId } = link.info();
      return [pin, { link: id, program: programId }];
    }),
  );
}
