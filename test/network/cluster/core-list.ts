import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ClusterOptions, type ClusterPod, TestCluster } from '../../support/network/cluster.ts';
import { Callers, type Spot } from './callers.ts';

const PORT = 8080;
const FAMILIES = ['ip4', 'ip6'] as const;

/** Who reaches whom, and as whom, whatever way packets take between nodes. */
export function coreList(options: ClusterOptions): void {
  describe(`pods, nodes and the world, mode ${options.mode}`, () => {
    let cluster: TestCluster;
    let callers: Callers;
    let [here, neighbour, far, last]: ClusterPod[] = [];

    before(async () => {
      cluster = await TestCluster.start(options);
      callers = new Callers(cluster);
      here = await cluster.addPod('here');
      neighbour = await cluster.addPod('neighbour');
      far = await cluster.addPod('far', { node: 1 });
      last = await cluster.addPod('last', { node: cluster.nodes.length - 1 });
      for (const spot of [here, neighbour, far, last, cluster.node(0), cluster.node(1), 'world'] as const)
        await callers.serve(spot, nameOf(spot), PORT);
    });

    after(async () => {
      await callers?.stop();
      await cluster?.close();
    });

    const ways = (): readonly (readonly [Spot, Spot])[] => {
      assert.ok(here !== undefined && neighbour !== undefined && far !== undefined && last !== undefined);
      const [first, second] = [cluster.node(0), cluster.node(1)];
      return [
        ...([
          [here, neighbour],
          [here, far],
          [far, here],
          [here, here],
          [far, last],
          [last, here],
        ] as const),
        ...([
          [first, here],
          [second, here],
          [first, far],
        ] as const),
        ...([
          [here, first],
          [here, second],
          [far, first],
        ] as const),
        ...([
          [first, second],
          [first, 'world'],
        ] as const),
      ];
    };

    for (const family of FAMILIES) {
      for (const call of ['tcp', 'udp']) {
        it(`each is seen by its own address: ${family}, ${call}`, async () => {
          for (const [from, to] of ways()) {
            const program = await callers.in(from);
            const target = to === 'world' ? cluster.world[family] : to[family];
            const [text] = (await program.value(`${call}("${target}", ${PORT})`)) as [string];
            const own = from === 'world' ? cluster.world[family] : from[family];
            assert.equal(text, `${nameOf(to)} ${own}`, `${nameOf(from)} to ${nameOf(to)}`);
          }
        });

        it(`pods go out to the world by their node's address: ${family}, ${call}`, async () => {
          assert.ok(here !== undefined && far !== undefined);
          for (const pod of [here, far]) {
            const program = await callers.in(pod);
            const [text] = (await program.value(`${call}("${cluster.world[family]}", ${PORT})`)) as [string];
            assert.equal(text, `world ${pod.node[family]}`);
          }
        });
      }

      it(`nobody listening is refused at once: ${family}`, async () => {
        assert.ok(here !== undefined && neighbour !== undefined && far !== undefined);
        for (const to of [neighbour, far, cluster.node(0), cluster.node(1)]) {
          const program = await callers.in(here);
          assert.equal(await program.error(`tcp("${to[family]}", 81)`), 'ECONNREFUSED', nameOf(to));
        }
      });

      it(`an address of a pod block that no pod has leads nowhere: ${family}`, async () => {
        assert.ok(here !== undefined && far !== undefined);
        const program = await callers.in(here);
        for (const pod of [here, far]) {
          const nobody = pod[family].replace(/[^.:]+$/, family === 'ip4' ? '250' : 'fffa');
          const error = await program.error(`tcp("${nobody}", ${PORT}, timeout=0.5)`);
          assert.match(error, /TIMEOUT|EHOSTUNREACH|ENETUNREACH/);
        }
      });
    }
  });
}

function nameOf(spot: Spot): string {
  return spot === 'world' ? spot : spot.name;
}
