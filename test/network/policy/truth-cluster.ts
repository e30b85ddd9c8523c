import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PolicyStatus } from '../../../common/pod-network.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { type ClusterPod, TestCluster, type TestNode } from '../../support/network/cluster.ts';
import { runIn } from '../../support/network/commands.ts';
import { CASE_PODS, type CaseCluster, namespaceObjects, podObjects } from '../../support/policy/cluster.ts';
import { eventually } from '../../support/wait.ts';
import { ask } from '../cluster/callers.ts';
import type { ProbePlace } from './packet-prober.ts';

const inForceMs = 10_000;
const MARKERS = 'marker';

/** Addresses outside of the cluster; packets to them leave by the nodes' default route. */
const WORLD = ['203.0.113.7', '198.51.100.9', '2001:db8:1::7'];

/** An address of the truth table. */
export interface Seat {
  readonly address: string;
  readonly kind: 'pod' | 'node' | 'world';
  /** `namespace/name` of a pod, the name of a node. */
  readonly name: string;
  /** Where a pod is, or which node it is. */
  readonly node: TestNode | undefined;
}

/**
 * The pods of `support/policy/cluster.ts` on two real nodes, and a pod on each whose policy tells by its name which set of policies
 * is in force.
 */
export class TruthCluster {
  readonly cluster: TestCluster;
  readonly namespaces = namespaceObjects();
  readonly pods: readonly KubeObject[];
  readonly seats: readonly Seat[];
  readonly byName: ReadonlyMap<string, ClusterPod>;
  #sets = 0;

  private constructor(cluster: TestCluster, attached: readonly ClusterPod[]) {
    this.cluster = cluster;
    this.byName = new Map(attached.map((pod) => [`${pod.namespace}/${pod.name}`, pod]));
    this.pods = this.#podObjects(attached);
    this.seats = [
      ...attached.flatMap(({ namespace, name, node, ip4, ip6 }): Seat[] =>
        [ip4, ip6].map((address) => ({ address, kind: 'pod', name: `${namespace}/${name}`, node })),
      ),
      ...cluster.nodes.flatMap((node): Seat[] =>
        [node.ip4, node.ip6].map((address) => ({ address, kind: 'node', name: node.name, node })),
      ),
      ...WORLD.map((address): Seat => ({ address, kind: 'world', name: '', node: undefined })),
    ];
  }

  static async start(mode: 'tunnel' | 'direct' = 'tunnel'): Promise<TruthCluster> {
    const cluster = await TestCluster.start({ mode });
    try {
      cluster.apply(...namespaceObjects(), {
        ...{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: MARKERS } },
      });
      const attached: ClusterPod[] = [];
      for (const { name, namespace, labels, node } of CASE_PODS)
        attached.push(await cluster.addPod(name, { namespace, labels, node: node - 1 }));
      for (const { number } of cluster.nodes)
        await cluster.addPod(`m${number}`, { namespace: MARKERS, node: number });
      const truth = new TruthCluster(cluster, attached);
      cluster.apply(...truth.pods);
      truth.#letTheWorldIn();
      return truth;
    } catch (thrown) {
      await cluster.close();
      throw thrown;
    }
  }

  /** Where packets are sent from and arrive. */
  get places(): readonly ProbePlace[] {
    return [
      ...[...this.byName.values()].map(({ netns, ip4, ip6 }) => ({
        ...{ netns, device: 'eth0', addresses: [ip4, ip6] },
      })),
      ...this.cluster.nodes.map(({ netns, ip4, ip6 }) => ({
        ...{ netns, device: undefined, addresses: [ip4, ip6] },
      })),
      { netns: this.cluster.world.netns, device: 'br0', addresses: WORLD },
    ];
  }

  /** Puts these policies, and no others, in force on all nodes: at once, and there on return. */
  async enforce(policies: readonly KubeObject[]): Promise<void> {
    const marker = `set-${++this.#sets}`;
    const items = [
      ...policies,
      {
        ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
        ...{ metadata: { name: marker, namespace: MARKERS }, spec: { podSelector: {} } },
      },
    ];
    const path = join(this.cluster.manifests, 'policies.json');
    writeFileSync(`${path}.tmp`, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    renameSync(`${path}.tmp`, path);
    for (const node of this.cluster.nodes)
      await eventually(() => isInForce(node, `${MARKERS}/${marker}`), {
        ...{ deadlineMs: inForceMs, what: `${node.name} enforces ${marker}` },
      });
  }

  /**
   * Lets no place answer: what programs and kernels reply would be packets of its own. Neighbours go on finding each other, and
   * tunnels go on.
   */
  silence(): void {
    const rules = ['meta l4proto { tcp, sctp } drop', 'udp dport != 4789 drop'].map((rule) => `${rule}\n`);
    const table = `table inet silence {\n chain in {\n type filter hook input priority 0\n ${rules.join(' ')}}\n}`;
    for (const { netns } of this.places) runIn(netns, 'nft', table);
  }

  async close(): Promise<void> {
    await this.cluster.close();
  }

  /** Makes the world a router that knows the way to pods, by the pods' own nodes: in mode direct they reach each other by it. */
  #letTheWorldIn(): void {
    const { world } = this.cluster;
    for (const name of ['ipv4.ip_forward=1', 'ipv6.conf.all.forwarding=1', 'ipv4.conf.all.send_redirects=0'])
      runIn(world.netns, 'sysctl', '-qw', `net.${name}`);
    runIn(world.netns, 'sysctl', '-qw', 'net.ipv4.conf.br0.send_redirects=0');
    // What nobody outside has ends here without a word.
    for (const family of ['-4', '-6'])
      runIn(world.netns, 'ip', family, 'route', 'add', 'blackhole', 'default');
    for (const { ip4, ip6, node } of this.byName.values()) {
      runIn(world.netns, 'ip', 'route', 'add', ip4, 'via', node.ip4);
      runIn(world.netns, 'ip', '-6', 'route', 'add', ip6, 'via', node.ip6);
    }
  }

  /** The Pods with their ports, which `addPod` doesn't know of, and all that it does. */
  #podObjects(attached: readonly ClusterPod[]): readonly KubeObject[] {
    const addresses: CaseCluster['addresses'] = new Map(
      attached.map(({ namespace, name, ip4, ip6 }) => [`${namespace}/${name}`, [ip4, ip6]]),
    );
    return podObjects({ addresses, world: WORLD }).map((object) => {
      const pod = this.byName.get(`${object.metadata.namespace}/${object.metadata.name}`);
      const { uid = '', node } = pod ?? {};
      const spec = { ...(object.spec as object), nodeName: node?.name ?? '' };
      return { ...object, metadata: { ...object.metadata, uid }, spec };
    });
  }
}

async function isInForce(node: TestNode, policy: string): Promise<boolean> {
  const { items } = await ask<{ items: readonly PolicyStatus[] }>(node, '/policy');
  const marker = items.find(({ pod }) => pod.startsWith(`${MARKERS}/`));
  return marker?.ingress.policies.join() === policy;
}
