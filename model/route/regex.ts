import { RE2JS } from 're2js';
import { messageOf } from '../../common/errors.ts';
import { regexProgramSizeMax } from '../../common/regex-limits.ts';

/** An escape: of a character by its number, or any other. */
const ESCAPES = /\\(?:x\{([0-9A-Fa-f]+)\}|.)/gs;
const BYTE_MAX = 0xff;

const notRe2 = (why: string) => `is not a regular expression of RE2: ${why}`;

/** What is wrong with a pattern of RE2, as the rest of a sentence; undefined where nothing is. */
export function regexProblem(pattern: string): string | undefined {
  let size: number;
  try {
    size = RE2JS.compile(bytesOf(pattern)).programSize();
    RE2JS.compile(pattern);
  } catch (thrown) {
    return notRe2(messageOf(thrown).replace(/^error parsing regexp: /, ''));
  }
  if (size > regexProgramSizeMax)
    return `takes ${size} instructions of RE2, more than ${regexProgramSizeMax}: repeat less`;
  for (const [written, digits = '0'] of pattern.matchAll(ESCAPES)) {
    if (Number.parseInt(digits, 16) > BYTE_MAX)
      return notRe2(`no byte is \`${written}\`: write the character itself`);
  }
  return undefined;
}

/** A test of the whole text against an RE2 pattern; one that isn't RE2 (refused when configuration is read) matches nothing. */
export function wholeMatcher(pattern: string): (text: string) => boolean {
  if (regexProblem(pattern) !== undefined) return () => false;
  const compiled = RE2JS.compile(bytesOf(pattern));
  return (text) => compiled.matches(text);
}

/**
 * What a head says is known by its bytes, a character for each, and most clients write UTF-8: so is a pattern, as in Envoy,
 * whose RE2 reads Latin-1.
 */
function bytesOf(pattern: string): string {
  return Buffer.from(pattern, 'utf8').toString('latin1');
}
