import { type AddressBlock, blockHolds } from './block.ts';

/** Freed addresses that are remembered; more than any IPv4 block of a node has. */
export const freedAddressesMax = 65_536;

/**
 * Which address comes next: first those never given, from the lowest, then the freed ones, the one freed longest ago
 * first, so that what still knows an old pod's address seldom meets a new pod there. Memory goes by what was given, not by
 * the size of the block.
 */
export class AddressPool {
  readonly block: AddressBlock;
  readonly #used = new Set<bigint>();
  /** In the order they were freed. */
  readonly #freed = new Set<bigint>();
  #next: bigint;

  constructor(block: AddressBlock) {
    this.block = block;
    this.#next = block.first;
  }

  /** The address to give next; undefined: all are given. */
  peek(): bigint | undefined {
    if (BigInt(this.#used.size) >= this.block.usable) return undefined;
    const unused = this.#seek();
    if (unused !== undefined) return unused;
    for (const oldest of this.#freed) return oldest;
    // What was freed and forgotten again is as good as never given.
    this.#next = this.block.first;
    return this.#seek();
  }

  /** Notes an address as given; one outside the block is none of the pool's. */
  take(address: bigint): void {
    if (!blockHolds(this.block, address)) return;
    this.#used.add(address);
    this.#freed.delete(address);
  }

  release(address: bigint): void {
    if (!this.#used.delete(address)) return;
    this.#freed.add(address);
    if (this.#freed.size <= freedAddressesMax) return;
    for (const oldest of this.#freed) {
      this.#freed.delete(oldest);
      return;
    }
  }

  given(): number {
    return this.#used.size;
  }

  /** What a restart must know besides the given addresses. */
  memory(): { readonly next: bigint; readonly freed: readonly bigint[] } {
    return { next: this.#next, freed: [...this.#freed] };
  }

  /** Takes up what `memory` told, before anything is given. */
  recall(next: bigint, freed: readonly bigint[]): void {
    this.#next = next < this.block.first ? this.block.first : next;
    for (const address of freed.slice(-freedAddressesMax))
      if (blockHolds(this.block, address)) this.#freed.add(address);
  }

  #seek(): bigint | undefined {
    while (this.#next <= this.block.last) {
      if (!this.#used.has(this.#next) && !this.#freed.has(this.#next)) return this.#next;
      this.#next++;
    }
    return undefined;
  }
}
