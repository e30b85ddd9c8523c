import { isIPv4 } from 'node:net';
import { addressBytes, addressText } from '../../../common/address.ts';
import { HeddleError } from '../../../common/errors.ts';

/** Attributes (`struct rtattr`): a length, a type, a value, padded to four bytes. See rtnetlink(7). */
const HEAD_BYTES = 4;
/** Says that the value is attributes again; the kernel sets or leaves it out as it likes. */
const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;

export const AF_INET = 2;
export const AF_INET6 = 10;
/** Address families as rtnetlink's messages name them. */
export type Family = typeof AF_INET | typeof AF_INET6;
export const FAMILIES: readonly Family[] = [AF_INET, AF_INET6];

export function attribute(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(padded(HEAD_BYTES + value.length));
  bytes.writeUInt16LE(HEAD_BYTES + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(value, HEAD_BYTES);
  return bytes;
}

/** `parts` are attributes, or a fixed structure in front of them. */
export function nested(type: number, ...parts: readonly Uint8Array[]): Buffer {
  return attribute(type | NESTED, Buffer.concat(parts));
}

export function u8(type: number, value: number): Buffer {
  return attribute(type, Buffer.from([value]));
}

export function u32(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return attribute(type, bytes);
}

/** Ports are in network order. */
export function be16(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return attribute(type, bytes);
}

/** Text with the zero that ends it. */
export function text(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(`${value}\0`));
}

/** An IP address: 4 bytes or 16. */
export function ip(type: number, address: string): Buffer {
  return attribute(type, ipBytes(address));
}

export function mac(type: number, value: string): Buffer {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(value))
    throw new HeddleError(
      'mac-address',
      `${JSON.stringify(value)} is no MAC address, such as 02:00:00:00:00:01`,
    );
  return attribute(type, Buffer.from(value.replaceAll(':', ''), 'hex'));
}

/** The attributes behind the fixed part of a message. A cut one ends the list. */
export function readAttributes(bytes: Buffer, start = 0): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = start; at + HEAD_BYTES <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < HEAD_BYTES || at + length > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2) & TYPE_MASK, bytes.subarray(at + HEAD_BYTES, at + length));
    at += padded(length);
  }
  return found;
}

export function readText(value: Buffer | undefined): string | undefined {
  return value?.toString('utf8').replace(/\0.*$/s, '');
}

export function readU32(value: Buffer | undefined): number | undefined {
  return value !== undefined && value.length >= 4 ? value.readUInt32LE() : undefined;
}

export function readIp(value: Buffer | undefined): string | undefined {
  if (value?.length === 4) return [...value].join('.');
  return value?.length === 16 ? addressText(value) : undefined;
}

export function readMac(value: Buffer | undefined): string {
  return [...(value ?? [])].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export function ipBytes(address: string): Buffer {
  const bytes = addressBytes(address);
  return isIPv4(address) ? bytes.subarray(12) : bytes;
}

export function familyOf(address: string): Family {
  return isIPv4(address) ? AF_INET : AF_INET6;
}

/** Bits of a whole address: 32 or 128. */
export function widthOf(family: Family): number {
  return family === AF_INET ? 32 : 128;
}

export function padded(bytes: number): number {
  return (bytes + 3) & ~3;
}
