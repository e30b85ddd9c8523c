import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import type { Spot } from './callers.ts';
import { CALLS, FAMILIES, NODE_PORT, OUTER, ServiceWorld } from './service-world.ts';
import { CLUSTER_IPS, ECHO_PORT, endpointsOf, nodePorts } from './services.ts';

leakCheck();

const CLUSTER_IP = { ip4: CLUSTER_IPS[0], ip6: CLUSTER_IPS[1] };
/** What a refusal may take at most: no timeout of any kind. */
const refusedMs = 500;

for (const mode of ['tunnel', 'direct'] as const)
  describe(`Services for pods and the programs of nodes, mode ${mode}`, () => {
    let world: ServiceWorld;
    before(async () => {
      world = await ServiceWorld.start({ mode });
    });
    after(() => world?.close());

    const inside = (): readonly Spot[] => [...world.clients, ...world.cluster.nodes, world.backends[0]];

    for (const family of FAMILIES)
      for (const call of CALLS)
        it(`every backend answers at the cluster IP, and sees who calls: ${family}, ${call}`, async () => {
          await world.apply({});
          for (const from of inside()) {
            assert.ok(from !== 'world');
            const names = new Set<string>();
            for (let round = 0; round < 24; round++) {
              const { name, seen, peer } = await world.call(from, call, CLUSTER_IP[family], 80);
              assert.deepEqual(peer, [CLUSTER_IP[family], 80]);
              assert.equal(seen, from[family]);
              names.add(name);
            }
            assert.deepEqual([...names].toSorted(), ['web1', 'web2'], from.name);
          }
        });

    for (const family of FAMILIES)
      for (const call of CALLS)
        it(`node ports and outer addresses are served without leaving the cluster: ${family}, ${call}`, async () => {
          await world.apply(
            { type: 'LoadBalancer', ...nodePorts(NODE_PORT), externalIPs: Object.values(OUTER.external) },
            undefined,
            { status: { loadBalancer: { ingress: Object.values(OUTER.balancer).map((ip) => ({ ip })) } } },
          );
          const [client] = world.clients;
          for (const [address, port] of [
            [world.cluster.node(0)[family], NODE_PORT],
            [world.cluster.node(1)[family], NODE_PORT],
            [OUTER.balancer[family], 80],
            [OUTER.external[family], 80],
          ] as const)
            for (const from of [client, world.cluster.node(0)])
              assert.equal(await world.answering(from, call, address, port, from[family]), 'web1 web2');
        });

    it('a client with affinity keeps its backend, and another client may have another', async () => {
      await world.apply({ sessionAffinity: 'ClientIP' });
      for (const family of FAMILIES)
        for (const call of CALLS)
          for (const from of inside()) {
            assert.ok(from !== 'world');
            const kept = await world.answering(from, call, CLUSTER_IP[family], 80, from[family]);
            assert.match(kept, /^web[12]$/, `${from.name} by ${family} and ${call}`);
          }
    });

    it('without endpoints callers are refused at once, whatever they call', async () => {
      await world.apply({ type: 'NodePort', ...nodePorts(NODE_PORT) }, []);
      for (const family of FAMILIES)
        for (const [address, port] of [
          [CLUSTER_IP[family], 80],
          [world.cluster.node(0)[family], NODE_PORT],
          [world.cluster.node(1)[family], NODE_PORT],
        ] as const)
          for (const from of [world.clients[0], world.cluster.node(0)]) {
            const startMs = performance.now();
            for (const call of CALLS)
              assert.equal(
                await world.refusal(from, call, address, port),
                'ECONNREFUSED',
                `${from.name}: ${address}`,
              );
            assert.ok(performance.now() - startMs < refusedMs);
          }
    });

    it('who is not ready gets nothing; who ends is called only when nobody else is left', async () => {
      const [web1, web2] = world.backends;
      const [client] = world.clients;
      const answering = (address: string) => world.answering(client, 'tcp', address, 80, client.ip4);
      const ready = endpointsOf([web1]);
      await world.apply({}, [...ready, ...endpointsOf([web2], 'unready')]);
      assert.equal(await answering(CLUSTER_IP.ip4), 'web1');
      const leaving = endpointsOf([web2], 'unready serving stopping');
      await world.apply({}, [...ready, ...leaving]);
      assert.equal(await answering(CLUSTER_IP.ip4), 'web1');
      await world.apply({}, [...endpointsOf([web1], 'unready'), ...leaving]);
      assert.equal(await answering(CLUSTER_IP.ip4), 'web2');
      const unready = endpointsOf(world.backends, 'unready');
      await world.apply({}, unready);
      assert.equal(await world.refusal(client, 'tcp', CLUSTER_IP.ip4, 80), 'ECONNREFUSED');
      await world.apply({ publishNotReadyAddresses: true }, unready);
      assert.equal(await answering(CLUSTER_IP.ip4), 'web1 web2');
    });

    it('internalTrafficPolicy Local keeps calls on their node', async () => {
      await world.apply({ internalTrafficPolicy: 'Local' });
      for (const [index, client] of world.clients.entries())
        for (const family of FAMILIES)
          assert.equal(
            await world.answering(client, 'tcp', CLUSTER_IP[family], 80, client[family]),
            `web${index + 1}`,
          );
      // As without any endpoints: a socket is refused, where kube-proxy drops its packets.
      await world.apply({ internalTrafficPolicy: 'Local' }, endpointsOf([world.backends[1]]));
      const [without, has] = world.clients;
      for (const family of FAMILIES) {
        assert.equal(await world.refusal(without, 'tcp', CLUSTER_IP[family], 80), 'ECONNREFUSED');
        assert.equal(await world.answering(has, 'tcp', CLUSTER_IP[family], 80, has[family]), 'web2');
      }
    });

    it('an endpoint that goes away is called no more, and its open connections stay', async () => {
      const [web1, web2] = world.backends;
      const [client] = world.clients;
      await world.apply({}, endpointsOf([web2]));
      const program = await world.callers.in(client);
      const server = await world.callers.in(web2);
      await server.run(`echo("${web2.ip4}", ${ECHO_PORT})`);
      await program.run(
        `kept = dial("${CLUSTER_IP.ip4}", 81); kept.sendall(b"1"); result = kept.recv(1).decode()`,
      );
      await world.apply({}, endpointsOf([web1]));
      assert.equal(await world.answering(client, 'tcp', CLUSTER_IP.ip4, 80, client.ip4), 'web1');
      assert.equal(
        await program.run('kept.sendall(b"2"); result = kept.recv(1).decode(); kept.close()'),
        '2',
      );
    });
  });
