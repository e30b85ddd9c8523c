import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { readIfThere, writeAtomically } from '../../common/atomic-file.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';

const FILE = 'node-before.json';

/** A setting that Heddle changed, or that the kernel changed along with one. */
export interface Remembered {
  readonly before: string;
  readonly ours: string;
}

interface Kept {
  readonly sysctls: Readonly<Record<string, Remembered>>;
  readonly addresses: readonly string[];
}

/** What a node was like before Heddle, in a file that is written before anything is changed. */
export class NodeMemory {
  readonly #path: string;
  #kept: Kept;
  #exists: boolean;

  constructor(path: string, kept: Kept | undefined) {
    this.#path = path;
    this.#exists = kept !== undefined;
    this.#kept = kept ?? { sysctls: {}, addresses: [] };
  }

  /** Whether the node was set up before. */
  get exists(): boolean {
    return this.#exists;
  }

  get sysctls(): Readonly<Record<string, Remembered>> {
    return this.#kept.sysctls;
  }

  /** Addresses that Heddle gave to `lo`. */
  get addresses(): readonly string[] {
    return this.#kept.addresses;
  }

  /** What is known already stays: it was there first. */
  addSysctls(more: Readonly<Record<string, Remembered>>): void {
    this.#write({ ...this.#kept, sysctls: { ...more, ...this.#kept.sysctls } });
  }

  setAddresses(addresses: readonly string[]): void {
    this.#write({ ...this.#kept, addresses: addresses.toSorted() });
  }

  #write(kept: Kept): void {
    if (this.#exists && JSON.stringify(kept) === JSON.stringify(this.#kept)) return;
    writeAtomically(this.#path, `${JSON.stringify(kept, null, 2)}\n`);
    this.#kept = kept;
    this.#exists = true;
  }
}

/** Throws `node-memory` where the file can't be understood: nothing is changed that couldn't be put back. */
export function nodeMemoryAt(stateDirectory: string): NodeMemory {
  const path = join(stateDirectory, FILE);
  const text = readIfThere(path);
  if (text === undefined) return new NodeMemory(path, undefined);
  try {
    const { sysctls, addresses } = JSON.parse(text) as Partial<Kept>;
    if (typeof sysctls !== 'object' || !Array.isArray(addresses)) throw new TypeError('fields are missing');
    return new NodeMemory(path, { sysctls, addresses });
  } catch (thrown) {
    throw new HeddleError(
      'node-memory',
      `${path}, which says what the node was like before Heddle, can't be read (${messageOf(thrown)}); mend or remove it: then settings stay as they are at an uninstall`,
      { cause: thrown },
    );
  }
}

export function forgetNode(stateDirectory: string): void {
  rmSync(join(stateDirectory, FILE), { force: true });
}
