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

export interface Scan {
  readonly files: readonly FoundFile[];
  /** Every folder met, to be watched. */
  readonly folders: readonly string[];
  /** Folders that are there and can't be read: what they held is not gone. */
  readonly unreadable: readonly string[];
  readonly problems: readonly Problem[];
}

const MANIFEST = /\.(ya?ml|json)$/;
/** Not manifests, though they may lie beside them: the mesh's settings, and what package managers leave. */
const SETTINGS_FILE = 'mesh.yaml';
const SKIPPED_FOLDERS: ReadonlySet<string> = new Set(['node_modules']);

function wanted(name: string): boolean {
  return MANIFEST.test(name) && !name.startsWith('.') && !name.startsWith('#') && !name.endsWith('~');
}

/** The manifests under a folder, sorted by path. Symbolic links are followed; hidden names and editors' backups are not read. */
export function scanFolder(root: string, limits: FileLimits): Scan {
  const files: FoundFile[] = [];
  const folders: string[] = [];
  const unreadable: string[] = [];
  const problems: Problem[] = [];
  const report = (source: string, message: string) =>
    problems.push({ severity: 'error', source, line: 1, message });
  const visit = (folder: string, depth: number) => {
    if (depth > limits.folderDepthMax) {
      report(
        folder,
        `folders nested more than ${limits.folderDepthMax} deep (a link that leads back?): not read`,
      );
      return;
    }
    let names: string[];
    try {
      names = readdirSync(folder).sort();
    } catch (thrown) {
      report(folder, `the folder can't be read: ${messageOf(thrown)}`);
      if (codeOf(thrown) !== 'ENOENT') unreadable.push(folder);
      return;
    }
    folders.push(folder);
    for (const name of names) {
      if (name.startsWith('.') || SKIPPED_FOLDERS.has(name) || (depth === 0 && name === SETTINGS_FILE))
        continue;
      const path = join(folder, name);
      let stats: Stats | undefined;
      try {
        stats = statSync(path, { throwIfNoEntry: false });
      } catch (thrown) {
        report(path, `can't be read: ${messageOf(thrown)}`);
        unreadable.push(path);
        continue;
      }
      if (stats === undefined) continue;
      if (stats.isDirectory()) visit(path, depth + 1);
      else if (stats.isFile() && wanted(name)) {
        if (files.length >= limits.filesMax) {
          report(path, `more than ${limits.filesMax} files: this one and later ones are not read`);
          return;
        }
        const signature = `${stats.ino}:${stats.size}:${stats.mtimeMs}:${stats.ctimeMs}`;
        files.push({ path, sizeBytes: stats.size, signature });
      }
    }
  };
  visit(root, 0);
  return { files, folders, unreadable, problems };
}

function codeOf(thrown: unknown): unknown {
  return thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
}

/** A file's text, or why it isn't read. */
export function readManifest(file: FoundFile, limits: FileLimits): { text: string } | { problem: Problem } {
  const problem = (message: string): { problem: Problem } => ({
    problem: { severity: 'error', source: file.path, line: 1, message },
  });
  if (file.sizeBytes > limits.fileBytesMax) {
    return problem(`${file.sizeBytes} bytes, ${limits.fileBytesMax} at most: the file is not read`);
  }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file.path)) };
  } catch (thrown) {
    return problem(`can't be read: ${messageOf(thrown)}`);
  }
}
