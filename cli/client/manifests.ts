import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { Problem, SourcedObject } from '../../model/objects.ts';
import { parseManifests } from '../../sources/files/parse.ts';
import type { CliContext } from '../context.ts';

export interface ReadManifests {
  readonly objects: readonly SourcedObject[];
  readonly problems: readonly Problem[];
}

/** The objects of `-f` arguments: files, folders (their YAML and JSON files) or `-` for standard input. */
export async function readManifests(files: readonly string[], context: CliContext): Promise<ReadManifests> {
  const objects: SourcedObject[] = [];
  const problems: Problem[] = [];
  for (const file of files) {
    for (const [source, text] of await textsOf(file, context)) {
      const parsed = parseManifests(text, source);
      objects.push(...parsed.objects);
      problems.push(...parsed.problems);
    }
  }
  return { objects, problems };
}

async function textsOf(file: string, context: CliContext): Promise<readonly (readonly [string, string])[]> {
  if (file === '-') return [['standard input', await context.readStdin()]];
  const path = resolve(context.cwd, file);
  try {
    if (!statSync(path).isDirectory()) return [[file, readFileSync(path, 'utf8')]];
    const names = readdirSync(path).filter((name) => /\.(ya?ml|json)$/.test(name) && !name.startsWith('.'));
    return names
      .filter((name) => name !== 'mesh.yaml')
      .toSorted()
      .map((name) => [join(file, name), readFileSync(join(path, name), 'utf8')] as const);
  } catch (thrown) {
    throw new HeddleError('file', `${file}: ${messageOf(thrown)}`);
  }
}

export function problemLine(problem: Problem): string {
  const subject = problem.object === undefined ? '' : `${problem.object}: `;
  const field = problem.field === undefined ? '' : `${problem.field}: `;
  return `${problem.source}:${problem.line}: ${subject}${field}${problem.message}`;
}
