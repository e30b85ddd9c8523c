import { isKernelError } from '../errors.ts';
import { attribute, type Family, familyOf, ip, readAttributes, readIp, u32, widthOf } from './attributes.ts';
import { CREATE, EXCLUSIVE, type Netlink } from './socket.ts';

const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const HEAD_BYTES = 8;
const IFA = { ADDRESS: 1, LOCAL: 2, CACHEINFO: 6, FLAGS: 8 };
const IFA_F_NODAD = 0x02;
const FOREVER = 0xffff_ffff;

/** How far an address or a route reaches, see rtnetlink(7). */
export const SCOPE = { universe: 0, link: 253, host: 254, nowhere: 255 } as const;
export type Scope = (typeof SCOPE)[keyof typeof SCOPE];

export interface Address {
  readonly ifindex: number;
  readonly address: string;
  readonly bits: number;
  readonly scope: number;
}

export interface AddressSpec {
  readonly ifindex: number;
  readonly address: string;
  /** The whole width where it isn't given. */
  readonly bits?: number;
  /**
   * Never the source of packets that don't ask for it: IPv4 by the scope host, IPv6 by being deprecated, which the
   * kernel takes only where there is no other.
   */
  readonly neverChosen?: boolean;
}

/** Without duplicate address detection. Throws `EEXIST` where the device has it. */
export function addAddress(netlink: Netlink, spec: AddressSpec): void {
  const six = spec.address.includes(':');
  const scope = !six && spec.neverChosen === true ? SCOPE.host : SCOPE.universe;
  const lifetimes = six && spec.neverChosen === true ? [attribute(IFA.CACHEINFO, deprecated())] : [];
  netlink.change({
    what: `add the address ${spec.address} to device ${spec.ifindex}`,
    type: RTM_NEWADDR,
    flags: CREATE | EXCLUSIVE,
    body: [head(spec, scope), ...both(spec.address), u32(IFA.FLAGS, six ? IFA_F_NODAD : 0), ...lifetimes],
  });
}

/** Whether there was one. */
export function deleteAddress(netlink: Netlink, spec: AddressSpec): boolean {
  try {
    netlink.change({
      what: `delete the address ${spec.address} of device ${spec.ifindex}`,
      type: RTM_DELADDR,
      body: [head(spec, 0), ...both(spec.address)],
    });
    return true;
  } catch (thrown) {
    if (isKernelError(thrown, 'EADDRNOTAVAIL', 'ENODEV')) return false;
    throw thrown;
  }
}

/** Of one device, or of all. */
export function listAddresses(netlink: Netlink, ifindex = 0): readonly Address[] {
  const body = Buffer.alloc(HEAD_BYTES);
  body.writeUInt32LE(ifindex, 4);
  return netlink.dump({ what: 'list addresses', type: RTM_GETADDR, body: [body] }).map(readAddress);
}

function both(address: string): readonly Buffer[] {
  return [ip(IFA.LOCAL, address), ip(IFA.ADDRESS, address)];
}

/** `struct ifaddrmsg` */
function head({ ifindex, address, bits }: AddressSpec, scope: Scope): Buffer {
  const family: Family = familyOf(address);
  const bytes = Buffer.alloc(HEAD_BYTES);
  bytes.set([family, bits ?? widthOf(family), 0, scope]);
  bytes.writeUInt32LE(ifindex, 4);
  return bytes;
}

/** `struct ifa_cacheinfo`: preferred for no time, valid for ever. */
function deprecated(): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(FOREVER, 4);
  return bytes;
}

function readAddress(body: Buffer): Address {
  const all = readAttributes(body, HEAD_BYTES);
  return {
    ifindex: body.readUInt32LE(4),
    // IPv4's own one is LOCAL; IPv6 has LOCAL only on point-to-point devices.
    address: readIp(all.get(IFA.LOCAL) ?? all.get(IFA.ADDRESS)) ?? '',
    bits: body.readUInt8(1),
    scope: body.readUInt8(3),
  };
}
