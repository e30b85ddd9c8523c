import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { runIn } from '../../support/network/commands.ts';
import type { Program } from '../sockets/program.ts';
import { inForce, placeOf, startProgram } from './callers.ts';
import { addFarNetwork, NARROW_MTU } from './far-away.ts';
import { FAMILIES, NODE_PORT, ServiceWorld } from './service-world.ts';
import { ECHO_PORT, endpointsOf, nodePorts, Slices } from './services.ts';
import { Underlay } from './underlay.ts';

leakCheck();

const BULK_BYTES = 4 * 1024 * 1024;
/** More than the underlay takes in one frame, twice and four times. */
const DATAGRAM_BYTES = [1_400, 1_452, 4_000, 9_000];
const SINK_PORT = 8_090;
const SOURCE_PORT = 8_091;
/** What VXLAN over IPv4 leaves of the underlay's 1500. */
const TUNNEL_MTU = 1_450;
const POD_MTU = { tunnel: TUNNEL_MTU, direct: 1_500 } as const;
const LARGE_ECHO_PORT = ECHO_PORT + 10;
/** Of a datagram that is lost while its sender learns how large the next may be. */
const lostMs = 500;

for (const mode of ['tunnel', 'direct'] as const)
  describe(`sizes of packets, mode ${mode}`, () => {
    let world: ServiceWorld;
    let far: ReturnType<typeof addFarNetwork>;
    let farProgram: Program;

    before(async () => {
      world = await ServiceWorld.start({ mode });
      far = addFarNetwork(world.cluster);
      farProgram = await startProgram({ ...placeOf(world.cluster, 'world'), netns: far.netns });
      for (const family of FAMILIES) {
        await farProgram.run(
          `sink("${far[family]}", ${SINK_PORT}); source("${far[family]}", ${SOURCE_PORT}, ${BULK_BYTES})`,
        );
        for (const backend of world.backends) {
          const program = await world.callers.in(backend);
          const at = backend[family];
          await program.run(`echo("${at}", ${LARGE_ECHO_PORT}); sink("${at}", ${SINK_PORT})`);
          await program.run(`source("${at}", ${ECHO_PORT}, ${BULK_BYTES})`);
        }
      }
    });
    after(async () => {
      await farProgram?.stop();
      await world?.close();
    });

    it(`pods send packets of at most ${POD_MTU[mode]} bytes`, () => {
      for (const pod of world.clients) {
        const [link] = JSON.parse(runIn(pod.netns, 'ip', '-j', 'link', 'show', 'eth0')) as { mtu: number }[];
        assert.equal(link?.mtu, POD_MTU[mode]);
      }
    });

    for (const family of FAMILIES) {
      it(`datagrams of ${DATAGRAM_BYTES.join(', ')} bytes come and go whole: ${family}`, async () => {
        const client = await world.callers.in(world.clients[0]);
        for (const backend of world.backends)
          for (const bytes of DATAGRAM_BYTES) {
            const same = await client.value(`big("${backend[family]}", ${LARGE_ECHO_PORT}, ${bytes})`);
            assert.equal(same, true, `${bytes} bytes to ${backend.name}`);
          }
      });

      it(`a bulk transfer between nodes is never fragmented: ${family}`, async () => {
        const client = await world.callers.in(world.clients[0]);
        const address = world.backends[1][family];
        using underlay = await Underlay.watch(world.cluster);
        assert.equal(await client.value(`push("${address}", ${SINK_PORT}, ${BULK_BYTES})`), BULK_BYTES);
        assert.equal(await client.value(`pull("${address}", ${ECHO_PORT})`), BULK_BYTES);
        const seen = await underlay.stop();
        assert.ok(seen.packets > 0, 'the transfer was seen');
        assert.equal(seen.fragments, 0);
      });

      it(`a pod learns that the way to the world is narrow, and its transfer comes through: ${family}`, async () => {
        for (const pod of world.clients) {
          const client = await world.callers.in(pod);
          assert.equal(await client.value(`push("${far[family]}", ${SINK_PORT}, ${BULK_BYTES})`), BULK_BYTES);
          assert.equal(await client.value(`pull("${far[family]}", ${SOURCE_PORT})`), BULK_BYTES);
          assert.match(
            runIn(pod.netns, 'ip', 'route', 'get', far[family]),
            new RegExp(`mtu ${NARROW_MTU}\\b`),
          );
        }
      });

      it(`clients outside exchange bulk and datagrams with a backend on another node: ${family}`, async () => {
        const { cluster } = world;
        const backend = world.backends[1];
        const address = cluster.node(0)[family];
        const client = await world.callers.in('world');
        const large = new Slices([SINK_PORT, LARGE_ECHO_PORT]);
        const spec = { type: 'NodePort', ...nodePorts(NODE_PORT) };
        await world.apply(spec, []);
        cluster.apply(...large.of(endpointsOf([backend])));
        await inForce(cluster);
        {
          using underlay = await Underlay.watch(cluster);
          assert.equal(await client.value(`push("${address}", ${NODE_PORT}, ${BULK_BYTES})`), BULK_BYTES);
          const seen = await underlay.stop();
          assert.ok(seen.packets > 0, 'the transfer was seen');
          assert.equal(seen.fragments, 0);
        }
        for (const bytes of DATAGRAM_BYTES) {
          const call = `big("${address}", ${NODE_PORT + 1}, ${bytes}, timeout=${lostMs / 1000})`;
          // Each end may lose one.
          for (let lost = 0; lost < 2; lost++) if ((await client.error(call)) !== 'TIMEOUT') break;
          assert.equal(await client.value(call), true, `${bytes} bytes`);
        }
        cluster.apply(...large.of([]));
        await world.apply(spec, endpointsOf([backend]));
        assert.equal(await client.value(`pull("${address}", ${NODE_PORT + 1})`), BULK_BYTES);
        // In mode tunnel pods offer clients no more than the tunnel takes.
        const learned = new RegExp(mode === 'direct' ? `mtu ${TUNNEL_MTU}\\b` : '');
        assert.match(runIn(cluster.world.netns, 'ip', 'route', 'get', address), learned);
        assert.match(runIn(backend.netns, 'ip', 'route', 'get', cluster.world[family]), learned);
      });

      it(`a Service's backends learn it of clients behind a narrow way: ${family}`, async () => {
        for (const backend of world.backends) {
          await world.apply({ type: 'NodePort', ...nodePorts(NODE_PORT) }, endpointsOf([backend]));
          const address = world.cluster.node(0)[family];
          assert.equal(
            await farProgram.value(`pull("${address}", ${NODE_PORT + 1})`),
            BULK_BYTES,
            backend.name,
          );
          assert.match(
            runIn(backend.netns, 'ip', 'route', 'get', far[family]),
            new RegExp(`mtu ${NARROW_MTU}\\b`),
          );
        }
      });
    }
  });
