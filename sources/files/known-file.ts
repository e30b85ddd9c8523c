import type { Clock } from '../../common/clock.ts';
import { type FileContent, keepContent, mergeContent, NO_CONTENT } from './last-good.ts';
import { EMPTY_FILE_SETTLE_MS, type FileLimits, QUIET_MS, QUIET_WAIT_MAX_MS } from './limits.ts';
import { parseDocuments } from './parse.ts';
import { readManifest, type ScannedFile } from './scan.ts';

/** What a look at a file gave. */
export interface Look {
  /** Whether what the file contributes changed. */
  readonly changed: boolean;
  /** When it should be looked at again, whatever the system tells of it. */
  readonly againMs?: number;
}

const UNCHANGED: Look = { changed: false };

/**
 * One file and what it contributes, which isn't always what it holds at this moment:
 *
 *   settled ─ written to ─► restless ─ quiet for 40 ms ─► read ─┬─ whole ────────────────────────► settled
 *                                                               └─ cut short ─► doubted ─ 500 ms ─► settled
 */
export class KnownFile {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #limits: FileLimits;
  #signature = '';
  /** Of the last time that it could be read. */
  #text: string | undefined;
  #content: FileContent = NO_CONTENT;
  /** Since when it has been seen to be written to without a pause. */
  #restlessSinceMs: number | undefined;
  /** Since when it has been a shorter beginning of what it was. */
  #doubtedSinceMs: number | undefined;

  constructor(path: string, clock: Clock, limits: FileLimits) {
    this.#path = path;
    this.#clock = clock;
    this.#limits = limits;
  }

  get content(): FileContent {
    return this.#content;
  }

  /** `atOnce` where the file is known to be whole, and at the first of all looks: what is there is taken. */
  look(file: ScannedFile, atOnce: boolean): Look {
    const nowMs = this.#clock.now();
    const same = file.signature === this.#signature;
    if (same && this.#doubtedSinceMs === undefined) return UNCHANGED;
    if (!same && !atOnce) {
      const waitMs = this.#restlessFor(file, nowMs);
      if (waitMs > 0) return { changed: false, againMs: waitMs };
    }
    this.#restlessSinceMs = undefined;
    this.#signature = file.signature;
    const read = readManifest(file, this.#limits);
    if ('problem' in read) {
      this.#text = undefined;
      this.#content = keepContent(this.#content, read.problem);
      return { changed: true };
    }
    return this.#take(read.text, nowMs, atOnce);
  }

  /** How long to wait until nobody writes to the file; 0 where it is quiet, or has been waited for long enough. */
  #restlessFor(file: ScannedFile, nowMs: number): number {
    const ageMs = this.#clock.wallMs() - file.writtenAtMs;
    // The file system's clock ticks coarsely, and may be a little ahead.
    if (Math.abs(ageMs) >= QUIET_MS) return 0;
    this.#restlessSinceMs ??= nowMs;
    return nowMs - this.#restlessSinceMs >= QUIET_WAIT_MAX_MS ? 0 : QUIET_MS - Math.max(0, ageMs);
  }

  #take(text: string, nowMs: number, whole: boolean): Look {
    const before = this.#text ?? '';
    const isCut = text.length < before.length && before.startsWith(text);
    if (isCut && !whole && this.#content.documents.length > 0) {
      this.#doubtedSinceMs ??= nowMs;
      const leftMs = EMPTY_FILE_SETTLE_MS - (nowMs - this.#doubtedSinceMs);
      if (leftMs > 0) return { changed: false, againMs: leftMs };
    }
    this.#doubtedSinceMs = undefined;
    // A file that was touched, or written anew with the same words, is what it was.
    if (text === this.#text) return UNCHANGED;
    this.#text = text;
    this.#content = mergeContent(this.#content, parseDocuments(text, this.#path, this.#limits));
    return { changed: true };
  }
}
