import { type FSWatcher, type Stats, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { MeshSettings } from '../../model/mesh.ts';
import type { ObjectOrigin } from '../../model/objects.ts';
import { DEFAULT_MESH_SETTINGS, parseMeshSettings } from '../../model/settings.ts';
import type { SettingsSource, SettingsState } from '../source.ts';
import { lineOfPath, parseChunk, splitDocuments } from './documents.ts';
import { DEFAULT_FILE_LIMITS, EMPTY_FILE_SETTLE_MS, EVENT_DEBOUNCE_MS, RESCAN_MS } from './limits.ts';
import { readManifest } from './scan.ts';

export interface SettingsOptions {
  /** `mesh.yaml`. Where there is none the defaults hold; it may appear later. */
  readonly file: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** After each change; the first state is in `current()` already. */
  onChange(state: SettingsState): void;
}

/** Reads the mesh's settings and follows them. What can't be used keeps its last good value and is reported. */
export function watchSettings(options: SettingsOptions): SettingsSource {
  return new WatchedSettings(options);
}

/** The settings as the file has them now; the defaults where there is none. */
export function loadSettings(file: string, lastGood: MeshSettings = DEFAULT_MESH_SETTINGS): SettingsState {
  const stats = statsOf(file);
  if (typeof stats === 'string') {
    const message = `can't be read: ${stats}`;
    return { settings: lastGood, problems: [{ severity: 'error', source: file, line: 1, message }] };
  }
  if (stats === undefined) return { settings: DEFAULT_MESH_SETTINGS, problems: [] };
  const read = readManifest({ path: file, sizeBytes: stats.size, signature: '' }, DEFAULT_FILE_LIMITS);
  if ('problem' in read) return { settings: lastGood, problems: [read.problem] };
  return readSettings(read.text, file, lastGood);
}

/** Undefined where there is no file, a message where that can't be told. */
function statsOf(file: string): Stats | undefined | string {
  try {
    return statSync(file, { throwIfNoEntry: false });
  } catch (thrown) {
    return messageOf(thrown);
  }
}

/** Settings of a text, field by field over `lastGood`. Problems name `source`, and lines of the text. */
export function readSettings(text: string, source: string, lastGood: MeshSettings): SettingsState {
  const chunks = splitDocuments(text);
  const problem = (line: number, message: string): SettingsState => ({
    settings: lastGood,
    problems: [{ severity: 'error', source, line, message }],
  });
  const [chunk, second] = chunks;
  if (chunk === undefined) return { settings: DEFAULT_MESH_SETTINGS, problems: [] };
  if (second !== undefined)
    return problem(second.line, 'the settings are one document; this is a second one');
  const parsed = parseChunk(chunk, DEFAULT_FILE_LIMITS);
  if (!parsed.ok) return problem(parsed.line, parsed.message);
  const origin: ObjectOrigin = { source, line: chunk.line, lineOf: (path) => lineOfPath(chunk, path) };
  return parseMeshSettings(parsed.value ?? {}, origin, lastGood);
}

class WatchedSettings implements SettingsSource {
  readonly place: string;
  readonly #options: SettingsOptions;
  readonly #ticker: Timer;
  #watcher: FSWatcher | undefined;
  #pending: Timer | undefined;
  #signature: string | undefined;
  /** Editors truncate a file, or put it aside, and then write it: emptiness and absence count only once they last. */
  #goneSinceMs: number | undefined;
  #state: SettingsState = { settings: DEFAULT_MESH_SETTINGS, problems: [] };

  constructor(options: SettingsOptions) {
    this.place = options.file;
    this.#options = options;
    this.#read();
    this.#follow();
    this.#ticker = options.clock.every(RESCAN_MS, () => this.#look());
  }

  current(): SettingsState {
    return this.#state;
  }

  close(): void {
    this.#ticker.cancel();
    this.#pending?.cancel();
    this.#watcher?.close();
  }

  /** The folder is watched, so that a file that is replaced or appears later is seen. */
  #follow(): void {
    const { file, log } = this.#options;
    try {
      this.#watcher = watch(dirname(file), (_event, name) => {
        if (name === null || name === basename(file)) this.#soon(EVENT_DEBOUNCE_MS);
      });
      this.#watcher.on('error', () => this.#watcher?.close());
    } catch (thrown) {
      log.warn('the settings are followed by rescans only', { file, error: messageOf(thrown) });
    }
  }

  #soon(delayMs: number): void {
    this.#pending?.cancel();
    this.#pending = this.#options.clock.after(delayMs, () => this.#look(), { background: true });
  }

  #look(): void {
    if (this.#read()) this.#options.onChange(this.#state);
  }

  /** True where what the file says changed. */
  #read(): boolean {
    const { file, clock } = this.#options;
    const stats = statsOf(file);
    const signature =
      typeof stats === 'object' ? `${stats.ino}:${stats.size}:${stats.mtimeMs}` : (stats ?? '');
    if (signature === this.#signature) {
      this.#goneSinceMs = undefined;
      return false;
    }
    const gone = stats === undefined || (typeof stats === 'object' && stats.size === 0);
    if (gone && this.#signature !== undefined) {
      this.#goneSinceMs ??= clock.now();
      const leftMs = this.#goneSinceMs + EMPTY_FILE_SETTLE_MS - clock.now();
      if (leftMs > 0) {
        this.#soon(leftMs);
        return false;
      }
    }
    this.#goneSinceMs = undefined;
    this.#signature = signature;
    this.#state = loadSettings(file, this.#state.settings);
    return true;
  }
}
