import { encode } from './struct.ts';
import type { Table } from './tables.ts';

export interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** What a map is to hold, by the bytes of the key. */
export type Entries = ReadonlyMap<string, Entry>;

/** Records as entries of their map. Of two with one key the later holds. */
export function entriesOf<K, V>(table: Table<K, V>, records: Iterable<readonly [K, V]>): Entries {
  const entries = new Map<string, Entry>();
  for (const [key, value] of records) {
    const bytes = encode(table.key, key);
    entries.set(keyText(bytes), { key: bytes, value: encode(table.value, value) });
  }
  return entries;
}

/** Bytes as the key of a JavaScript map. */
export function keyText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** As much of a map as it takes to bring it to a wanted state: one of the kernel's, or one in memory. */
export interface MapStore {
  readonly name: string;
  readonly maxEntries: number;
  entries(): Iterable<readonly [Uint8Array, Uint8Array]>;
  /** Adds or replaces. Throws at the first that fails; those before it stay. */
  updateBatch(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void;
  /** Whether there was one. */
  delete(key: Uint8Array): boolean;
}

/** How a map differs from what it is to hold. */
export interface Difference {
  readonly missing: readonly Entry[];
  /** The key is there with another value; here with the wanted one. */
  readonly changed: readonly Entry[];
  /** Keys that nobody wants. */
  readonly stale: readonly Buffer[];
  readonly held: number;
}

export function differenceOf(store: MapStore, wanted: Entries): Difference {
  const changed: Entry[] = [];
  const stale: Buffer[] = [];
  const seen = new Set<string>();
  for (const [key, value] of store.entries()) {
    const text = keyText(key);
    const entry = wanted.get(text);
    // A walk over a map that changes meanwhile may show a key twice.
    if (seen.has(text)) continue;
    seen.add(text);
    if (entry === undefined) stale.push(Buffer.from(key));
    else if (!entry.value.equals(value)) changed.push(entry);
  }
  const missing = [...wanted].filter(([text]) => !seen.has(text)).map(([, entry]) => entry);
  return { missing, changed, stale, held: seen.size };
}
