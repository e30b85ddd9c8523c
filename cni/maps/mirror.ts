import { type Entry, keyText, type MapStore } from './entries.ts';

/**
 * A map that only its owner writes, remembered, so that a comparison with the wanted state costs no system call for each
 * entry. `reread` looks at the map itself again: that is how drift is found.
 */
export class MirroredMap implements MapStore {
  readonly name: string;
  readonly maxEntries: number;
  readonly #store: MapStore;
  /** Undefined while it isn't known what the map holds. */
  #known: Map<string, Entry> | undefined;

  constructor(store: MapStore) {
    this.name = store.name;
    this.maxEntries = store.maxEntries;
    this.#store = store;
  }

  /** Forgets what was remembered; the next look reads the whole map. */
  reread(): void {
    this.#known = undefined;
  }

  *entries(): IterableIterator<readonly [Buffer, Buffer]> {
    for (const { key, value } of this.#all().values()) yield [key, value];
  }

  /** A write that fails halfway leaves it open what is there: the next look finds out. */
  updateBatch(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void {
    const known = this.#known;
    this.#known = undefined;
    this.#store.updateBatch(entries);
    for (const [key, value] of entries)
      known?.set(keyText(key), { key: Buffer.from(key), value: Buffer.from(value) });
    this.#known = known;
  }

  delete(key: Uint8Array): boolean {
    const known = this.#known;
    this.#known = undefined;
    const was = this.#store.delete(key);
    known?.delete(keyText(key));
    this.#known = known;
    return was;
  }

  #all(): ReadonlyMap<string, Entry> {
    if (this.#known !== undefined) return this.#known;
    const known = new Map<string, Entry>();
    for (const [key, value] of this.#store.entries())
      known.set(keyText(key), { key: Buffer.from(key), value: Buffer.from(value) });
    this.#known = known;
    return known;
  }
}
