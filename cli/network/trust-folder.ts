import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { readIfThere, writeAtomically } from '../../common/atomic-file.ts';
import type { Clock, Timer } from '../../common/clock.ts';

const copyMs = 1_000;
const FILE = 'root.pem';

/**
 * A folder with the mesh's root certificates alone, kept equal to the control plane's file: pods see it whole, and beside
 * that file lie keys. A file can't be mounted by itself, because a rotation puts another one in its place.
 */
export class TrustFolder {
  readonly #source: string;
  readonly #target: string;
  readonly #timer: Timer;
  #copied: string | undefined;

  constructor(clock: Clock, source: string, directory: string) {
    this.#source = source;
    this.#target = join(directory, FILE);
    mkdirSync(directory, { recursive: true });
    // Sidecars aren't root.
    chmodSync(directory, 0o755);
    this.copy();
    this.#timer = clock.every(copyMs, () => this.copy());
  }

  copy(): void {
    const text = readIfThere(this.#source);
    if (text === undefined || text === this.#copied) return;
    writeAtomically(this.#target, text, 0o644);
    this.#copied = text;
  }

  close(): void {
    this.#timer.cancel();
  }
}
