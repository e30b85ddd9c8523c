import { basename } from 'node:path';
import { KernelError } from './errors.ts';
import { Fd } from './fd.ts';
import { checked, libbpf } from './native.ts';

/** Kinds of maps whose reads need care, by their number in `linux/bpf.h`. */
const HASH = 1;
const ARRAY = 2;
const PERCPU_HASH = 5;
const PERCPU_ARRAY = 6;
const LRU_HASH = 9;
const LRU_PERCPU_HASH = 10;
const SOCKHASH = 18;
const SK_STORAGE = 24;
const PER_CPU: readonly number[] = [PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH];
/** Kinds that the kernel walks bucket by bucket, so that entries which vanish meanwhile do no harm. */
const BATCHED: readonly number[] = [HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH];

const INFO_BYTES = 96;
const batchEntries = 4096;
/** A walk by keys begins anew when the key it stands on is deleted; it gives up on a map that never stands still. */
const walkRestartsMax = 64;

const UPDATE_FLAGS = { any: 0, create: 1, existing: 2 } as const;
export type UpdateMode = keyof typeof UPDATE_FLAGS;

export interface MapInfo {
  readonly type: number;
  readonly id: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly name: string;
}

/**
 * A map of the kernel. Keys and values are whole structures; a wrong length is refused before the kernel reads past
 * it. A value of a per-CPU map is the values of all possible CPUs in a row, each in a multiple of 8 bytes.
 */
export class BpfMap implements Disposable {
  readonly name: string;
  readonly type: number;
  readonly keyBytes: number;
  /** Of one CPU, as the map was declared. */
  readonly valueBytes: number;
  readonly maxEntries: number;
  readonly #fd: Fd;
  readonly #readBytes: number;

  /** Owns `fd`: closing the map closes it. The kernel itself keeps 15 characters of a name. */
  constructor(fd: Fd, name?: string) {
    this.#fd = fd;
    const info = mapInfo(fd.number);
    this.name = name ?? info.name;
    this.type = info.type;
    this.keyBytes = info.keyBytes;
    this.valueBytes = info.valueBytes;
    this.maxEntries = info.maxEntries;
    this.#readBytes = PER_CPU.includes(info.type)
      ? Math.ceil(info.valueBytes / 8) * 8 * libbpf().possibleCpus()
      : info.type === SOCKHASH
        ? 8
        : info.valueBytes;
  }

  get fd(): number {
    return this.#fd.number;
  }

  info(): MapInfo {
    return mapInfo(this.fd);
  }

  /** The value, or undefined where there is none. Of a sockhash: the socket's cookie, 8 bytes. */
  lookup(key: Uint8Array): Buffer | undefined {
    this.#expect(key, this.keyBytes, 'key');
    const value = Buffer.alloc(this.#readBytes);
    const result = libbpf().mapLookup(this.fd, key, value);
    if (result === -2) return undefined;
    checked(`read ${this.name}`, result);
    return value;
  }

  /** The values of all possible CPUs. */
  lookupPerCpu(key: Uint8Array): Buffer[] | undefined {
    const all = this.lookup(key);
    if (all === undefined || !PER_CPU.includes(this.type)) return all === undefined ? undefined : [all];
    const step = Math.ceil(this.valueBytes / 8) * 8;
    return Array.from({ length: all.length / step }, (_, cpu) =>
      all.subarray(cpu * step, cpu * step + this.valueBytes),
    );
  }

  /** Throws `E2BIG` (full), `EEXIST` (mode create), `ENOENT` (mode existing). */
  update(key: Uint8Array, value: Uint8Array, mode: UpdateMode = 'any'): void {
    this.#expect(key, this.keyBytes, 'key');
    // A sockhash takes the number of an open socket, in 4 or 8 bytes as it was declared.
    this.#expect(value, this.type === SOCKHASH ? this.valueBytes : this.#readBytes, 'value');
    const result = libbpf().mapUpdate(this.fd, key, value, UPDATE_FLAGS[mode]);
    checked(`write ${this.name}`, result, result === -7 ? `it holds at most ${this.maxEntries}` : '');
  }

  /** Puts an open socket, by its descriptor, into a sockhash. */
  updateSocket(key: Uint8Array, socketFd: number): void {
    const value = Buffer.alloc(this.valueBytes);
    value.writeUInt32LE(socketFd);
    this.update(key, value);
  }

  /** Stores a value on an open socket, in a map of kind sk_storage. */
  updateOnSocket(socketFd: number, value: Uint8Array): void {
    this.update(descriptorKey(socketFd), value);
  }

  lookupOnSocket(socketFd: number): Buffer | undefined {
    return this.lookup(descriptorKey(socketFd));
  }

  /** Whether there was one. */
  delete(key: Uint8Array): boolean {
    this.#expect(key, this.keyBytes, 'key');
    const result = libbpf().mapDelete(this.fd, key);
    if (result === -2) return false;
    checked(`delete from ${this.name}`, result);
    return true;
  }

  /** Writes many, faster than one by one; throws at the first that fails, and those before it stay. */
  updateBatch(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void {
    for (let start = 0; start < entries.length; start += batchEntries) {
      const part = entries.slice(start, start + batchEntries);
      if (PER_CPU.includes(this.type)) {
        for (const [key, value] of part) this.update(key, value);
        continue;
      }
      for (const [key, value] of part) {
        this.#expect(key, this.keyBytes, 'key');
        this.#expect(value, this.valueBytes, 'value');
      }
      const keys = Buffer.concat(part.map(([key]) => key));
      const values = Buffer.concat(part.map(([, value]) => value));
      const result = libbpf().mapUpdateBatch(this.fd, keys, values, u32(part.length), null);
      checked(`write ${this.name}`, result, result === -7 ? `it holds at most ${this.maxEntries}` : '');
    }
  }

  /** Deletes those that are there. */
  deleteBatch(keys: readonly Uint8Array[]): void {
    for (const key of keys) this.delete(key);
  }

  /** A picture of all keys. Entries that come or go meanwhile may be in it or not. */
  keys(): Buffer[] {
    return BATCHED.includes(this.type) ? this.entries().map(([key]) => key) : this.#walk();
  }

  /** A picture of all entries; see `keys`. Not of sk_storage, whose entries only their sockets know. */
  entries(): [Buffer, Buffer][] {
    if (this.type === SK_STORAGE) throw new KernelError(`list ${this.name}, a map of sockets`, 95);
    if (BATCHED.includes(this.type)) return this.#batches();
    const found: [Buffer, Buffer][] = [];
    for (const key of this.#walk()) {
      const value = this.lookup(key);
      if (value !== undefined) found.push([key, value]);
    }
    return found;
  }

  /** Keeps it in a bpffs beyond this process. Throws `EEXIST`, `ENOENT` (no such folder), `EPERM` (no bpffs). */
  pin(path: string): void {
    checked(`pin ${this.name} at ${path}`, libbpf().pin(this.fd, path));
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }

  #batches(): [Buffer, Buffer][] {
    const found: [Buffer, Buffer][] = [];
    let room = Math.min(this.maxEntries, batchEntries);
    let from: Buffer | null = null;
    for (;;) {
      const keys = Buffer.alloc(room * this.keyBytes);
      const values = Buffer.alloc(room * this.#readBytes);
      const count = u32(room);
      const to: Buffer = Buffer.alloc(Math.max(this.keyBytes, 8));
      const result = libbpf().mapLookupBatch(this.fd, from, to, keys, values, count, null);
      if (result === -28) {
        // One bucket holds more than there is room for.
        room *= 2;
        continue;
      }
      if (result < 0 && result !== -2) throw new KernelError(`list ${this.name}`, -result);
      for (let index = 0; index < count.readUInt32LE(); index++) {
        found.push([
          keys.subarray(index * this.keyBytes, (index + 1) * this.keyBytes),
          values.subarray(index * this.#readBytes, (index + 1) * this.#readBytes),
        ]);
      }
      if (result === -2) return found;
      from = to;
    }
  }

  /** By key after key: arrays, LPM tries, sockhashes. When the key it stands on goes, the kernel begins at the first again. */
  #walk(): Buffer[] {
    if (this.type === ARRAY || this.type === PERCPU_ARRAY)
      return Array.from({ length: this.maxEntries }, (_, index) => u32(index));
    const found = new Map<string, Buffer>();
    let restarts = 0;
    let steps = 0;
    for (let key: Buffer | null = null; ; ) {
      const next: Buffer = Buffer.alloc(this.keyBytes);
      const result = libbpf().mapNextKey(this.fd, key, next);
      if (result === -2) return [...found.values()];
      checked(`list ${this.name}`, result);
      const name = next.toString('latin1');
      if (found.has(name)) steps++;
      else {
        found.set(name, next);
        steps = 0;
      }
      if (steps > found.size) {
        steps = 0;
        if (++restarts > walkRestartsMax)
          throw new KernelError(`list ${this.name}, which changes too fast`, 11);
      }
      key = next;
    }
  }

  #expect(bytes: Uint8Array, wanted: number, what: string): void {
    if (bytes.length !== wanted)
      throw new RangeError(`a ${what} of ${this.name} has ${wanted} bytes, not ${bytes.length}`);
  }
}

/** What is pinned at `path`, with the pin's name; the caller owns it. Throws `ENOENT`. */
export function openPinnedMap(path: string): BpfMap {
  const fd = new Fd(checked(`open the pinned map ${path}`, libbpf().get(path)));
  return new BpfMap(fd, basename(path));
}

function mapInfo(fd: number): MapInfo {
  const info = Buffer.alloc(INFO_BYTES);
  checked('describe a map', libbpf().info(fd, info, u32(INFO_BYTES)));
  return {
    type: info.readUInt32LE(0),
    id: info.readUInt32LE(4),
    keyBytes: info.readUInt32LE(8),
    valueBytes: info.readUInt32LE(12),
    maxEntries: info.readUInt32LE(16),
    flags: info.readUInt32LE(20),
    name: info.toString('latin1', 24, 40).replace(/\0.*$/s, ''),
  };
}

function descriptorKey(fd: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeInt32LE(fd);
  return key;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
