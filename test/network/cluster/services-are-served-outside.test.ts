import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { runIn } from '../../support/network/commands.ts';
import { CALLS, FAMILIES, NODE_PORT, OUTER, ServiceWorld } from './service-world.ts';
import { ECHO_PORT, endpointsOf, nodePorts } from './services.ts';

leakCheck();

const HOST_PORT = 8443;
const HEALTH_PORT = 31_000;
const BALANCED = {
  status: { loadBalancer: { ingress: Object.values(OUTER.balancer).map((ip) => ({ ip })) } },
};
const OPEN = { type: 'LoadBalancer', ...nodePorts(NODE_PORT), externalIPs: Object.values(OUTER.external) };
/** Long enough for an answer that must not come. */
const SHORT = ', timeout=0.5';
/** Only a connected UDP socket hears of refusals. */
const CONNECTED = { tcp: '', udp: ', connect=True' } as const;
/** What a refusal may take at most: no SYN is sent again before a second. */
const refusedMs = 500;

for (const mode of ['tunnel', 'direct'] as const)
  describe(`Services for clients in the world, mode ${mode}`, () => {
    let world: ServiceWorld;
    before(async () => {
      world = await ServiceWorld.start({ mode });
    });
    after(() => world?.close());

    for (const family of FAMILIES)
      for (const call of CALLS) {
        it(`local and remote backends see the client: ${family}, ${call}`, async () => {
          await world.apply(OPEN, undefined, BALANCED);
          const { cluster } = world;
          for (const [address, port] of [
            [cluster.node(0)[family], NODE_PORT],
            [cluster.node(1)[family], NODE_PORT],
            [OUTER.balancer[family], 80],
            [OUTER.external[family], 80],
          ] as const)
            assert.equal(
              await world.answering('world', call, address, port, cluster.world[family]),
              'web1 web2',
            );
        });

        it(`externalTrafficPolicy Local keeps clients on the node they came to: ${family}, ${call}`, async () => {
          await world.apply({ ...OPEN, externalTrafficPolicy: 'Local' }, undefined, BALANCED);
          const { cluster } = world;
          const answering = (address: string, port: number) =>
            world.answering('world', call, address, port, cluster.world[family]);
          for (const [index, node] of cluster.nodes.entries())
            assert.equal(await answering(node[family], NODE_PORT), `web${index + 1}`);
          assert.equal(await answering(OUTER.balancer[family], 80), 'web1');
          assert.equal(await answering(OUTER.external[family], 80), 'web1');
        });
      }

    it('with policy Local a node without endpoints serves nobody, and says so to load balancers', async () => {
      const { cluster } = world;
      const local = { ...OPEN, externalTrafficPolicy: 'Local', healthCheckNodePort: HEALTH_PORT };
      await world.apply(local, endpointsOf([world.backends[1]]), BALANCED);
      for (const family of FAMILIES) {
        const [near, far] = cluster.nodes.map((node) => node[family]);
        assert.ok(near !== undefined && far !== undefined);
        for (const call of CALLS)
          for (const [address, port] of [
            [near, NODE_PORT],
            [OUTER.balancer[family], 80],
            [OUTER.external[family], 80],
          ] as const)
            assert.equal(
              await world.refusal('world', call, address, port, CONNECTED[call] + SHORT),
              'TIMEOUT',
              `${call} to ${address}`,
            );
        assert.equal(await world.answering('world', 'tcp', far, NODE_PORT, cluster.world[family]), 'web2');
        for (const [address, code, count] of [
          [near, '503', 0],
          [far, '200', 1],
        ] as const) {
          const host = address.includes(':') ? `[${address}]` : address;
          const { netns } = cluster.world;
          const url = `http://${host}:${HEALTH_PORT}/healthz`;
          const said = runIn(netns, 'curl', '-s', '--globoff', '-m', '5', '-w', '\n%{http_code}', url).split(
            '\n',
          );
          assert.equal(said[1], code);
          assert.deepEqual(JSON.parse(said[0] ?? ''), {
            ...{
              service: { namespace: 'shop', name: 'web' },
              localEndpoints: count,
              serviceProxyHealthy: true,
            },
          });
        }
      }
    });

    it('a client with affinity keeps its backend', async () => {
      // A port that nobody called yet: a flow that is known keeps its backend, whatever the Service says since.
      const fresh = NODE_PORT + 10;
      await world.apply({ ...OPEN, ...nodePorts(fresh), sessionAffinity: 'ClientIP' }, undefined, BALANCED);
      const { cluster } = world;
      for (const family of FAMILIES)
        for (const node of cluster.nodes)
          for (const call of CALLS) {
            const kept = await world.answering('world', call, node[family], fresh, cluster.world[family]);
            assert.match(kept, /^web[12]$/);
          }
    });

    for (const policy of ['Cluster', 'Local'])
      it(`without endpoints every address refuses at once, policy ${policy}`, async () => {
        await world.apply({ ...OPEN, externalTrafficPolicy: policy }, [], BALANCED);
        for (const family of FAMILIES)
          for (const [address, port] of [
            ...world.cluster.nodes.map((node) => [node[family], NODE_PORT] as const),
            [OUTER.balancer[family], 80],
            [OUTER.external[family], 80],
          ] as const)
            for (const call of CALLS) {
              const start = performance.now();
              const why = await world.refusal('world', call, address, port, `${CONNECTED[call]}, timeout=5`);
              assert.equal(why, 'ECONNREFUSED', `${call} to ${address}`);
              assert.ok(performance.now() - start < refusedMs, `${call} to ${address} was refused at once`);
            }
      });

    it('a hostPort leads to its pod from the world, from its node and from pods, and nowhere else', async () => {
      const { cluster } = world;
      const ports = ['TCP', 'UDP'].map((protocol) => ({
        containerPort: 9000,
        hostPort: HOST_PORT,
        protocol,
      }));
      const pod = await cluster.addPod('gate', { node: 1, ports });
      await world.callers.serve(pod, 'gate', 9000);
      for (const family of FAMILIES)
        for (const call of CALLS) {
          for (const from of ['world', cluster.node(1), ...world.clients] as const) {
            const own = from === 'world' ? cluster.world[family] : from[family];
            assert.equal(await world.answering(from, call, pod.node[family], HOST_PORT, own), 'gate');
          }
          const own = cluster.node(1);
          const loopback = family === 'ip4' ? '127.0.0.1' : '::1';
          assert.equal(await world.answering(own, call, loopback, HOST_PORT, own[family]), 'gate');
          const elsewhere = cluster.node(0)[family];
          assert.equal(await world.refusal('world', 'tcp', elsewhere, HOST_PORT, SHORT), 'ECONNREFUSED');
        }
      await world.callers.end(pod);
      await cluster.deletePod(pod);
      assert.equal(await world.refusal('world', 'tcp', pod.node.ip4, HOST_PORT), 'ECONNREFUSED');
    });

    it('an open connection outlives its endpoint, and a new one is refused', async () => {
      const { cluster, callers } = world;
      const client = await callers.in('world');
      for (const backend of world.backends) {
        await (await callers.in(backend)).run(`echo("${backend.ip4}", ${ECHO_PORT})`);
        await world.apply(OPEN, endpointsOf([backend]));
        const address = cluster.node(0).ip4;
        await client.run(`kept = dial("${address}", ${NODE_PORT + 1})`);
        assert.equal(await client.run('kept.sendall(b"1"); result = kept.recv(1).decode()'), '1');
        await world.apply(OPEN, []);
        assert.equal(await world.refusal('world', 'tcp', address, NODE_PORT + 1), 'ECONNREFUSED');
        assert.equal(
          await client.run('kept.sendall(b"2"); result = kept.recv(1).decode(); kept.close()'),
          '2',
        );
      }
    });
  });
