import { keyText, type MapStore } from '../../cni/maps/entries.ts';

/** A map of the kernel in memory, with its bound, and a look at every single step. */
export class MemoryMap implements MapStore {
  readonly name: string;
  readonly maxEntries: number;
  readonly content = new Map<string, Buffer>();
  readonly #onStep: () => void;
  updates = 0;
  deletes = 0;
  /** The update that fails, counted from 1. */
  failAt = Number.POSITIVE_INFINITY;

  constructor(name: string, maxEntries = 1_000_000, onStep: () => void = () => undefined) {
    this.name = name;
    this.maxEntries = maxEntries;
    this.#onStep = onStep;
  }

  *entries(): IterableIterator<readonly [Buffer, Buffer]> {
    for (const [text, value] of [...this.content]) yield [Buffer.from(text, 'latin1'), value];
  }

  updateBatch(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void {
    for (const [key, value] of entries) {
      this.updates++;
      if (this.updates === this.failAt) throw new Error(`${this.name} refuses`);
      const text = keyText(key);
      if (!this.content.has(text) && this.content.size >= this.maxEntries)
        throw new Error(`${this.name} is full`);
      this.content.set(text, Buffer.from(value));
      this.#onStep();
    }
  }

  delete(key: Uint8Array): boolean {
    this.deletes++;
    const was = this.content.delete(keyText(key));
    this.#onStep();
    return was;
  }
}
