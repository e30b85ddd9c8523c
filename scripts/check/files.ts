import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface SourceFile {
  /** From the root of the checkout, with `/`. */
  readonly path: string;
  readonly text: string;
}

/** One finding: where, and what to do. */
export interface Violation {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

const CODE = /\.(ts|mjs|js|c|h|sh)$/;

/** Tracked and new files of the checkout that git doesn't ignore. */
export function listFiles(root: string): string[] {
  const output = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  });
  return output.split('\n').filter((path) => path !== '' && existsSync(join(root, path)));
}

/** Source files that people write: generated code is left out. */
export function readSources(root: string): SourceFile[] {
  return listFiles(root)
    .filter((path) => CODE.test(path) && !path.startsWith('common/gen/'))
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let index = text.indexOf('\n'); index >= 0 && index < offset; index = text.indexOf('\n', index + 1))
    line++;
  return line;
}

/** The room a file belongs to: its first folder. */
export function roomOf(path: string): string {
  return path.split('/')[0] ?? '';
}
