import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type BpfLink, type BpfObject, createLink, openObject } from '../../../cni/kernel/libbpf.ts';
import { EP, IDENTITY, NODE } from '../../../cni/maps/constants.ts';
import type { Endpoint } from '../../../cni/maps/layouts.ts';
import { encode } from '../../../cni/maps/struct.ts';
import { TABLES, type Table } from '../../../cni/maps/tables.ts';
import { addressBytes, noAddress, parsePrefix } from '../../../common/address.ts';

const OBJECT = fileURLToPath(new URL('../../../cni/bpf/objects/pod.o', import.meta.url));
const HOST_MAC = 'ee:ee:ee:ee:ee:ee';
const MTU = '1450';
/** With the number of this process: two runs at once must not take each other's away. */
const prefix = `hdlt-p${process.pid}-`;

export interface TestPod {
  readonly name: string;
  readonly node: string;
  readonly ips: readonly string[];
  readonly identity: number;
}

/** Two nodes on an underlay, three pods: the path of packets alone, with maps that the test writes. */
export const NODES = [
  { name: 'a', ip: '192.168.50.1', ip6: 'fd50::1' },
  { name: 'b', ip: '192.168.50.2', ip6: 'fd50::2' },
] as const;
export const PODS: readonly TestPod[] = [
  { name: 'a1', node: 'a', ips: ['10.244.1.11', 'fd10:244:0:1::11'], identity: 100 },
  { name: 'a2', node: 'a', ips: ['10.244.1.12', 'fd10:244:0:1::12'], identity: 101 },
  { name: 'b1', node: 'b', ips: ['10.244.2.11', 'fd10:244:0:2::11'], identity: 102 },
];
const BLOCKS = { a: ['10.244.1.0/24', 'fd10:244:0:1::/64'], b: ['10.244.2.0/24', 'fd10:244:0:2::/64'] };

function ip(...words: string[]): string {
  return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Runs a program in a pod or a node; its standard output. Throws where it fails or takes longer than ten seconds. */
export function runIn(name: string, command: string, ...words: string[]): string {
  const all = ['netns', 'exec', `${prefix}${name}`, command, ...words];
  return execFileSync('ip', all, { encoding: 'utf8', timeout: 10_000, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Namespaces of this run that are still there. */
export function remaining(): readonly string[] {
  return ip('netns', 'list')
    .split('\n')
    .filter((line) => line.startsWith(prefix));
}

export function namespaceOf(name: string): string {
  return `${prefix}${name}`;
}

interface Device {
  readonly ifindex: number;
  readonly mac: string;
}

function device(netns: string, name: string): Device {
  const [found] = JSON.parse(ip('-n', netns, '-j', 'link', 'show', name)) as {
    ifindex: number;
    address: string;
  }[];
  if (found === undefined) throw new Error(`no device ${name} in ${netns}`);
  return { ifindex: found.ifindex, mac: found.address };
}

/** The world of one test file. `dispose` removes all of it. */
export class TwoNodes implements Disposable {
  readonly objects = new Map<string, BpfObject>();
  readonly #links: BpfLink[] = [];

  constructor() {
    removeAll();
    try {
      this.#makeUnderlay();
      for (const pod of PODS) this.#makePod(pod);
      for (const node of NODES) this.#load(node);
      for (const pod of PODS) this.know(pod);
    } catch (thrown) {
      this[Symbol.dispose]();
      throw thrown;
    }
  }

  /** Writes one entry of a node's map. */
  set<K, V>(node: string, table: Table<K, V>, key: K, value: V): void {
    this.object(node).map(table.name).update(encode(table.key, key), encode(table.value, value));
  }

  object(node: string): BpfObject {
    const object = this.objects.get(node);
    if (object === undefined) throw new Error(`no node ${node}`);
    return object;
  }

  /** How both nodes know a pod; `change` is what policy says of it. */
  know(pod: TestPod, change: Partial<Endpoint> = {}): void {
    for (const node of NODES) {
      const local = pod.node === node.name;
      const home = NODES.find((one) => one.name === pod.node);
      const host = local ? device(namespaceOf(node.name), `lxc-${pod.name}`) : undefined;
      const value: Endpoint = {
        ...{ node: local ? noAddress() : addressBytes(home?.ip ?? ''), ifindex: host?.ifindex ?? 0 },
        ...{ identity: pod.identity, flags: local ? EP.LOCAL : 0, ingressSet: 0, egressSet: 0, podId: 0 },
        mac: local ? device(namespaceOf(pod.name), 'eth0').mac : '00:00:00:00:00:00',
        hostMac: HOST_MAC,
        ...(local ? change : {}),
      };
      for (const address of pod.ips) this.set(node.name, TABLES.endpoint, addressBytes(address), value);
    }
  }

  [Symbol.dispose](): void {
    for (const link of this.#links) link[Symbol.dispose]();
    for (const object of this.objects.values()) object[Symbol.dispose]();
    removeAll();
  }

  #makeUnderlay(): void {
    ip('netns', 'add', namespaceOf('ul'));
    ip('-n', namespaceOf('ul'), 'link', 'add', 'br0', 'type', 'bridge');
    ip('-n', namespaceOf('ul'), 'link', 'set', 'br0', 'up');
    for (const { name, ip: v4, ip6 } of NODES) {
      const netns = namespaceOf(name);
      ip('netns', 'add', netns);
      ip('-n', netns, 'link', 'set', 'lo', 'up');
      const peer = ['peer', 'name', 'eth0', 'netns', netns];
      ip('-n', namespaceOf('ul'), 'link', 'add', `u-${name}`, 'type', 'veth', ...peer);
      ip('-n', namespaceOf('ul'), 'link', 'set', `u-${name}`, 'master', 'br0', 'up');
      ip('-n', netns, 'addr', 'add', `${v4}/24`, 'dev', 'eth0');
      ip('-n', netns, 'addr', 'add', `${ip6}/64`, 'dev', 'eth0', 'nodad');
      ip('-n', netns, 'link', 'set', 'eth0', 'up');
      runIn(name, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
      const vxlan = ['type', 'vxlan', 'external', 'dstport', '4789', 'nolearning'];
      ip('-n', netns, 'link', 'add', 'heddle_vxlan', ...vxlan);
      ip('-n', netns, 'link', 'set', 'heddle_vxlan', 'arp', 'off', 'mtu', MTU, 'up');
      const routes = { '10.244.0.0/16': v4, 'fd10:244::/56': ip6 };
      for (const [range, src] of Object.entries(routes))
        ip('-n', netns, 'route', 'add', range, 'dev', 'heddle_vxlan', 'src', src);
    }
  }

  #makePod({ name, node, ips }: TestPod): void {
    const [netns, host, veth] = [namespaceOf(name), namespaceOf(node), `lxc-${name}`];
    ip('netns', 'add', netns);
    ip('-n', netns, 'link', 'set', 'lo', 'up');
    ip('-n', host, 'link', 'add', veth, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns);
    ip('-n', host, 'link', 'set', veth, 'address', HOST_MAC, 'mtu', MTU, 'up');
    ip('-n', netns, 'link', 'set', 'eth0', 'mtu', MTU, 'up');
    for (const address of ips) {
      const six = address.includes(':');
      const gateway = six ? 'fe80::1' : '169.254.1.1';
      ip(
        '-n',
        netns,
        'addr',
        'add',
        `${address}/${six ? 128 : 32}`,
        'dev',
        'eth0',
        ...(six ? ['nodad'] : []),
      );
      if (!six) ip('-n', netns, 'route', 'add', gateway, 'dev', 'eth0', 'scope', 'link');
      ip('-n', netns, 'neigh', 'replace', gateway, 'lladdr', HOST_MAC, 'dev', 'eth0', 'nud', 'permanent');
      ip('-n', netns, 'route', 'add', 'default', 'via', gateway, 'dev', 'eth0');
      ip('-n', host, 'route', 'add', `${address}/${six ? 128 : 32}`, 'dev', veth);
      const { mac } = device(netns, 'eth0');
      ip('-n', host, 'neigh', 'replace', address, 'lladdr', mac, 'dev', veth, 'nud', 'permanent');
    }
  }

  #load(node: (typeof NODES)[number]): void {
    const netns = `/run/netns/${namespaceOf(node.name)}`;
    const object = openObject(OBJECT).load();
    this.objects.set(node.name, object);
    const tunnel = device(namespaceOf(node.name), 'heddle_vxlan');
    const uplink = device(namespaceOf(node.name), 'eth0');
    this.set(node.name, TABLES.node, 0, {
      ...{
        node4: addressBytes(node.ip),
        node6: addressBytes(node.ip6),
        dns4: noAddress(),
        dns6: noAddress(),
      },
      ...{ netnsCookie: 0n, tunnelIfindex: tunnel.ifindex, uplinkIfindex: uplink.ifindex },
      ...{ flags: NODE.TUNNEL, tunnelMtu: Number(MTU), uplinkMac: uplink.mac },
    });
    this.#knowNodes(node.name);
    const attach = (program: string, ifindex: number, type: 'tcx_ingress' | 'tcx_egress') =>
      this.#links.push(createLink(object.program(program), { target: ifindex, type, netns }));
    attach('from_overlay', tunnel.ifindex, 'tcx_ingress');
    attach('to_overlay', tunnel.ifindex, 'tcx_egress');
    attach('from_uplink', uplink.ifindex, 'tcx_ingress');
    for (const pod of PODS.filter((one) => one.node === node.name)) {
      const { ifindex } = device(namespaceOf(node.name), `lxc-${pod.name}`);
      attach('from_pod', ifindex, 'tcx_ingress');
      attach('to_pod', ifindex, 'tcx_egress');
    }
  }

  #knowNodes(own: string): void {
    for (const { name, ip: v4, ip6 } of NODES) {
      const mine = name === own;
      const at = mine ? noAddress() : addressBytes(v4);
      const value: Endpoint = {
        ...{ node: at, ifindex: 0, identity: mine ? IDENTITY.NODE : IDENTITY.OTHER_NODE },
        ...{ flags: mine ? EP.OWN_NODE : EP.OTHER_NODE, ingressSet: 0, egressSet: 0, podId: 0 },
        ...{ mac: '00:00:00:00:00:00', hostMac: '00:00:00:00:00:00' },
      };
      for (const address of [v4, ip6]) this.set(own, TABLES.endpoint, addressBytes(address), value);
      for (const block of BLOCKS[name]) this.set(own, TABLES.block, parsePrefix(block), at);
    }
  }
}

/** Of a run that ended without removing it. */
function isOrphan(name: string): boolean {
  const pid = /^hdlt-p(\d+)-/.exec(name)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}

/** Ends what runs in the namespaces and removes them; nothing is left, however far the making came. */
export function removeAll(): void {
  const names = ip('netns', 'list')
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((name) => name.startsWith(prefix) || isOrphan(name));
  for (const name of names) {
    for (const pid of ip('netns', 'pids', name).split('\n').filter(Boolean)) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It ended by itself meanwhile.
      }
    }
    ip('netns', 'delete', name);
  }
}
