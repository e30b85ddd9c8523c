import { isKernelError, KernelError } from '../errors.ts';
import {
  be16,
  mac,
  nested,
  readAttributes,
  readMac,
  readText,
  readU32,
  text,
  u8,
  u32,
} from './attributes.ts';
import { CREATE, EXCLUSIVE, type Netlink } from './socket.ts';

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_GETNSID = 90;

const HEAD_BYTES = 16;
const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  LINKINFO: 18,
  NET_NS_FD: 28,
  EXT_MASK: 29,
  LINK_NETNSID: 37,
};
const INFO = { KIND: 1, DATA: 2 };
const VXLAN = { LEARNING: 7, PORT: 15, COLLECT_METADATA: 25 };
const VETH_INFO_PEER = 1;
const NETNSA = { NSID: 1, FD: 3 };
const SKIP_STATISTICS = 1 << 3;
const IFF_UP = 1 << 0;
const IFF_NOARP = 1 << 7;

export interface Link {
  readonly name: string;
  readonly ifindex: number;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly arp: boolean;
  /** `veth`, `vxlan`; undefined for hardware and `lo`. */
  readonly kind: string | undefined;
  /** Of a veth: its other end, which counts in the namespace of `peerNetnsId` (see `netnsId`; undefined: the same one). */
  readonly peerIfindex: number | undefined;
  readonly peerNetnsId: number | undefined;
  readonly vxlan: VxlanDetails | undefined;
}

export interface VxlanDetails {
  readonly port: number;
  /** The tunnel's key comes with each packet, by eBPF or a route. */
  readonly external: boolean;
  readonly learning: boolean;
}

export interface LinkChange {
  readonly name?: string;
  readonly mac?: string;
  readonly mtu?: number;
  readonly up?: boolean;
  readonly arp?: boolean;
  /** An open network namespace that it moves to. */
  readonly netns?: number;
}

export interface VethEnd {
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
}

/** By name or by number; undefined where there is none. */
export function findLink(netlink: Netlink, which: string | number): Link | undefined {
  const named = typeof which === 'string' ? [text(IFLA.IFNAME, which)] : [];
  try {
    return readLink(
      netlink.get({
        what: `find device ${which}`,
        type: RTM_GETLINK,
        body: [head(typeof which === 'string' ? 0 : which), u32(IFLA.EXT_MASK, SKIP_STATISTICS), ...named],
      }),
    );
  } catch (thrown) {
    if (isKernelError(thrown, 'ENODEV')) return undefined;
    throw thrown;
  }
}

/** As `findLink`; throws `ENODEV` where there is none. */
export function linkOf(netlink: Netlink, which: string | number): Link {
  const link = findLink(netlink, which);
  if (link === undefined) throw new KernelError(`find device ${which}`, 19);
  return link;
}

export function listLinks(netlink: Netlink): readonly Link[] {
  const body = [head(0), u32(IFLA.EXT_MASK, SKIP_STATISTICS)];
  return netlink.dump({ what: 'list devices', type: RTM_GETLINK, body }).map(readLink);
}

/** Makes both ends at once, down; `peerNetns` is an open namespace. Throws `EEXIST` where one of the names is taken. */
export function createVeth(netlink: Netlink, end: VethEnd, peer: VethEnd, peerNetns: number): void {
  const peerPart = nested(
    VETH_INFO_PEER,
    ...[head(0), text(IFLA.IFNAME, peer.name), mac(IFLA.ADDRESS, peer.mac)],
    ...[u32(IFLA.MTU, peer.mtu), u32(IFLA.NET_NS_FD, peerNetns)],
  );
  create(netlink, end.name, 'veth', [mac(IFLA.ADDRESS, end.mac), u32(IFLA.MTU, end.mtu)], [peerPart]);
}

/**
 * Makes a VXLAN device that takes its key from each packet (`external`) and learns nothing, down. Throws `EEXIST` where
 * the name is taken or another such device has the port.
 */
export function createExternalVxlan(netlink: Netlink, name: string, port: number, mtu: number): void {
  const data = [u8(VXLAN.COLLECT_METADATA, 1), u8(VXLAN.LEARNING, 0), be16(VXLAN.PORT, port)];
  create(netlink, name, 'vxlan', [u32(IFLA.MTU, mtu)], data);
}

export function changeLink(netlink: Netlink, ifindex: number, change: LinkChange): void {
  const attributes = [
    ...(change.name === undefined ? [] : [text(IFLA.IFNAME, change.name)]),
    ...(change.mac === undefined ? [] : [mac(IFLA.ADDRESS, change.mac)]),
    ...(change.mtu === undefined ? [] : [u32(IFLA.MTU, change.mtu)]),
    ...(change.netns === undefined ? [] : [u32(IFLA.NET_NS_FD, change.netns)]),
  ];
  const [flags, mask] = flagsOf(change);
  netlink.change({
    what: `change device ${ifindex}`,
    type: RTM_NEWLINK,
    body: [head(ifindex, flags, mask), ...attributes],
  });
}

/** Whether there was one. */
export function deleteLink(netlink: Netlink, ifindex: number): boolean {
  try {
    netlink.change({ what: `delete device ${ifindex}`, type: RTM_DELLINK, body: [head(ifindex)] });
    return true;
  } catch (thrown) {
    if (isKernelError(thrown, 'ENODEV')) return false;
    throw thrown;
  }
}

/** The number by which the socket's namespace knows another (open) one; undefined where it doesn't yet. */
export function netnsId(netlink: Netlink, netns: number): number | undefined {
  const answer = netlink.get({
    what: 'find the number of a namespace',
    type: RTM_GETNSID,
    body: [Buffer.alloc(4), u32(NETNSA.FD, netns)],
  });
  const id = readAttributes(answer, 4).get(NETNSA.NSID)?.readInt32LE();
  return id === undefined || id < 0 ? undefined : id;
}

function create(
  netlink: Netlink,
  name: string,
  kind: string,
  attributes: readonly Buffer[],
  data: readonly Buffer[],
): void {
  const info = nested(IFLA.LINKINFO, text(INFO.KIND, kind), nested(INFO.DATA, ...data));
  netlink.change({
    what: `make the ${kind} device ${name}`,
    type: RTM_NEWLINK,
    flags: CREATE | EXCLUSIVE,
    body: [head(0), text(IFLA.IFNAME, name), ...attributes, info],
  });
}

function flagsOf(change: LinkChange): [number, number] {
  let [flags, mask] = [0, 0];
  if (change.up !== undefined) [flags, mask] = [flags | (change.up ? IFF_UP : 0), mask | IFF_UP];
  if (change.arp !== undefined) [flags, mask] = [flags | (change.arp ? 0 : IFF_NOARP), mask | IFF_NOARP];
  return [flags, mask];
}

/** `struct ifinfomsg` */
function head(ifindex: number, flags = 0, mask = 0): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES);
  bytes.writeInt32LE(ifindex, 4);
  bytes.writeUInt32LE(flags, 8);
  bytes.writeUInt32LE(mask, 12);
  return bytes;
}

function readLink(body: Buffer): Link {
  const all = readAttributes(body, HEAD_BYTES);
  const info = readAttributes(all.get(IFLA.LINKINFO) ?? Buffer.alloc(0));
  const kind = readText(info.get(INFO.KIND));
  const flags = body.readUInt32LE(8);
  return {
    name: readText(all.get(IFLA.IFNAME)) ?? '',
    ifindex: body.readInt32LE(4),
    mac: readMac(all.get(IFLA.ADDRESS)),
    mtu: readU32(all.get(IFLA.MTU)) ?? 0,
    up: (flags & IFF_UP) !== 0,
    arp: (flags & IFF_NOARP) === 0,
    kind,
    peerIfindex: readU32(all.get(IFLA.LINK)),
    peerNetnsId: readU32(all.get(IFLA.LINK_NETNSID)),
    vxlan: kind === 'vxlan' ? readVxlan(readAttributes(info.get(INFO.DATA) ?? Buffer.alloc(0))) : undefined,
  };
}

function readVxlan(data: ReadonlyMap<number, Buffer>): VxlanDetails {
  return {
    port: data.get(VXLAN.PORT)?.readUInt16BE() ?? 0,
    external: data.get(VXLAN.COLLECT_METADATA)?.[0] === 1,
    learning: data.get(VXLAN.LEARNING)?.[0] === 1,
  };
}
