import { isUtf8 } from 'node:buffer';
import { readdirSync, readFileSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../common/errors.ts';
import type { Problem } from '../../model/objects.ts';
import type { FileLimits } from './limits.ts';

/** A file as it stands: read again only when its signature changes. */
export interface FoundFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Changes with every save, also one that puts another file in place (ConfigMap mounts, editors). */
  readonly signature: string;
}

export interface ScannedFile extends FoundFile {
  /** When it was last written to, by the wall clock. */
  readonly writtenAtMs: number;
}

export interface Scan {
  readonly files: readonly ScannedFile[];
  /** Every folder met, to be watched, with what tells it from another one put in its place. */
  readonly folders: ReadonlyMap<string, string>;
  /** Folders that couldn't be looked into: nothing is known of what they hold now. */
  readonly unread: readonly string[];
  readonly problems: readonly Problem[];
}

const MANIFEST = /\.(ya?ml|json)$/;
/** Not manifests, though they may lie beside them: the mesh's settings, and what package managers leave. */
export const SETTINGS_FILE = 'mesh.yaml';
const SKIPPED_FOLDERS: ReadonlySet<string> = new Set(['node_modules']);

function wanted(name: string): boolean {
  return MANIFEST.test(name) && !name.startsWith('.') && !name.startsWith('#') && !name.endsWith('~');
}

/** The manifests under a folder, sorted by path. Symbolic links are followed; hidden names and editors' backups are not read. */
export function scanFolder(root: string, limits: FileLimits): Scan {
  return new Scanner(root, limits).scan();
}

class Scanner {
  readonly #root: string;
  readonly #limits: FileLimits;
  readonly #files: ScannedFile[] = [];
  readonly #folders = new Map<string, string>();
  readonly #unread: string[] = [];
  readonly #problems: Problem[] = [];

  constructor(root: string, limits: FileLimits) {
    this.#root = root;
    this.#limits = limits;
  }

  scan(): Scan {
    this.#visit(this.#root, []);
    const { filesMax } = this.#limits;
    const past = this.#files[filesMax];
    if (past !== undefined) {
      this.#report(past.path, `more than ${filesMax} files: this one and later ones are not read`);
    }
    return {
      files: this.#files.slice(0, filesMax).sort((a, b) => (a.path < b.path ? -1 : 1)),
      folders: this.#folders,
      unread: this.#unread,
      problems: this.#problems,
    };
  }

  #report(source: string, message: string): void {
    this.#problems.push({ severity: 'error', source, line: 1, message });
  }

  /** `above` are the identities of the folders that lead here. */
  #visit(folder: string, above: readonly string[]): void {
    const { folderDepthMax, foldersMax, filesMax } = this.#limits;
    if (this.#files.length > filesMax) return;
    try {
      const identity = identityOf(statSync(folder));
      if (above.includes(identity)) {
        this.#report(folder, 'this link leads back to a folder that it is in: not followed');
        return;
      }
      if (above.length > folderDepthMax) {
        this.#report(folder, `folders nested more than ${folderDepthMax} deep: not read`);
        return;
      }
      if (this.#folders.size >= foldersMax) {
        if (this.#folders.size === foldersMax) {
          this.#report(folder, `more than ${foldersMax} folders: this one and later ones are not read`);
        }
        this.#folders.set(folder, '');
        return;
      }
      const names = readdirSync(folder).sort();
      this.#folders.set(folder, identity);
      for (const name of names) this.#look(join(folder, name), name, [...above, identity]);
    } catch (thrown) {
      this.#unread.push(folder);
      this.#report(folder, `the folder can't be read: ${messageOf(thrown)}`);
    }
  }

  #look(path: string, name: string, above: readonly string[]): void {
    if (name.startsWith('.') || SKIPPED_FOLDERS.has(name)) return;
    if (above.length === 1 && name === SETTINGS_FILE) return;
    let stats: Stats | undefined;
    try {
      stats = statSync(path, { throwIfNoEntry: false });
    } catch (thrown) {
      // A link that leads to itself, or through a folder that is closed to us.
      this.#unread.push(path);
      if (wanted(name)) this.#report(path, `can't be read: ${messageOf(thrown)}`);
      return;
    }
    if (stats === undefined) return;
    if (stats.isDirectory()) this.#visit(path, above);
    else if (stats.isFile() && wanted(name) && this.#files.length <= this.#limits.filesMax) {
      const { size, mtimeMs, ctimeMs } = stats;
      const signature = `${identityOf(stats)}:${size}:${mtimeMs}:${ctimeMs}`;
      this.#files.push({ path, sizeBytes: size, signature, writtenAtMs: mtimeMs });
    }
  }
}

function identityOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`;
}

/** A file's text, or why it isn't read. */
export function readManifest(file: FoundFile, limits: FileLimits): { text: string } | { problem: Problem } {
  const problem = (message: string, line = 1): { problem: Problem } => ({
    problem: { severity: 'error', source: file.path, line, message },
  });
  if (file.sizeBytes > limits.fileBytesMax) {
    return problem(`${file.sizeBytes} bytes, ${limits.fileBytesMax} at most: the file is not read; split it`);
  }
  try {
    const bytes = readFileSync(file.path);
    if (isUtf8(bytes)) return { text: new TextDecoder().decode(bytes) };
    return problem(`can't be read: this line is not UTF-8; save the file as that`, lineOfBadBytes(bytes));
  } catch (thrown) {
    return problem(`can't be read: ${messageOf(thrown)}`);
  }
}

const LINE_FEED = 10;

function lineOfBadBytes(bytes: Buffer): number {
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const found = bytes.indexOf(LINE_FEED, start);
    const end = found < 0 ? bytes.length : found;
    if (!isUtf8(bytes.subarray(start, end))) return line;
    start = end + 1;
  }
  return line;
}
