import { type FSWatcher, watch } from 'node:fs';
import { join, sep } from 'node:path';
import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { LastSound } from '../last-sound.ts';
import type { ObjectSource, ObjectsState } from '../source.ts';
import { Generations } from './generations.ts';
import { KnownFile } from './known-file.ts';
import {
  DEFAULT_FILE_LIMITS,
  EVENT_DEBOUNCE_MS,
  type FileLimits,
  GONE_FILE_SETTLE_MS,
  RESCAN_MS,
} from './limits.ts';
import { overlay } from './overlay.ts';
import { type Scan, type ScannedFile, scanFolder } from './scan.ts';

export interface WatchOptions {
  /** Later folders override earlier ones, object by object. A folder may appear later. */
  readonly directories: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: Partial<FileLimits>;
  /** After each change that matters; the first state is in `current()` already. */
  onChange(state: ObjectsState): void;
}

/**
 * Reads folders of manifests and follows them. A document that is broken or half-written leaves its last good version
 * and everything else in force, and is reported with file and line; so does a folder that can't be read. The first load
 * is complete on return. Objects' order is stable: by folder, then path, then place in the file.
 */
export async function watchFiles(options: WatchOptions): Promise<ObjectSource> {
  const source = new WatchedFolders(options);
  source.rescan(true);
  return source;
}

class WatchedFolders implements ObjectSource {
  readonly #options: WatchOptions;
  readonly #limits: FileLimits;
  readonly #files = new Map<string, KnownFile>();
  /** Files that are in force and weren't there at the last look, with the time since when. */
  readonly #goneSinceMs = new Map<string, number>();
  /** Files that were moved in since the last look, and not written to after that: they are whole. */
  readonly #movedIn = new Set<string>();
  readonly #watchers = new Map<string, { readonly watcher: FSWatcher; readonly identity: string }>();
  readonly #generations = new Generations();
  readonly #lastSound = new LastSound();
  readonly #ticker: Timer;
  #pending: { readonly timer: Timer; readonly dueMs: number } | undefined;
  #state: ObjectsState = { objects: [], problems: [] };
  #print = '';
  #closed = false;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_FILE_LIMITS, ...options.limits };
    this.#ticker = options.clock.every(RESCAN_MS, () => this.#changed());
  }

  current(): ObjectsState {
    return this.#state;
  }

  close(): void {
    this.#closed = true;
    this.#ticker.cancel();
    this.#pending?.timer.cancel();
    for (const { watcher } of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /** True where what the folders hold, or what is wrong with it, changed. */
  rescan(atOnce = false): boolean {
    const scans = this.#options.directories.map((directory) => scanFolder(directory, this.#limits));
    let changed = this.#forget(scans);
    for (const file of scans.flatMap((scan) => scan.files)) {
      if (this.#look(file, atOnce || this.#movedIn.has(file.path))) changed = true;
    }
    this.#movedIn.clear();
    this.#follow(new Map(scans.flatMap((scan) => [...scan.folders])));

    const contents = scans.map((scan, index) =>
      this.#contentsOf(scan, this.#options.directories[index] ?? ''),
    );
    const merged = overlay(contents.map((files) => files.flatMap((file) => file.content.documents.flat())));
    const problems = [
      ...scans.flatMap((scan) => scan.problems),
      ...contents.flatMap((files) => files.flatMap((file) => file.content.problems)),
      ...merged.problems,
    ];
    const print = JSON.stringify(problems.map((problem) => [problem.source, problem.line, problem.message]));
    if (!changed && print === this.#print) return false;
    this.#print = print;
    this.#state = { objects: this.#lastSound.apply(this.#generations.apply(merged.objects)), problems };
    return true;
  }

  /**
   * Drops files that have been gone for long enough. Of what can't be looked into nobody knows: what it held stays in
   * force.
   */
  #forget(scans: readonly Scan[]): boolean {
    const found = new Set(scans.flatMap((scan) => scan.files.map((file) => file.path)));
    const unread = scans.flatMap((scan) => scan.unread);
    const nowMs = this.#options.clock.now();
    let changed = false;
    for (const path of this.#files.keys()) {
      if (found.has(path) || unread.some((folder) => isUnder(path, folder))) {
        this.#goneSinceMs.delete(path);
        continue;
      }
      const sinceMs = this.#goneSinceMs.get(path) ?? nowMs;
      const leftMs = sinceMs + GONE_FILE_SETTLE_MS - nowMs;
      if (leftMs > 0) {
        this.#goneSinceMs.set(path, sinceMs);
        this.#soon(leftMs);
        continue;
      }
      this.#goneSinceMs.delete(path);
      this.#files.delete(path);
      changed = true;
    }
    return changed;
  }

  #look(file: ScannedFile, atOnce: boolean): boolean {
    let known = this.#files.get(file.path);
    if (known === undefined) {
      known = new KnownFile(file.path, this.#options.clock, this.#limits);
      this.#files.set(file.path, known);
    }
    const { changed, againMs } = known.look(file, atOnce);
    if (againMs !== undefined) this.#soon(againMs);
    return changed;
  }

  /** The files of one folder, by path: those that were found, and those that are kept though they weren't. */
  #contentsOf({ files, unread }: Scan, directory: string): readonly KnownFile[] {
    const paths = files.map((file) => file.path);
    if (unread.length > 0 || this.#goneSinceMs.size > 0) {
      const isKept = (path: string) =>
        this.#goneSinceMs.has(path) || unread.some((folder) => isUnder(path, folder));
      for (const path of this.#files.keys()) if (isUnder(path, directory) && isKept(path)) paths.push(path);
      paths.sort();
    }
    return paths.map((path) => this.#files.get(path)).filter((file) => file !== undefined);
  }

  #follow(folders: ReadonlyMap<string, string>): void {
    for (const [folder, { watcher, identity }] of this.#watchers) {
      // A folder that another one took the place of has to be watched anew.
      if (folders.get(folder) === identity) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const [folder, identity] of folders) {
      if (identity === '' || this.#watchers.has(folder) || this.#closed) continue;
      try {
        const watcher = watch(folder, { persistent: true }, (event, name) => {
          // What is made anew and written is `rename` and `change`, what is moved in is `rename` alone.
          if (name !== null && event === 'rename') this.#movedIn.add(join(folder, name));
          else if (name !== null) this.#movedIn.delete(join(folder, name));
          this.#soon(EVENT_DEBOUNCE_MS);
        });
        watcher.on('error', () => {
          // The folder went away; the next rescan reports it.
          watcher.close();
          if (this.#watchers.get(folder)?.watcher === watcher) this.#watchers.delete(folder);
        });
        this.#watchers.set(folder, { watcher, identity });
      } catch (thrown) {
        this.#options.log.warn('a folder is followed by rescans only', { folder, error: messageOf(thrown) });
      }
    }
  }

  /** Looks again after this long, or sooner where that was asked for already. */
  #soon(delayMs: number): void {
    const { clock } = this.#options;
    const dueMs = clock.now() + delayMs;
    if (this.#closed || (this.#pending !== undefined && this.#pending.dueMs <= dueMs)) return;
    this.#pending?.timer.cancel();
    const timer = clock.after(
      Math.ceil(delayMs),
      () => {
        this.#pending = undefined;
        this.#changed();
      },
      { background: true },
    );
    this.#pending = { timer, dueMs };
  }

  #changed(): void {
    if (this.#closed) return;
    if (this.rescan()) this.#options.onChange(this.#state);
  }
}

function isUnder(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`);
}
