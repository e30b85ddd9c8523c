// npm run check: format, lint, types, and the project's own rules. Prints every finding with its reason.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkCompiled, checkPlugin } from './check/compiled.ts';
import { checkEffects, checkEnvironment } from './check/effects.ts';
import { listFiles, readSources, type Violation } from './check/files.ts';
import { checkLength, checkLinks, checkReasons, checkUnfinished, checkVersions } from './check/habits.ts';
import { checkRooms } from './check/rooms.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

interface Step {
  readonly name: string;
  run(): boolean;
}

function tool(name: string, file: string, args: readonly string[]): Step {
  return {
    name,
    run: () =>
      spawnSync(process.execPath, [join(root, 'node_modules', file), ...args], {
        cwd: root,
        stdio: 'inherit',
      }).status === 0,
  };
}

function rule(name: string, find: () => readonly Violation[]): Step {
  return {
    name,
    run() {
      const violations = find();
      for (const { path, line, message } of violations) console.log(`${path}:${line}: ${message}`);
      return violations.length === 0;
    },
  };
}

/** Committed binaries against their sources; without the pinned compiler that is proven elsewhere, and said here. */
function compiled(name: string, check: typeof checkCompiled): Step {
  return {
    name,
    run() {
      const { ok, lines } = check(root, process.env.HEDDLE_REQUIRE_ALL_TIERS === '1');
      for (const line of lines) console.log(line);
      return ok;
    },
  };
}

const files = readSources(root);
const read = (path: string) => (existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : '');

const steps: readonly Step[] = [
  tool('format and lint', '@biomejs/biome/bin/biome', [
    'ci',
    '--colors=off',
    '--error-on-warnings',
    '--diagnostic-level=warn',
    '--max-diagnostics=20',
  ]),
  tool('types', 'typescript/bin/tsc', ['-p', '.']),
  rule('rooms import only what they may', () => checkRooms(files)),
  rule('clock, timers, random and dialling only in common/', () => checkEffects(files)),
  rule('environment only in main.ts', () => checkEnvironment(files)),
  rule('files stay small', () => checkLength(files)),
  rule('nothing unfinished', () => checkUnfinished(files)),
  rule('exact versions', () => checkVersions(read('package.json'))),
  rule('a reason for every dependency', () => checkReasons(read('package.json'), read('ARCHITECTURE.md'))),
  rule('links lead somewhere', () => checkLinks(root, listFiles(root))),
  compiled('compiled eBPF is what its sources give', checkCompiled),
  compiled('the CNI plugin is what its sources give', checkPlugin),
  tool('nothing unused', 'knip/bin/knip.js', ['--no-progress']),
];

let failed = 0;
for (const step of steps) {
  const ok = step.run();
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${step.name}`);
  if (!ok) failed++;
}
process.exit(failed === 0 ? 0 : 1);
