import { isIP, isIPv4 } from 'node:net';
import { HeddleError } from './errors.ts';

/** An address as the pod network's maps hold it: 16 bytes, network order, IPv4 as ::ffff:a.b.c.d. */
export type AddressBytes = Buffer;

export const ADDRESS_BYTES = 16;
const MAPPED_PREFIX = Buffer.from('00000000000000000000ffff', 'hex');
const zero: AddressBytes = Buffer.alloc(ADDRESS_BYTES);

/** The all-zero address: "none" in maps. A copy. */
export function noAddress(): AddressBytes {
  return Buffer.from(zero);
}

/** Every address of the node, as a frontend has it: `::ffff:0.0.0.0` or `::`. A copy. */
export function anyAddress(family: 4 | 6): AddressBytes {
  return family === 4 ? Buffer.concat([MAPPED_PREFIX, Buffer.alloc(4)]) : noAddress();
}

/** Text of an IPv4 or IPv6 address (no zone) as 16 bytes. Throws `address` for anything else. */
export function addressBytes(text: string): AddressBytes {
  const kind = isIP(text);
  if (kind === 0 || text.includes('%'))
    throw new HeddleError('address', `${JSON.stringify(text)} is no IP address`);
  return kind === 4 ? mappedBytes(text) : ipv6Bytes(text);
}

/** The one form of an address that maps of addresses are kept by, that of `addressText`; undefined for anything else. */
export function canonicalAddress(text: unknown): string | undefined {
  if (typeof text !== 'string') return undefined;
  if (isIPv4(text)) return text;
  return isIP(text) !== 0 && !text.includes('%') ? addressText(addressBytes(text)) : undefined;
}

/** Whether only programs of the same machine reach a text address: 127.0.0.0/8 and `::1`. */
export function isLoopback(address: string): boolean {
  return address === '::1' || (isIPv4(address) && address.startsWith('127.'));
}

/** 16 bytes as text: dotted for IPv4, the shortest form of RFC 5952 for IPv6. */
export function addressText(bytes: Uint8Array): string {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, ADDRESS_BYTES);
  if (view.subarray(0, 12).equals(MAPPED_PREFIX)) return [...view.subarray(12)].join('.');
  const groups = Array.from({ length: 8 }, (_, index) => view.readUInt16BE(index * 2));
  return compressed(groups);
}

export function isNoAddress(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, zero) === 0;
}

/** Whether 16 bytes are an IPv4 address. */
export function isMapped(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes.subarray(0, 12), MAPPED_PREFIX) === 0;
}

/** A range of addresses; `bits` counts from the front of the 16 bytes, so 96 more than written for IPv4. */
export interface Prefix {
  readonly bits: number;
  readonly address: AddressBytes;
}

/** `10.0.0.0/8` or `fd00::/8`; host bits are cut off, as Kubernetes reads an ipBlock. Throws `cidr`. */
export function parsePrefix(text: string): Prefix {
  const [host = '', length = '', ...rest] = text.split('/');
  const family = isIP(host);
  const widest = family === 4 ? 32 : 128;
  const bits = /^(0|[1-9]\d{0,2})$/.test(length) ? Number(length) : Number.NaN;
  if (family === 0 || host.includes('%') || rest.length > 0 || !(bits <= widest))
    throw new HeddleError('cidr', `${JSON.stringify(text)} is no CIDR, such as 10.0.0.0/8 or fd00::/8`);
  const all = family === 4 ? bits + 96 : bits;
  return { bits: all, address: masked(addressBytes(host), all) };
}

/** As it is written in manifests. */
export function prefixText(prefix: Prefix): string {
  const mapped = isMapped(prefix.address) && prefix.bits >= 96;
  return `${addressText(prefix.address)}/${mapped ? prefix.bits - 96 : prefix.bits}`;
}

export function prefixHolds(prefix: Prefix, address: Uint8Array): boolean {
  const whole = prefix.bits >> 3;
  for (let index = 0; index < whole; index++) if (address[index] !== prefix.address[index]) return false;
  const rest = prefix.bits & 7;
  if (rest === 0) return true;
  return (((address[whole] ?? 0) ^ (prefix.address[whole] ?? 0)) & (0xff << (8 - rest)) & 0xff) === 0;
}

/** The first `bits` of an address, zero behind them. */
export function masked(address: AddressBytes, bits: number): AddressBytes {
  const out = Buffer.from(address);
  for (let index = 0; index < ADDRESS_BYTES; index++) {
    const left = bits - index * 8;
    if (left < 8) out[index] = (out[index] ?? 0) & (left <= 0 ? 0 : 0xff << (8 - left));
  }
  return out;
}

function mappedBytes(text: string): AddressBytes {
  const out = Buffer.alloc(ADDRESS_BYTES);
  MAPPED_PREFIX.copy(out);
  let at = MAPPED_PREFIX.length;
  for (const part of text.split('.')) out[at++] = Number(part);
  return out;
}

function ipv4Bytes(text: string): Buffer {
  return Buffer.from(text.split('.').map(Number));
}

function ipv6Bytes(text: string): Buffer {
  const dotted = text.slice(text.lastIndexOf(':') + 1);
  const plain = isIPv4(dotted) ? text.slice(0, -dotted.length) + hexPairs(ipv4Bytes(dotted)) : text;
  const [head = '', tail] = plain.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = tail === undefined ? 0 : 8 - before.length - after.length;
  const groups = [...before, ...Array.from({ length: missing }, () => '0'), ...after];
  const out = Buffer.alloc(ADDRESS_BYTES);
  for (const [index, group] of groups.entries()) out.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  return out;
}

function hexPairs(four: Buffer): string {
  return `${four.readUInt16BE(0).toString(16)}:${four.readUInt16BE(2).toString(16)}`;
}

/** RFC 5952: the longest run of two or more zero groups, the first of equals, becomes `::`. */
function compressed(groups: readonly number[]): string {
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const text = groups.map((group) => group.toString(16));
  if (best.start < 0) return text.join(':');
  return `${text.slice(0, best.start).join(':')}::${text.slice(best.start + best.length).join(':')}`;
}
