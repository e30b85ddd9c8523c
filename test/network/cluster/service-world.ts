import assert from 'node:assert/strict';
import type { JsonObject } from '../../../common/json.ts';
import { type ClusterOptions, type ClusterPod, TestCluster } from '../../support/network/cluster.ts';
import { ip } from '../../support/network/commands.ts';
import { Callers, inForce, type Spot } from './callers.ts';
import { endpointsOf, Slices, service, TARGET_PORT } from './services.ts';

export const FAMILIES = ['ip4', 'ip6'] as const;
export const CALLS = ['tcp', 'udp'] as const;
export const NODE_PORT = 30080;
/** Enough calls that a choice among two backends shows both: the other's chance is 1 in 8 million. */
const callsForBoth = 24;

/** Addresses that the world routes to the first node, by family. */
export const OUTER = {
  balancer: { ip4: '198.51.100.7', ip6: '2001:db8:7::7' },
  external: { ip4: '198.51.100.9', ip6: '2001:db8:9::9' },
} as const;

/** Two nodes with one backend of `shop/web` each, a client beside each, and the world. */
export class ServiceWorld {
  readonly cluster: TestCluster;
  readonly callers: Callers;
  readonly slices = new Slices();
  readonly backends: readonly [ClusterPod, ClusterPod];
  readonly clients: readonly [ClusterPod, ClusterPod];

  private constructor(cluster: TestCluster, pods: readonly ClusterPod[]) {
    this.cluster = cluster;
    this.callers = new Callers(cluster);
    const [web1, web2, client1, client2] = pods;
    assert.ok(web1 !== undefined && web2 !== undefined && client1 !== undefined && client2 !== undefined);
    this.backends = [web1, web2];
    this.clients = [client1, client2];
  }

  static async start(options: ClusterOptions = {}): Promise<ServiceWorld> {
    const cluster = await TestCluster.start(options);
    try {
      const pods: ClusterPod[] = [];
      for (const name of ['web', 'client'])
        for (const node of [0, 1])
          pods.push(await cluster.addPod(`${name}${node + 1}`, { node, namespace: 'shop' }));
      const world = new ServiceWorld(cluster, pods);
      for (const pod of world.backends) await world.callers.serve(pod, pod.name, TARGET_PORT);
      for (const { ip4, ip6 } of Object.values(OUTER)) {
        const { netns } = cluster.world;
        const name = netns.slice('/run/netns/'.length);
        ip('-n', name, 'route', 'add', ip4, 'via', cluster.node(0).ip4);
        ip('-n', name, 'route', 'add', ip6, 'via', cluster.node(0).ip6);
      }
      return world;
    } catch (thrown) {
      await cluster.close();
      throw thrown;
    }
  }

  async close(): Promise<void> {
    await this.callers.stop();
    await this.cluster.close();
  }

  /** Applies the Service with these endpoints; both nodes serve it when it returns. */
  async apply(
    spec: JsonObject,
    endpoints: readonly string[] = endpointsOf(this.backends),
    more: JsonObject = {},
  ): Promise<void> {
    this.cluster.apply(service(spec, more), ...this.slices.of(endpoints));
    await inForce(this.cluster);
  }

  /** What a caller hears: who answered, whom that saw, and from where the answer came. */
  async call(
    from: Spot,
    call: string,
    address: string,
    port: number,
  ): Promise<{ readonly name: string; readonly seen: string; readonly peer: readonly [string, number] }> {
    const program = await this.callers.in(from);
    const [text, host, number] = (await program.value(`${call}("${address}", ${port})`)) as [
      string,
      string,
      number,
    ];
    const [name = '', seen = ''] = text.split(' ');
    return { name, seen, peer: [host, number] };
  }

  /** The error of a caller that isn't served. */
  async refusal(from: Spot, call: string, address: string, port: number, more = ''): Promise<string> {
    return await (await this.callers.in(from)).error(`${call}("${address}", ${port}${more})`);
  }

  /** Who answers over many calls; each saw `seen` and answered from where it was called. */
  async answering(from: Spot, call: string, address: string, port: number, seen: string): Promise<string> {
    const names = new Set<string>();
    for (let round = 0; round < callsForBoth; round++) {
      const answer = await this.call(from, call, address, port);
      assert.equal(answer.seen, seen, `${call} to ${address} port ${port}`);
      assert.deepEqual(answer.peer, [address, port]);
      names.add(answer.name);
    }
    return [...names].toSorted().join(' ');
  }
}
