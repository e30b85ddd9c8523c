import { closeSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** A log file turns into `<file>.1` when it would grow past this; one older file is kept. */
export const logBytesMax = 4 * 1024 * 1024;

/** Appends output to a file of bounded size. `<file>.previous` is the container run before this one. */
export class LogFile {
  readonly #path: string;
  readonly #bytesMax: number;
  #descriptor: number | undefined;
  #bytes = 0;

  constructor(path: string, bytesMax = logBytesMax) {
    this.#path = path;
    this.#bytesMax = bytesMax;
  }

  /** Begins the log of a new run; what the last run wrote becomes `.previous`. */
  startRun(): void {
    this.close();
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
    rmSync(`${this.#path}.1`, { force: true });
    if (statSync(this.#path, { throwIfNoEntry: false }) !== undefined)
      renameSync(this.#path, `${this.#path}.previous`);
    this.#open();
  }

  write(chunk: Uint8Array): void {
    if (this.#descriptor === undefined) this.#open();
    if (this.#bytes > 0 && this.#bytes + chunk.byteLength > this.#bytesMax) this.#rotate();
    const piece =
      chunk.byteLength > this.#bytesMax ? chunk.subarray(chunk.byteLength - this.#bytesMax) : chunk;
    if (this.#descriptor !== undefined) writeSync(this.#descriptor, piece);
    this.#bytes += piece.byteLength;
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #rotate(): void {
    this.close();
    renameSync(this.#path, `${this.#path}.1`);
    this.#open();
  }

  #open(): void {
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
    this.#descriptor = openSync(this.#path, 'a', 0o600);
    this.#bytes = statSync(this.#path).size;
  }
}
