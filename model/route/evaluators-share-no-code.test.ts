import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseSync } from 'oxc-parser';

const HERE = new URL('.', import.meta.url);

/** Everything that a module runs, itself included: its imports and theirs, types apart. Packages by name. */
function runsWith(file: URL, found = new Set<string>()): ReadonlySet<string> {
  found.add(relative(fileURLToPath(new URL('../../', HERE)), fileURLToPath(file)));
  const { module } = parseSync(file.pathname, readFileSync(file, 'utf8'));
  const targets = [
    ...module.staticImports
      .filter(({ entries }) => entries.length === 0 || entries.some((entry) => !entry.isType))
      .map(({ moduleRequest }) => moduleRequest.value),
    ...module.staticExports.flatMap(({ entries }) =>
      entries.flatMap(({ moduleRequest, isType }) => (moduleRequest && !isType ? [moduleRequest.value] : [])),
    ),
  ];
  for (const target of targets) {
    if (!target.startsWith('.')) found.add(target);
    else {
      const next = new URL(target, file);
      const name = relative(fileURLToPath(new URL('../../', HERE)), fileURLToPath(next));
      if (!found.has(name)) runsWith(next, found);
    }
  }
  return found;
}

test('the plain and the compiled evaluator share nothing but types and the library of RE2', () => {
  const plain = runsWith(new URL('./plain.ts', HERE));
  const decide = runsWith(new URL('../decide.ts', HERE));
  assert.deepEqual([...plain], ['model/route/plain.ts', 're2js']);
  assert.ok(
    decide.has('model/route/compiled.ts') && decide.has('model/route/path.ts'),
    [...decide].join(' '),
  );
  assert.deepEqual(
    [...plain].filter((name) => decide.has(name)),
    ['re2js'],
  );
});
