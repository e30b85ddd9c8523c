import { type FSWatcher, watch } from 'node:fs';
import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { Problem, SourcedObject } from '../../model/objects.ts';
import { Generations } from './generations.ts';
import { type FileContent, keepContent, mergeContent, NO_CONTENT } from './last-good.ts';
import {
  DEFAULT_FILE_LIMITS,
  EMPTY_FILE_SETTLE_MS,
  EVENT_DEBOUNCE_MS,
  type FileLimits,
  RESCAN_MS,
} from './limits.ts';
import { overlay } from './overlay.ts';
import { parseDocuments } from './parse.ts';
import { type FoundFile, readManifest, type Scan, scanFolder } from './scan.ts';

/** Everything the folders hold at one moment. Objects' order is stable: by folder, then path, then place in the file. */
export interface FilesState {
  readonly objects: readonly SourcedObject[];
  readonly problems: readonly Problem[];
}

export interface FilesSource {
  current(): FilesState;
  close(): void;
}

export interface WatchOptions {
  /** Later folders override earlier ones, object by object. A folder may appear later. */
  readonly directories: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: Partial<FileLimits>;
  /** After each change that matters; the first state is in `current()` already. */
  onChange(state: FilesState): void;
}

interface KnownFile {
  readonly signature: string;
  readonly content: FileContent;
  /** Since when the file has been empty while its last content is kept. */
  readonly emptySinceMs: number | undefined;
}

/**
 * Reads folders of manifests and follows them. A document that is broken or half-written leaves its last good version
 * and everything else in force, and is reported with file and line. The first load is complete on return.
 */
export async function watchFiles(options: WatchOptions): Promise<FilesSource> {
  const source = new WatchedFolders(options);
  source.rescan();
  return source;
}

class WatchedFolders implements FilesSource {
  readonly #options: WatchOptions;
  readonly #limits: FileLimits;
  readonly #files = new Map<string, KnownFile>();
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #generations = new Generations();
  readonly #ticker: Timer;
  #pending: Timer | undefined;
  #state: FilesState = { objects: [], problems: [] };
  #print = '';
  #closed = false;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_FILE_LIMITS, ...options.limits };
    this.#ticker = options.clock.every(RESCAN_MS, () => this.#changed());
  }

  current(): FilesState {
    return this.#state;
  }

  close(): void {
    this.#closed = true;
    this.#ticker.cancel();
    this.#pending?.cancel();
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  rescan(): boolean {
    const scans = this.#options.directories.map((directory) => scanFolder(directory, this.#limits));
    const paths = scans.map((scan) => this.#pathsOf(scan));
    const found = new Set(paths.flat());
    let changed = false;
    for (const path of this.#files.keys()) {
      if (found.has(path)) continue;
      this.#files.delete(path);
      changed = true;
    }
    for (const file of scans.flatMap((scan) => scan.files)) if (this.#read(file)) changed = true;
    this.#follow(new Set(scans.flatMap((scan) => scan.folders)));

    const merged = overlay(paths.map((own) => own.flatMap((path) => this.#objectsOf(path))));
    const problems = [
      ...scans.flatMap((scan) => scan.problems),
      ...[...found].flatMap((path) => this.#files.get(path)?.content.problems ?? []),
      ...merged.problems,
    ];
    const print = JSON.stringify(problems.map((problem) => [problem.source, problem.line, problem.message]));
    if (!changed && print === this.#print) return false;
    this.#print = print;
    this.#state = { objects: this.#generations.apply(merged.objects), problems };
    return true;
  }

  /** The files of a folder in order, those included that can't be looked at now: they keep what they held. */
  #pathsOf(scan: Scan): string[] {
    const hidden = [...this.#files.keys()].filter((path) =>
      scan.unreadable.some((place) => path === place || path.startsWith(`${place}/`)),
    );
    return [...scan.files.map(({ path }) => path), ...hidden].sort();
  }

  #objectsOf(path: string): readonly SourcedObject[] {
    return this.#files.get(path)?.content.documents.flat() ?? [];
  }

  /** True where what the file contributes changed. */
  #read(file: FoundFile): boolean {
    const known = this.#files.get(file.path);
    const now = this.#options.clock.now();
    const waiting = known?.emptySinceMs;
    if (known?.signature === file.signature) {
      if (waiting === undefined || now - waiting < EMPTY_FILE_SETTLE_MS) return false;
    } else if (file.sizeBytes === 0 && known !== undefined && known.content.documents.length > 0) {
      this.#files.set(file.path, { ...known, signature: file.signature, emptySinceMs: waiting ?? now });
      this.#options.clock.after(EMPTY_FILE_SETTLE_MS + 1, () => this.#changed(), { background: true });
      return false;
    }
    const previous = known?.content ?? NO_CONTENT;
    const read = readManifest(file, this.#limits);
    const content =
      'problem' in read
        ? keepContent(previous, read.problem)
        : mergeContent(previous, parseDocuments(read.text, file.path, this.#limits));
    this.#files.set(file.path, { signature: file.signature, content, emptySinceMs: undefined });
    return true;
  }

  #follow(folders: ReadonlySet<string>): void {
    for (const [folder, watcher] of this.#watchers) {
      if (folders.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of folders) {
      if (this.#watchers.has(folder) || this.#closed) continue;
      try {
        const watcher = watch(folder, { persistent: true }, () => this.#soon());
        watcher.on('error', () => {
          // The folder went away; the next rescan reports it.
          watcher.close();
          this.#watchers.delete(folder);
        });
        this.#watchers.set(folder, watcher);
      } catch (thrown) {
        this.#options.log.warn('a folder is followed by rescans only', { folder, error: messageOf(thrown) });
      }
    }
  }

  #soon(): void {
    if (this.#closed || this.#pending !== undefined) return;
    this.#pending = this.#options.clock.after(EVENT_DEBOUNCE_MS, () => {
      this.#pending = undefined;
      this.#changed();
    });
  }

  #changed(): void {
    if (this.#closed) return;
    if (this.rescan()) this.#options.onChange(this.#state);
  }
}
