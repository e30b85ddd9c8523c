import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { lineAt, type SourceFile, type Violation } from './files.ts';

const FILE_LINES_MAX = 400;

/** Spelt in halves, so that this file doesn't find itself. */
const UNFINISHED = new RegExp(
  `\\b(${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')}|${'X'.repeat(3)})\\b`,
  'g',
);

export function checkLength(files: readonly SourceFile[]): Violation[] {
  return files
    .map((file) => ({ file, lines: file.text.split('\n').length - 1 }))
    .filter(({ lines }) => lines > FILE_LINES_MAX)
    .map(({ file, lines }) => ({
      path: file.path,
      line: FILE_LINES_MAX,
      message: `${lines} lines, ${FILE_LINES_MAX} at most: one idea a file`,
    }));
}

export function checkUnfinished(files: readonly SourceFile[]): Violation[] {
  return files.flatMap((file) =>
    [...file.text.matchAll(UNFINISHED)].map((match) => ({
      path: file.path,
      line: lineAt(file.text, match.index),
      message: `${match[0]}: finish it, or say in the docs what is missing`,
    })),
  );
}

/** Exact versions in package.json: what was tested is what runs. */
export function checkVersions(packageJson: string): Violation[] {
  const parsed = JSON.parse(packageJson) as Record<string, Record<string, string> | undefined>;
  const violations: Violation[] = [];
  for (const section of ['dependencies', 'devDependencies', 'optionalDependencies']) {
    for (const [name, version] of Object.entries(parsed[section] ?? {})) {
      if (/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) continue;
      const line = lineAt(packageJson, packageJson.indexOf(`"${name}"`));
      violations.push({ path: 'package.json', line, message: `${name} is ${version}: pin an exact version` });
    }
  }
  return violations;
}

/** Every dependency earns its place in one line of ARCHITECTURE.md. */
export function checkReasons(packageJson: string, architecture: string): Violation[] {
  const parsed = JSON.parse(packageJson) as Record<string, Record<string, string> | undefined>;
  const names = ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((section) =>
    Object.keys(parsed[section] ?? {}),
  );
  return names
    .filter((name) => !architecture.includes(`\`${name}\``))
    .map((name) => ({
      path: 'ARCHITECTURE.md',
      line: 1,
      message: `says nothing about the dependency ${name}`,
    }));
}

/** Relative links in Markdown lead somewhere. */
export function checkLinks(root: string, paths: readonly string[]): Violation[] {
  const known = new Set(paths);
  const folders = new Set(
    paths.flatMap((path) => path.split('/').map((_, depth, parts) => parts.slice(0, depth).join('/'))),
  );
  return paths
    .filter((path) => path.endsWith('.md'))
    .flatMap((path) => {
      const text = readFileSync(join(root, path), 'utf8');
      return [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)/g)].flatMap((match) => {
        const target = join(path, '..', match[1] ?? '').replace(/\/$/, '');
        if (known.has(target) || folders.has(target)) return [];
        return [{ path, line: lineAt(text, match.index), message: `the link to ${match[1]} leads nowhere` }];
      });
    });
}
