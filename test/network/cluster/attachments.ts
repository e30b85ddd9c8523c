import type { ClusterPod, PodOptions, TestCluster, TestNode } from '../../support/network/cluster.ts';
import { podObject } from '../../support/network/cluster-objects.ts';
import { CniPlugin, type PluginTarget } from '../../support/network/cni-plugin.ts';
import { ip, removeNamespace } from '../../support/network/commands.ts';

/** Attachments by the plugin alone, as a runtime makes them again and again; TestCluster's pods are made once, by an agent that runs. */
export class Attachments {
  readonly #cluster: TestCluster;
  readonly #plugin = new CniPlugin();
  #count = 0;

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
  }

  /** A Pod that is bound to the node, with a namespace and no network yet. */
  prepare(node: TestNode, options: PodOptions = {}): PluginTarget {
    const name = `a${++this.#count}`;
    const uid = `11111111-0000-4000-8000-${String(this.#count).padStart(12, '0')}`;
    const netns = this.#cluster.world.netns.replace(/world$/, name);
    ip('netns', 'add', nameOf(netns));
    this.#cluster.apply(podObject(name, 'default', uid, node.name, options));
    return { containerId: uid, netns, socket: node.socket, namespace: 'default', name, uid };
  }

  /** The pod's addresses. Rejects with what the plugin printed. */
  add(target: PluginTarget): Promise<readonly string[]> {
    return this.#plugin.add(target, []);
  }

  check(target: PluginTarget): Promise<void> {
    return this.#plugin.check(target);
  }

  /** As at the end of a pod: its object, its network, its namespace. */
  async remove(target: PluginTarget): Promise<void> {
    this.#cluster.delete({ kind: 'Pod', metadata: { name: target.name, namespace: target.namespace } });
    await this.#plugin.delete(target);
    removeNamespace(nameOf(target.netns));
  }
}

/** One step of runtime/main.go about this pod. */
export function stepOf({ containerId: container, netns, name, uid }: PluginTarget) {
  const args = [
    ['IgnoreUnknown', '1'],
    ['K8S_POD_NAMESPACE', 'default'],
    ['K8S_POD_NAME', name],
    ['K8S_POD_UID', uid],
  ];
  return { container, netns, args };
}

function nameOf(netns: ClusterPod['netns']): string {
  return netns.slice('/run/netns/'.length);
}
