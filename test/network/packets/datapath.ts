import { fileURLToPath } from 'node:url';
import { type BpfObject, type BpfProgram, openObject, RingReader } from '../../../cni/kernel/libbpf.ts';
import { DIRECTION, EP, IDENTITY, NODE, POLICY_BITS } from '../../../cni/maps/constants.ts';
import { counterSlots } from '../../../cni/maps/drops.ts';
import {
  type Drop,
  drop as dropLayout,
  type Endpoint,
  type NodeConfig,
  type PolicyKey,
} from '../../../cni/maps/layouts.ts';
import { decode, encode } from '../../../cni/maps/struct.ts';
import { RINGS, TABLES, type Table } from '../../../cni/maps/tables.ts';
import { addressBytes, noAddress, parsePrefix } from '../../../common/address.ts';
import { type Crafted, frame } from './craft.ts';

const OBJECT = fileURLToPath(new URL('../../../cni/bpf/objects/pod.o', import.meta.url));
/** `struct __sk_buff` of linux/bpf.h. */
const CONTEXT_BYTES = 192;
const MARK_AT = 8;
const INGRESS_IFINDEX_AT = 36;
const GSO_SIZE_AT = 176;

/** What a program returns: linux/pkt_cls.h, and TCX_NEXT. */
export const VERDICT = { OK: 0, DROP: 2, REDIRECT: 7, NEXT: 0xffff_ffff } as const;
export type ProgramName = 'from_pod' | 'to_pod' | 'from_overlay' | 'to_overlay' | 'from_uplink';
export type Family = 4 | 6;

interface Host {
  readonly 4: string;
  readonly 6: string;
}

/** Two pods here, one on another node, the two nodes, the cluster's DNS, a client outside. */
export const HOSTS = {
  a: { 4: '10.244.1.11', 6: 'fd10:244:0:1::11' },
  b: { 4: '10.244.1.12', 6: 'fd10:244:0:1::12' },
  remote: { 4: '10.244.2.11', 6: 'fd10:244:0:2::11' },
  /** In the block of the other node, of a Pod that hasn't arrived. */
  unknown: { 4: '10.244.2.99', 6: 'fd10:244:0:2::99' },
  /** In this node's block, of nobody. */
  nobody: { 4: '10.244.1.99', 6: 'fd10:244:0:1::99' },
  node: { 4: '192.168.50.1', 6: 'fd50::1' },
  otherNode: { 4: '192.168.50.2', 6: 'fd50::2' },
  dns: { 4: '10.96.0.10', 6: 'fd10:96::a' },
  client: { 4: '198.51.100.7', 6: '2001:db8::7' },
} as const satisfies Record<string, Host>;

/** Bytes that an inner packet may have. */
export const TUNNEL_MTU = 1_450;
export const IFINDEX = { a: 1001, b: 1002, uplink: 7 } as const;
export const IDENTITIES = { a: 100, b: 101, remote: 102, dns: 103 } as const;
const MACS = { a: '02:00:00:00:00:0a', b: '02:00:00:00:00:0b', host: 'ee:ee:ee:ee:ee:ee' } as const;

export interface Outcome {
  readonly verdict: number;
  readonly bytes: Buffer;
  readonly mark: number;
  readonly drops: readonly Drop[];
  /** What was counted, as `forwarded egress` or `policy ingress`: once for each packet. */
  readonly counted: readonly string[];
}

export interface RunOptions {
  /** Where it came in; pod a's device where left out. */
  readonly ifindex?: number;
  readonly mark?: number;
  /** Bytes of a segment, of packets that the kernel joined. */
  readonly gsoBytes?: number;
}

/** The programs of one node with maps of their own, run on crafted packets; nothing is attached. */
export class Datapath implements Disposable {
  readonly object: BpfObject;
  readonly #ring: RingReader;
  readonly #told: Drop[] = [];

  constructor(flags: number = NODE.TUNNEL) {
    this.object = openObject(OBJECT).load();
    this.#ring = new RingReader(this.object.map(RINGS.drop.name), (record) => {
      this.#told.push(decode(dropLayout, record));
    });
    this.configure({ flags });
    this.know('a', { flags: EP.LOCAL, ifindex: IFINDEX.a, identity: IDENTITIES.a, mac: MACS.a });
    this.know('b', { flags: EP.LOCAL, ifindex: IFINDEX.b, identity: IDENTITIES.b, mac: MACS.b });
    this.know('remote', { node: addressBytes(HOSTS.otherNode[4]), identity: IDENTITIES.remote });
    this.know('node', { flags: EP.OWN_NODE, identity: IDENTITY.NODE });
    const away = { flags: EP.OTHER_NODE, identity: IDENTITY.OTHER_NODE };
    this.know('otherNode', { ...away, node: addressBytes(HOSTS.otherNode[4]) });
    this.know('dns', { flags: EP.DNS, identity: IDENTITIES.dns });
    for (const block of ['10.244.1.0/24', 'fd10:244:0:1::/64'])
      this.set(TABLES.block, parsePrefix(block), noAddress());
    for (const block of ['10.244.2.0/24', 'fd10:244:0:2::/64'])
      this.set(TABLES.block, parsePrefix(block), addressBytes(HOSTS.otherNode[4]));
  }

  /** The node's own entry, with `change`. */
  configure(change: Partial<NodeConfig>): void {
    this.set(TABLES.node, 0, {
      ...{ node4: addressBytes(HOSTS.node[4]), node6: addressBytes(HOSTS.node[6]) },
      ...{ dns4: addressBytes(HOSTS.dns[4]), dns6: addressBytes(HOSTS.dns[6]), netnsCookie: 1n },
      ...{
        tunnelIfindex: 3,
        uplinkIfindex: IFINDEX.uplink,
        flags: NODE.TUNNEL,
        tunnelMtu: TUNNEL_MTU,
        uplinkMac: '02:00:00:00:00:ff',
      },
      ...change,
    });
  }

  set<K, V>(table: Table<K, V>, key: K, value: V): void {
    this.object.map(table.name).update(encode(table.key, key), encode(table.value, value));
  }

  entries<K, V>(table: Table<K, V>): (readonly [K, V])[] {
    const all = this.object.map(table.name).entries();
    return all.map(([key, value]) => [decode(table.key, key), decode(table.value, value)] as const);
  }

  /** Forgets all that packets left in it. */
  clear(...tables: readonly { readonly name: string }[]): void {
    for (const { name } of tables) this.object.map(name).deleteBatch(this.object.map(name).keys());
  }

  know(host: keyof typeof HOSTS, of: Partial<Endpoint>): void {
    const value: Endpoint = {
      ...{ node: noAddress(), ifindex: 0, identity: 0, flags: 0, ingressSet: 0, egressSet: 0, podId: 0 },
      ...{ mac: '00:00:00:00:00:00', hostMac: MACS.host },
      ...of,
    };
    for (const family of [4, 6] as const) this.set(TABLES.endpoint, addressBytes(HOSTS[host][family]), value);
  }

  /** Pods of this node with their policy sets. */
  isolate(
    host: 'a' | 'b',
    sets: Partial<Pick<Endpoint, 'ingressSet' | 'egressSet' | 'flags' | 'podId'>>,
  ): void {
    const own = { ifindex: IFINDEX[host], identity: IDENTITIES[host], mac: MACS[host] };
    this.know(host, { flags: EP.LOCAL, ...own, ...sets });
  }

  allow(key: Omit<PolicyKey, 'bits'> & { readonly bits?: number }): void {
    this.set(TABLES.policy, { bits: POLICY_BITS.ONE_PORT, ...key }, 1);
  }

  run(program: ProgramName, packet: Crafted | Buffer, options: RunOptions = {}): Outcome {
    return this.runProgram(this.object.program(program), packet, options);
  }

  /** Of one that ends in a program of this node. */
  runProgram(program: BpfProgram, packet: Crafted | Buffer, options: RunOptions = {}): Outcome {
    const context = Buffer.alloc(CONTEXT_BYTES);
    context.writeUInt32LE(options.ifindex ?? IFINDEX.a, INGRESS_IFINDEX_AT);
    context.writeUInt32LE(options.mark ?? 0, MARK_AT);
    context.writeUInt32LE(options.gsoBytes ?? 0, GSO_SIZE_AT);
    const data = Buffer.isBuffer(packet) ? packet : frame(packet);
    const before = this.#counters();
    const result = program.testRun({ data, context });
    const mark = result.context.readUInt32LE(MARK_AT);
    const counted = [...this.#counters()].flatMap(([name, packets]) =>
      Array.from({ length: packets - (before.get(name) ?? 0) }, () => name),
    );
    return { verdict: result.returned, bytes: result.data, mark, drops: this.#drops(), counted };
  }

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
    this.object[Symbol.dispose]();
  }

  /** Packets by outcome, over all processors. */
  #counters(): Map<string, number> {
    const found = new Map<string, number>();
    const map = this.object.map(TABLES.counter.name);
    for (const [slot, { reason, direction }] of counterSlots()) {
      const values = map.lookupPerCpu(encode(TABLES.counter.key, slot)) ?? [];
      const packets = values.reduce(
        (sum, value) => sum + Number(decode(TABLES.counter.value, value).packets),
        0,
      );
      const way = direction === DIRECTION.INGRESS ? 'ingress' : 'egress';
      found.set(`${reason?.name ?? 'forwarded'} ${way}`, packets);
    }
    return found;
  }

  #drops(): Drop[] {
    while (this.#ring.poll() > 0);
    return this.#told.splice(0);
  }
}
