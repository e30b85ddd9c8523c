import { isKernelError } from '../errors.ts';
import { type Family, familyOf, ip, mac, readAttributes, readIp, readMac, u32 } from './attributes.ts';
import { CREATE, type Netlink, REPLACE } from './socket.ts';

const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const HEAD_BYTES = 12;
const NDA = { DST: 1, LLADDR: 2, IFINDEX: 8 };
const NUD_PERMANENT = 0x80;

export interface Neighbour {
  readonly ifindex: number;
  readonly address: string;
  readonly mac: string;
  readonly permanent: boolean;
}

/** A permanent entry: nobody is asked for that MAC address. */
export function replaceNeighbour(netlink: Netlink, entry: Omit<Neighbour, 'permanent'>): void {
  netlink.change({
    what: `write the neighbour ${entry.address} of device ${entry.ifindex}`,
    type: RTM_NEWNEIGH,
    flags: CREATE | REPLACE,
    body: [
      head(familyOf(entry.address), entry.ifindex, NUD_PERMANENT),
      ip(NDA.DST, entry.address),
      mac(NDA.LLADDR, entry.mac),
    ],
  });
}

/** Whether there was one. */
export function deleteNeighbour(netlink: Netlink, ifindex: number, address: string): boolean {
  try {
    netlink.change({
      what: `delete the neighbour ${address} of device ${ifindex}`,
      type: RTM_DELNEIGH,
      body: [head(familyOf(address), ifindex), ip(NDA.DST, address)],
    });
    return true;
  } catch (thrown) {
    if (isKernelError(thrown, 'ENOENT', 'ENODEV', 'ENXIO')) return false;
    throw thrown;
  }
}

/** Of one device, both families. */
export function listNeighbours(netlink: Netlink, ifindex: number): readonly Neighbour[] {
  return netlink
    .dump({
      what: `list the neighbours of device ${ifindex}`,
      type: RTM_GETNEIGH,
      body: [Buffer.alloc(HEAD_BYTES), u32(NDA.IFINDEX, ifindex)],
    })
    .map(readNeighbour);
}

/** `struct ndmsg` */
function head(family: Family, ifindex: number, state = 0): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES);
  bytes.writeUInt8(family, 0);
  bytes.writeInt32LE(ifindex, 4);
  bytes.writeUInt16LE(state, 8);
  return bytes;
}

function readNeighbour(body: Buffer): Neighbour {
  const all = readAttributes(body, HEAD_BYTES);
  return {
    ifindex: body.readInt32LE(4),
    address: readIp(all.get(NDA.DST)) ?? '',
    mac: readMac(all.get(NDA.LLADDR)),
    permanent: (body.readUInt16LE(8) & NUD_PERMANENT) !== 0,
  };
}
