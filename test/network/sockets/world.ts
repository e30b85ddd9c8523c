import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CGROUP_PROGRAMS } from '../../../cni/agent/programs/node-programs.ts';
import { openFd } from '../../../cni/kernel/fd.ts';
import { type BpfLink, type BpfObject, createLink, openObject } from '../../../cni/kernel/libbpf.ts';
import { netnsCookie } from '../../../cni/kernel/netns.ts';
import { EP, POD, PROTOCOL, SCOPE, SERVICE } from '../../../cni/maps/constants.ts';
import { encode } from '../../../cni/maps/struct.ts';
import { TABLES, type Table } from '../../../cni/maps/tables.ts';
import { addressBytes, noAddress } from '../../../common/address.ts';
import { rootOfCgroups } from '../../support/network/cgroups.ts';
import { eventually } from '../../support/wait.ts';
import { Program } from './program.ts';

const OBJECTS = new URL('../../../cni/bpf/objects/', import.meta.url);
const prefix = 'hdlt-b-';
/** Maps that the programs never touch here, or hardly: their memory would be taken at once. */
const SMALL_MAPS = ['connection_map', 'fragment_map', 'external_map', 'translated_map', 'affinity_map'];

export const NODE = { ip4: '10.244.7.1', ip6: 'fd10:7::1' };

export interface TestPod {
  readonly name: string;
  readonly ip4: string;
  readonly ip6: string;
  /** Path of the network namespace. */
  readonly netns: string;
  readonly cookie: bigint;
  readonly podId: number;
  /** Host end of the veth, in the node's namespace. */
  readonly ifindex: number;
}

function ip(...words: string[]): string {
  return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Runs lines of `ip`; those that begin with `-6` after the others. */
function batch(netns: string, lines: readonly string[]): void {
  const six = lines.filter((line) => line.startsWith('-6 ')).map((line) => line.slice(3));
  const run = (options: readonly string[], some: readonly string[]) =>
    execFileSync('ip', [...options, '-n', netns, '-batch', '-'], {
      input: `${some.join('\n')}\n`,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  run(
    [],
    lines.filter((line) => !line.startsWith('-6 ')),
  );
  if (six.length > 0) run(['-6'], six);
}

function netnsPath(name: string): string {
  return `/run/netns/${prefix}${name}`;
}

/** One node and its pods on plain kernel routing, with the socket programs and a `steer` for each captured pod. */
export class SocketWorld {
  readonly cgroupRoot = rootOfCgroups();
  readonly object: BpfObject;
  readonly nodeNetns = netnsPath('node');
  readonly #cgroup = `${this.cgroupRoot}/${prefix}${process.pid}`;
  readonly #links: BpfLink[] = [];
  readonly #objects: BpfObject[] = [];
  readonly #programs: Program[] = [];
  readonly #pods: TestPod[] = [];
  #serviceId = 0;

  /** `canRefuse`: whether the kernel lets the programs choose the caller's error, as one of 6.1 or newer does. */
  constructor(canRefuse = true) {
    removeNamespaces();
    mkdirSync(this.#cgroup);
    ip('netns', 'add', `${prefix}node`);
    batch(`${prefix}node`, ['link set lo up']);
    const sysctls = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'];
    execFileSync('nsenter', [`--net=${this.nodeNetns}`, 'sysctl', '-qw', ...sysctls]);
    batch(`${prefix}node`, [`addr add ${NODE.ip4}/32 dev lo`, `addr add ${NODE.ip6}/128 dev lo nodad`]);
    const open = openObject(this.objectPath('socket')).setRodata({
      can_refuse: Buffer.from([canRefuse ? 1 : 0]),
    });
    for (const map of SMALL_MAPS) open.setMaxEntries(map, 4096);
    this.object = open.load();
    this.#objects.push(this.object);
    using target = openFd(this.#cgroup);
    for (const [program, type] of Object.entries(CGROUP_PROGRAMS))
      this.#links.push(createLink(this.object.program(program), { target: target.number, type }));
    for (const address of [NODE.ip4, NODE.ip6]) this.node(address, EP.OWN_NODE);
  }

  objectPath(name: string): string {
    return fileURLToPath(new URL(`${name}.o`, OBJECTS));
  }

  set<K, V>(table: Table<K, V>, key: K, value: V): void {
    this.object.map(table.name).update(encode(table.key, key), encode(table.value, value));
  }

  delete<K, V>(table: Table<K, V>, key: K): void {
    this.object.map(table.name).delete(encode(table.key, key));
  }

  /** An address of a node: NodePorts answer there. */
  node(address: string, flags: number): void {
    this.set(TABLES.endpoint, addressBytes(address), {
      ...{ node: noAddress(), ifindex: 0, identity: 1, flags, ingressSet: 0, egressSet: 0, podId: 0 },
      ...{ mac: '00:00:00:00:00:00', hostMac: '00:00:00:00:00:00' },
    });
  }

  /** The node's own programs. */
  knowNode(): void {
    this.set(TABLES.pod, netnsCookie(this.nodeNetns), {
      ...{ ip4: addressBytes(NODE.ip4), ip6: addressBytes(NODE.ip6) },
      ...{ sidecarCgroup: 0n, podId: 0, flags: POD.NODE },
    });
  }

  /** A pod with 10.244.7.N and fd10:7::N. `unknown`: of no node that Heddle has here. */
  pod(number: number, kind: 'plain' | 'meshed' | 'unknown' = 'plain'): TestPod {
    const name = `p${number}`;
    const [ip4, ip6, veth] = [`10.244.7.${number}`, `fd10:7::${number}`, `v${number}`];
    ip('netns', 'add', `${prefix}${name}`);
    const node = `${prefix}node`;
    ip('-n', node, 'link', 'add', veth, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${prefix}${name}`);
    batch(node, [
      `link set ${veth} addrgenmode none`,
      `addr add 169.254.1.1/32 dev ${veth}`,
      `addr add fe80::1/64 dev ${veth} nodad`,
      `link set ${veth} up`,
      `route add ${ip4}/32 dev ${veth}`,
      `route add ${ip6}/128 dev ${veth}`,
    ]);
    batch(`${prefix}${name}`, [
      'link set lo up',
      `addr add ${ip4}/32 dev eth0`,
      `addr add ${ip6}/128 dev eth0 nodad`,
      'link set eth0 up',
      'route add 169.254.1.1 dev eth0 scope link',
      'route add default via 169.254.1.1',
      '-6 route add default via fe80::1 dev eth0',
    ]);
    const [link] = JSON.parse(ip('-n', node, '-j', 'link', 'show', veth)) as { readonly ifindex: number }[];
    const netns = netnsPath(name);
    const pod = {
      ...{ name, ip4, ip6, netns, cookie: netnsCookie(netns) },
      ...{ podId: number, ifindex: link?.ifindex ?? 0 },
    };
    this.#pods.push(pod);
    if (kind !== 'unknown') this.know(pod, kind === 'meshed');
    if (kind === 'meshed') {
      captureRoutes(pod);
      this.#steer(pod);
    }
    return pod;
  }

  know(pod: TestPod, meshed: boolean, sidecarCgroup = 0n): void {
    this.set(TABLES.pod, pod.cookie, {
      ...{ ip4: addressBytes(pod.ip4), ip6: addressBytes(pod.ip6), sidecarCgroup },
      ...{ podId: pod.podId, flags: meshed ? POD.MESHED : 0 },
    });
  }

  /** A Service at `address:port`, TCP and UDP, with backends `address:port`. A call anew replaces its backends. */
  service(
    frontend: { readonly address: Buffer; readonly port: number },
    backends: readonly (readonly [string, number])[],
    options: { readonly affinityS?: number; readonly dns?: boolean } = {},
  ): void {
    const id = ++this.#serviceId;
    for (const [slot, [address, port]] of backends.entries())
      this.set(TABLES.backend, { serviceId: id, slot }, { address: addressBytes(address), port });
    const flags =
      (options.affinityS === undefined ? 0 : SERVICE.AFFINITY) | (options.dns === true ? SERVICE.DNS : 0);
    for (const protocol of [PROTOCOL.TCP, PROTOCOL.UDP])
      this.set(
        TABLES.service,
        { ...frontend, protocol, scope: SCOPE.INTERNAL },
        { id, count: backends.length, flags, affinityS: options.affinityS ?? 0 },
      );
  }

  /** A container's cgroup, made when first asked for. */
  cgroup(pod: TestPod | 'node', container: string): string {
    const path = `${this.#cgroup}/${pod === 'node' ? 'node' : pod.name}-${container}`;
    mkdirSync(path, { recursive: true });
    return path;
  }

  async program(pod: TestPod | 'node', container = 'app', uid = 0): Promise<Program> {
    const netns = pod === 'node' ? this.nodeNetns : pod.netns;
    const program = await Program.start({ netns, cgroup: this.cgroup(pod, container), uid });
    this.#programs.push(program);
    return program;
  }

  /** Ends everything; fails where something of it can't be removed. */
  async close(): Promise<void> {
    for (const program of this.#programs) await program.stop();
    for (const link of this.#links) link[Symbol.dispose]();
    for (const object of this.#objects) object[Symbol.dispose]();
    removeNamespaces();
    await eventually(() => removed(this.#cgroup), { deadlineMs: 5_000, what: 'the cgroups are empty' });
  }

  #steer(pod: TestPod): void {
    const id = Buffer.alloc(4);
    id.writeUInt32LE(pod.podId);
    const constants = { pod_id: id, ip4: addressBytes(pod.ip4), ip6: addressBytes(pod.ip6) };
    const open = openObject(this.objectPath('steer')).setRodata(constants);
    const object = open.reuseMaps(this.object.maps).load();
    this.#objects.push(object);
    using target = openFd(pod.netns);
    this.#links.push(createLink(object.program('steer'), { target: target.number, type: 'sk_lookup' }));
  }
}

/** As cni/README.md says, by the tool that everybody has. */
function captureRoutes(pod: TestPod): void {
  const sysctls = [
    'net.ipv4.tcp_fwmark_accept=1',
    'net.ipv4.fwmark_reflect=1',
    'net.ipv6.fwmark_reflect=1',
    'net.ipv6.ip_nonlocal_bind=1',
  ];
  execFileSync('nsenter', [`--net=${pod.netns}`, 'sysctl', '-qw', ...sysctls]);
  batch(`${prefix}${pod.name}`, [
    `route add local ${pod.ip4} dev lo src ${pod.ip4} table 101`,
    'route add local 127.0.0.0/8 dev lo src 127.0.0.1 table 101',
    'rule add pref 1 fwmark 0x1/0x1 lookup local',
    'rule add pref 2 lookup 101',
    'rule del pref 0',
    `route add local default dev lo src ${pod.ip4} table local`,
    `route del local ${pod.ip4} dev eth0 table local`,
    `-6 route add local ${pod.ip6} dev lo table 101`,
    '-6 route add local ::1 dev lo table 101',
    '-6 rule add pref 1 fwmark 0x1/0x1 lookup local',
    '-6 rule add pref 2 lookup 101',
    '-6 rule add pref 3 to fe80::/10 lookup local',
    '-6 rule add pref 4 to ff00::/8 lookup local',
    '-6 rule del pref 0',
    `-6 route add local default dev lo src ${pod.ip6} table local`,
    `-6 route del local ${pod.ip6} dev eth0 table local`,
  ]);
}

/** A cgroup goes once its last process is reaped. */
function removed(cgroup: string): boolean {
  try {
    for (const entry of readdirSync(cgroup, { withFileTypes: true }))
      if (entry.isDirectory()) rmdirSync(`${cgroup}/${entry.name}`);
    rmdirSync(cgroup);
    return true;
  } catch {
    return false;
  }
}

function removeNamespaces(): void {
  const names = readdirSync('/run/netns').filter((name) => name.startsWith(prefix));
  for (const name of names) ip('netns', 'delete', name);
}
