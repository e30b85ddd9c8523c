import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { removeCgroup, rootOfCgroups } from '../../support/network/cgroups.ts';
import { ip, removeNamespace, runIn } from '../../support/network/commands.ts';
import type { BenchPod } from './way.ts';

export const POD_RANGE = '10.244.0.0/16';
/** As flannel gives it: 1500 without the headers of VXLAN. */
const podMtu = '1450';

interface BridgeNode {
  readonly netns: string;
  pods: number;
}

export interface BridgeOptions {
  /** Of all namespaces and cgroups: short, and another one for each cluster. */
  readonly name: string;
  readonly nodes: number;
  /** Whether packets between pods of a node pass iptables, as kubeadm asks for. */
  readonly bridgedByIptables: boolean;
  /** A folder for what is loaded. */
  readonly directory: string;
}

/**
 * What Heddle's pod network is measured against: a bridge on each node and the kernel's own VXLAN between them, as flannel
 * sets them up, and whatever iptables rules a case adds.
 */
export class BridgeCluster {
  readonly #options: BridgeOptions;
  readonly #prefix: string;
  readonly #namespaces: string[] = [];
  readonly #nodes: BridgeNode[] = [];

  constructor(options: BridgeOptions) {
    this.#options = options;
    this.#prefix = `hdlt-b${process.pid}-${options.name}`;
    mkdirSync(this.#cgroup());
    const underlay = this.#namespace('u');
    runIn(underlay, 'sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=0');
    runAll(underlay, ['link add br0 type bridge', 'link set br0 up']);
    for (let number = 1; number <= options.nodes; number++) this.#makeNode(number, underlay);
  }

  addPod(number = 1): BenchPod {
    const node = this.#node(number);
    const netns = this.#namespace(`p${this.#namespaces.length}`);
    const at = ++node.pods;
    const ip4 = `10.244.${number}.${at + 10}`;
    runAll(node.netns, [
      `link add veth${at} type veth peer name eth0 netns ${short(netns)}`,
      `link set veth${at} mtu ${podMtu} master cni0 up`,
    ]);
    runAll(netns, [
      'link set lo up',
      `addr add ${ip4}/24 dev eth0`,
      `link set eth0 mtu ${podMtu} up`,
      `route add default via 10.244.${number}.1`,
    ]);
    const cgroup = join(this.#cgroup(), `p${this.#namespaces.length}`);
    mkdirSync(cgroup);
    return { netns, cgroup, ip4 };
  }

  /** Adds rules to every node, in the words of iptables-restore. */
  addRules(text: string): void {
    const file = join(this.#options.directory, `${this.#options.name}.rules`);
    writeFileSync(file, text);
    for (const { netns } of this.#nodes) runIn(netns, 'iptables-restore', '--noflush', file);
  }

  async close(): Promise<void> {
    for (const netns of this.#namespaces) removeNamespace(short(netns));
    await removeCgroup(this.#cgroup());
  }

  #makeNode(number: number, underlay: string): void {
    const netns = this.#namespace(`n${number}`);
    this.#nodes.push({ netns, pods: 0 });
    const mac = macOf(number);
    const call = this.#options.bridgedByIptables ? 1 : 0;
    runIn(netns, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', `net.bridge.bridge-nf-call-iptables=${call}`);
    runAll(underlay, [
      `link add u${number} type veth peer name eth0 netns ${short(netns)}`,
      `link set u${number} master br0 up`,
    ]);
    runAll(netns, [
      'link set lo up',
      `addr add ${underlayOf(number)}/24 dev eth0`,
      'link set eth0 up',
      'link add cni0 type bridge',
      `addr add 10.244.${number}.1/24 dev cni0`,
      `link set cni0 mtu ${podMtu} up`,
      `link add flannel.1 address ${mac} type vxlan id 1 local ${underlayOf(number)} dstport 8472 nolearning dev eth0`,
      `addr add 10.244.${number}.0/32 dev flannel.1`,
      `link set flannel.1 mtu ${podMtu} up`,
    ]);
    for (let other = 1; other <= this.#options.nodes; other++) if (other !== number) reachNode(netns, other);
  }

  #node(number: number): BridgeNode {
    const node = this.#nodes[number - 1];
    if (node === undefined) throw new Error(`no node ${number}`);
    return node;
  }

  #namespace(name: string): string {
    const netns = `/run/netns/${this.#prefix}${name}`;
    ip('netns', 'add', short(netns));
    this.#namespaces.push(netns);
    return netns;
  }

  #cgroup(): string {
    return join(rootOfCgroups(), this.#prefix);
  }
}

/** Entries that never age, as flannel writes them. */
function reachNode(netns: string, other: number): void {
  const gateway = `10.244.${other}.0`;
  runAll(netns, [
    `route add ${gateway}/24 via ${gateway} dev flannel.1 onlink`,
    `neigh add ${gateway} lladdr ${macOf(other)} dev flannel.1 nud permanent`,
  ]);
  const entry = ['fdb', 'add', macOf(other), 'dev', 'flannel.1', 'dst', underlayOf(other)];
  runIn(netns, 'bridge', ...entry);
}

function underlayOf(node: number): string {
  return `192.0.2.${node + 10}`;
}

function macOf(node: number): string {
  return `02:00:00:00:00:${String(node).padStart(2, '0')}`;
}

function runAll(netns: string, commands: readonly string[]): void {
  for (const words of commands) runIn(netns, 'ip', ...words.split(' '));
}

function short(netns: string): string {
  return netns.slice('/run/netns/'.length);
}
