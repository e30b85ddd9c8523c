import { lineAt, roomOf, type SourceFile, type Violation } from './files.ts';

interface EffectRule {
  readonly pattern: RegExp;
  readonly message: string;
}

const REAL_EFFECTS: readonly EffectRule[] = [
  { pattern: /\bDate\.now\(/g, message: 'Date.now: take a Clock, so that time can be virtual in tests' },
  { pattern: /\bnew Date\(\)/g, message: 'new Date() reads the clock: take a Clock' },
  { pattern: /\bperformance\.now\(/g, message: 'performance.now: take a Clock' },
  { pattern: /(?<![.\w])(setTimeout|setInterval)\(/g, message: 'a real timer: take a Clock' },
  { pattern: /from 'node:timers(\/promises)?'/g, message: 'node:timers: take a Clock' },
  { pattern: /(?<!new )\bDate\(\)|\bDate\[|\}\s*=\s*Date\b/g, message: 'Date reads the clock: take a Clock' },
  { pattern: /\bprocess\.hrtime\b/g, message: 'process.hrtime: take a Clock' },
  {
    pattern: /\bglobalThis\.(setTimeout|setInterval|fetch|Date|performance)\b/g,
    message: 'a real clock, timer or dial by another name: take a Clock or a Dialer',
  },
  { pattern: /\bMath\.random\(/g, message: 'Math.random: take a Random, so that a run can be replayed' },
  {
    pattern: /\bnet\.(connect|createConnection)\(/g,
    message: 'a real dial: take a Dialer, so that tests need no network',
  },
  {
    pattern: /import \{[^}]*\b(connect|createConnection)\b[^}]*\} from 'node:(net|tls)'/g,
    message: 'a real dial by another name: take a Dialer',
  },
  { pattern: /(?<![.\w])fetch\(/g, message: 'fetch dials by itself: take a Dialer' },
];

/** Rooms under the rule; the shipped programs of demo/, the launcher, scripts and tests meet the real world by design. */
const BOUND_ROOMS: readonly string[] = [
  'model',
  'proxy',
  'sources',
  'control-plane',
  'injector',
  'cni',
  'cli',
];

/** Browser code: its clock is the page's. */
const PAGE_CODE = 'control-plane/dashboard/app/';

function bound(file: SourceFile): boolean {
  return (
    BOUND_ROOMS.includes(roomOf(file.path)) &&
    file.path.endsWith('.ts') &&
    !file.path.endsWith('.test.ts') &&
    !file.path.startsWith(PAGE_CODE)
  );
}

/** Clock, timers, random and dialling stand in common/ only. */
export function checkEffects(files: readonly SourceFile[]): Violation[] {
  return files.filter(bound).flatMap((file) =>
    REAL_EFFECTS.flatMap(({ pattern, message }) =>
      [...withoutComments(file.text).matchAll(pattern)].map((match) => ({
        path: file.path,
        line: lineAt(file.text, match.index),
        message,
      })),
    ),
  );
}

/** The environment is read where a process starts, and handed on as values. */
export function checkEnvironment(files: readonly SourceFile[]): Violation[] {
  return files
    .filter((file) => bound(file) && !file.path.endsWith('/main.ts'))
    .flatMap((file) =>
      [...withoutComments(file.text).matchAll(/\bprocess(\.env\b|\[)|\benv\b[^=\n]*\}\s*=\s*process\b/g)].map(
        (match) => ({
          path: file.path,
          line: lineAt(file.text, match.index),
          message: 'process.env is read in main.ts only: take the value as a parameter',
        }),
      ),
    );
}

/** Blanks comments, keeping offsets. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|(?<![:'"`\w/])\/\/[^\n]*/g, (comment) =>
    comment.replace(/[^\n]/g, ' '),
  );
}
