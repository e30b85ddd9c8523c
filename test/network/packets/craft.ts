import { PROTOCOL } from '../../../cni/maps/constants.ts';
import { addressBytes, isMapped } from '../../../common/address.ts';

export const TCP = { FIN: 0x01, SYN: 0x02, RST: 0x04, ACK: 0x10 } as const;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const ETHERNET_BYTES = 14;
export const HEADER = { FRAGMENT: 44, ROUTING: 43, DESTINATION: 60, AUTHENTICATION: 51 } as const;

export interface Fragment {
  /** Bytes, a multiple of 8. */
  readonly offset: number;
  readonly more: boolean;
  readonly id: number;
}

export interface Crafted {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** Of TCP; a SYN alone where left out. */
  readonly flags?: number;
  /** Instead of a transport header and its payload. */
  readonly body?: Buffer;
  readonly payload?: Buffer;
  readonly fragment?: Fragment;
  /** Of TCP. */
  readonly acknowledged?: number;
  /** Of IPv4: nobody on the way may. */
  readonly dontFragment?: boolean;
  /** Words of IPv4 options. */
  readonly optionWords?: number;
  /** Extension headers of IPv6, outermost first: kind, and the bytes behind the first. */
  readonly extensions?: readonly (readonly [number, Buffer])[];
  readonly withoutUdpSum?: boolean;
}

/** The Internet checksum (RFC 1071): 0 over bytes that hold their own. */
export function internetSum(...parts: readonly Uint8Array[]): number {
  const all = Buffer.concat(parts);
  let sum = 0;
  for (let at = 0; at < all.length; at += 2) sum += ((all[at] ?? 0) << 8) | (all[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function is4(address: string): boolean {
  return isMapped(addressBytes(address));
}

function wire(address: string): Buffer {
  const bytes = addressBytes(address);
  return is4(address) ? bytes.subarray(12) : bytes;
}

export function pseudoHeader(from: string, to: string, protocol: number, length: number): Buffer {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(length, 0);
  tail.writeUInt8(protocol, 7);
  return Buffer.concat([wire(from), wire(to), tail]);
}

function transport({ from, to, protocol, ...rest }: Crafted): Buffer {
  const payload = rest.payload ?? Buffer.from('heddle');
  const tcp = protocol === PROTOCOL.TCP;
  const head = Buffer.alloc(tcp ? 20 : protocol === PROTOCOL.SCTP ? 12 : 8);
  head.writeUInt16BE(rest.sourcePort ?? 40_000, 0);
  head.writeUInt16BE(rest.destinationPort ?? 80, 2);
  if (tcp) {
    head.writeUInt32BE(rest.acknowledged ?? 0, 8);
    head.writeUInt8(0x50, 12);
    head.writeUInt8(rest.flags ?? TCP.SYN, 13);
  }
  const bytes = Buffer.concat([head, payload]);
  if (protocol === PROTOCOL.UDP) bytes.writeUInt16BE(bytes.length, 4);
  const at = tcp ? 16 : protocol === PROTOCOL.UDP && rest.withoutUdpSum !== true ? 6 : undefined;
  if (at !== undefined)
    bytes.writeUInt16BE(internetSum(pseudoHeader(from, to, protocol, bytes.length), bytes), at);
  return bytes;
}

/** An echo: its identifier, and whether it asks. */
export function echo(from: string, to: string, identifier: number, request: boolean): Crafted {
  const four = is4(from);
  const type = four ? (request ? 8 : 0) : request ? 128 : 129;
  const body = Buffer.alloc(16);
  body.writeUInt8(type, 0);
  body.writeUInt16BE(identifier, 4);
  return icmp(from, to, body);
}

const ICMP_ERRORS = {
  unreachable: { 4: [3, 3], 6: [1, 4] },
  'too big': { 4: [3, 4], 6: [2, 0] },
  expired: { 4: [11, 0], 6: [3, 0] },
} as const;

/** An ICMP error of `from` about a packet, to its sender; it quotes the packet as far as `quotedBytes`. */
export function icmpError(
  from: string,
  about: Crafted,
  kind: keyof typeof ICMP_ERRORS,
  quotedBytes = 128,
  mtu = 0,
): Crafted {
  const [type, code] = ICMP_ERRORS[kind][is4(from) ? 4 : 6];
  const head = Buffer.from([type, code, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(mtu, 4);
  const body = Buffer.concat([head, datagram(about).subarray(0, quotedBytes)]);
  return icmp(from, about.from, body);
}

/** A message of ICMP or ICMPv6, with the sum of its body written into it. */
export function icmp(from: string, to: string, body: Buffer): Crafted {
  const protocol = is4(from) ? PROTOCOL.ICMP : PROTOCOL.ICMPV6;
  const pseudo = is4(from) ? Buffer.alloc(0) : pseudoHeader(from, to, protocol, body.length);
  body.writeUInt16BE(internetSum(pseudo, body), 2);
  return { from, to, protocol, body };
}

function ipv4(packet: Crafted, body: Buffer): Buffer {
  const words = 5 + (packet.optionWords ?? 0);
  const head = Buffer.alloc(words * 4);
  head.writeUInt8(0x40 | words, 0);
  head.writeUInt16BE(head.length + body.length, 2);
  const { fragment } = packet;
  if (packet.dontFragment === true) head.writeUInt16BE(0x4000, 6);
  if (fragment !== undefined) {
    head.writeUInt16BE(fragment.id, 4);
    head.writeUInt16BE((fragment.more ? 0x2000 : 0) | (fragment.offset / 8), 6);
  }
  head.writeUInt8(64, 8);
  head.writeUInt8(packet.protocol, 9);
  wire(packet.from).copy(head, 12);
  wire(packet.to).copy(head, 16);
  head.fill(1, 20); // no operation
  head.writeUInt16BE(internetSum(head), 10);
  return Buffer.concat([head, body]);
}

function ipv6(packet: Crafted, body: Buffer): Buffer {
  const { fragment } = packet;
  const extensions = [...(packet.extensions ?? [])];
  if (fragment !== undefined) {
    const rest = Buffer.alloc(7);
    rest.writeUInt16BE(fragment.offset | (fragment.more ? 1 : 0), 1);
    rest.writeUInt32BE(fragment.id, 3);
    extensions.push([HEADER.FRAGMENT, rest]);
  }
  const kinds = [...extensions.map(([kind]) => kind), packet.protocol];
  const chain = extensions.map(([, rest], n) => Buffer.concat([Buffer.from([kinds[n + 1] ?? 59]), rest]));
  const all = Buffer.concat([...chain, body]);
  const head = Buffer.alloc(40);
  head.writeUInt8(0x60, 0);
  head.writeUInt16BE(all.length, 4);
  head.writeUInt8(kinds[0] ?? 59, 6);
  head.writeUInt8(64, 7);
  wire(packet.from).copy(head, 8);
  wire(packet.to).copy(head, 24);
  return Buffer.concat([head, all]);
}

/** The IP packet alone. */
export function datagram(packet: Crafted): Buffer {
  const body = packet.body ?? transport(packet);
  return is4(packet.from) ? ipv4(packet, body) : ipv6(packet, body);
}

/** With an Ethernet header; `kind` where it isn't IP's. */
export function ethernet(bytes: Buffer, kind?: number, source = '02:00:00:00:00:01'): Buffer {
  const head = Buffer.alloc(ETHERNET_BYTES);
  Buffer.from('eeeeeeeeeeee', 'hex').copy(head, 0);
  Buffer.from(source.replaceAll(':', ''), 'hex').copy(head, 6);
  head.writeUInt16BE(kind ?? ((bytes[0] ?? 0) >> 4 === 4 ? IPV4 : IPV6), 12);
  return Buffer.concat([head, bytes]);
}

export function frame(packet: Crafted): Buffer {
  return ethernet(datagram(packet));
}

/** The fragments of a datagram, their payloads of `bytes` each. */
export function fragments(packet: Crafted, bytes: number, id: number): Crafted[] {
  const whole = transport(packet);
  const parts: Crafted[] = [];
  for (let offset = 0; offset < whole.length; offset += bytes)
    parts.push({
      ...packet,
      body: whole.subarray(offset, offset + bytes),
      fragment: { offset, more: offset + bytes < whole.length, id },
    });
  return parts;
}
