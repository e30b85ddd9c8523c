import { crc32 } from 'node:zlib';
import { isJsonObject } from '../../../common/json.ts';

/** Names who has an address, as the runtime does. */
export interface AddressOwner {
  readonly containerId: string;
  readonly ifname: string;
}

export interface AddressLease extends AddressOwner {
  readonly ips: readonly string[];
}

/** `number` counts all changes, so that those before a snapshot can be told from those behind it. */
export type AddressChange =
  | { readonly number: number; readonly kind: 'give'; readonly lease: AddressLease }
  | { readonly number: number; readonly kind: 'take'; readonly owner: AddressOwner };

/** What of a pool can't be told from the leases. Addresses are hexadecimal: they have 128 bits. */
export interface PoolMemory {
  readonly cidr: string;
  readonly next: string;
  readonly freed: readonly string[];
}

export interface AddressSnapshot {
  /** Of the last change it has. */
  readonly number: number;
  readonly leases: readonly AddressLease[];
  readonly pools: readonly PoolMemory[];
}

/** One line, without its end: a checksum, so that half a line isn't taken for a whole one, and JSON. */
export function changeLine(change: AddressChange): string {
  const text = JSON.stringify(change);
  return `${checksum(text)} ${text}`;
}

/** The changes of a file, and the lines that are none. A cut last line is no damage: nobody was told of that change. */
export function readChanges(text: string): {
  readonly changes: readonly AddressChange[];
  readonly damaged: number;
} {
  const lines = text.split('\n');
  lines.pop();
  const changes = lines.map(readChange).filter((change) => change !== undefined);
  return { changes, damaged: lines.length - changes.length };
}

function readChange(line: string): AddressChange | undefined {
  const text = line.slice(9);
  if (line.slice(0, 8) !== checksum(text)) return undefined;
  return JSON.parse(text) as AddressChange;
}

export function snapshotText(snapshot: AddressSnapshot): string {
  const text = JSON.stringify(snapshot);
  return `${checksum(text)} ${text}\n`;
}

/** Undefined: damaged. */
export function readSnapshot(text: string): AddressSnapshot | undefined {
  const body = text.trimEnd().slice(9);
  if (text.slice(0, 8) !== checksum(body)) return undefined;
  const value: unknown = JSON.parse(body);
  return isJsonObject(value) ? (value as unknown as AddressSnapshot) : undefined;
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}
