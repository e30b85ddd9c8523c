import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';

/**
 * A module with one piece of its text replaced: what a test of it must notice. `from` must stand there exactly once, so
 * that a mutant can't silently turn into the original. Its imports are the real modules.
 */
export async function importMutant<Module>(file: URL, from: string, to: string): Promise<Module> {
  const text = readFileSync(file, 'utf8');
  const found = text.split(from).length - 1;
  if (found !== 1)
    throw new Error(`${file.pathname}: ${JSON.stringify(from)} stands there ${found} times, not once`);
  const mutated = stripTypeScriptTypes(text.replace(from, () => to)).replaceAll(
    /(from\s+')(\.[^']+)(')/g,
    (_all, before: string, target: string, after: string) => before + new URL(target, file).href + after,
  );
  return await import(`data:text/javascript,${encodeURIComponent(mutated)}`);
}
