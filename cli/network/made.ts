import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readIfThere, writeAtomically } from '../../common/atomic-file.ts';
import type { Host } from './host.ts';

/** Takes away what a file of this kind names. */
export const CLEAN_SCRIPT = fileURLToPath(new URL('./clean.sh', import.meta.url));

/** What a mesh leaves in the kernel, by the words that `clean.sh` knows. */
export type MadeKind = 'cgroup' | 'bpffs' | 'netns' | 'link' | 'table' | 'sysctl' | 'folder';

const cleanTimeoutMs = 60_000;

/**
 * The file that names everything a mesh made in the kernel, each thing before it is made: whoever cleans up after a crash
 * (the watchdog, the next `up`, `down`) needs nothing else.
 */
export class Made {
  readonly #file: string;
  readonly #lines = new Set<string>();

  constructor(file: string) {
    this.#file = file;
  }

  /** To be called before the thing is made. */
  add(kind: MadeKind, ...words: readonly string[]): void {
    this.#lines.add([kind, ...words].join(' '));
    this.#save();
  }

  /** To be called once the thing is gone. */
  forget(kind: MadeKind, ...words: readonly string[]): void {
    if (this.#lines.delete([kind, ...words].join(' '))) this.#save();
  }

  #save(): void {
    writeAtomically(this.#file, [...this.#lines].map((line) => `${line}\n`).join(''));
  }
}

/**
 * Takes away everything that the file names, then the file. Processes that live in it must be gone already, but those of
 * cgroups, which are ended with them. Returns what could not be taken away, in words.
 */
export async function cleanMade(host: Host, file: string): Promise<readonly string[]> {
  if (readIfThere(file) === undefined) return [];
  const ran = await host.run('/bin/sh', [CLEAN_SCRIPT, file], { timeoutMs: cleanTimeoutMs });
  if (ran.code === 0) rmSync(file, { force: true });
  return ran.code === 0 ? [] : ran.err.trim().split('\n');
}
