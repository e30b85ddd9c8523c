import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { silentLogger } from '../../common/log.ts';
import type { Problem, SourcedObject } from '../../model/objects.ts';
import { parseManifests } from '../../sources/files/parse.ts';
import { watchFiles } from '../../sources/files/watch.ts';
import type { ObjectsState } from '../../sources/source.ts';
import type { CliContext } from '../context.ts';

/** The objects of `-f` arguments: files, folders (read as `up` reads its own) or `-` for standard input. */
export async function readManifests(files: readonly string[], context: CliContext): Promise<ObjectsState> {
  const objects: SourcedObject[] = [];
  const problems: Problem[] = [];
  for (const file of files) {
    const read = await readOne(file, context);
    objects.push(...read.objects);
    problems.push(...read.problems);
  }
  return { objects, problems };
}

async function readOne(file: string, context: CliContext): Promise<ObjectsState> {
  if (file === '-') return parseManifests(await context.readStdin(), 'standard input');
  const path = resolve(context.cwd, file);
  try {
    if (!statSync(path).isDirectory()) return parseManifests(readFileSync(path, 'utf8'), file);
  } catch (thrown) {
    throw new HeddleError('file', `${file}: ${messageOf(thrown)}`);
  }
  return readFolders([path], context.clock);
}

/** What folders of manifests hold now, later ones over earlier ones, as the mesh itself reads them. */
export async function readFolders(folders: readonly string[], clock: Clock): Promise<ObjectsState> {
  const source = await watchFiles({
    ...{ directories: folders, clock, log: silentLogger },
    onChange: () => undefined,
  });
  source.close();
  return source.current();
}
