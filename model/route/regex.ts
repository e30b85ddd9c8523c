import { RE2JS } from 're2js';
import { messageOf } from '../../common/errors.ts';

/**
 * RE2's instructions of one regular expression: what a request costs that it is matched with grows with them and with the text. A
 * repetition counts as often as it may repeat: `[a-z0-9-]{1,63}` has 127.
 */
export const regexProgramSizeMax = 1_000;

/** An escape: of a character by its number, or any other. */
const ESCAPES = /\\(?:x\{([0-9A-Fa-f]+)\}|.)/gs;
const BYTE_MAX = 0xff;

/** What is wrong with a pattern of RE2, as the rest of a sentence; undefined where nothing is. */
export function regexProblem(pattern: string): string | undefined {
  const read = readPattern(pattern);
  return typeof read === 'string' ? read : undefined;
}

/** A test of the whole text against an RE2 pattern; one with a problem (refused when configuration is read) matches nothing. */
export function wholeMatcher(pattern: string): (text: string) => boolean {
  const read = readPattern(pattern);
  return typeof read === 'string' ? () => false : (text) => read.matches(text);
}

/** Compiled for bytes, or what is wrong with it. */
function readPattern(pattern: string): RE2JS | string {
  const notRe2 = (why: string) => `is not a regular expression of RE2: ${why}`;
  let compiled: RE2JS;
  try {
    // First as it is written, for words about it that its writer knows.
    RE2JS.compile(pattern);
    compiled = RE2JS.compile(bytesOf(pattern));
  } catch (thrown) {
    return notRe2(messageOf(thrown).replace(/^error parsing regexp: /, ''));
  }
  const size = compiled.programSize();
  if (size > regexProgramSizeMax)
    return `takes ${size} instructions of RE2, more than ${regexProgramSizeMax}: repeat less`;
  for (const [written, digits = '0'] of pattern.matchAll(ESCAPES)) {
    if (Number.parseInt(digits, 16) > BYTE_MAX)
      return notRe2(`no byte is \`${written}\`: write the character itself`);
  }
  return compiled;
}

/**
 * What a head says is known by its bytes, a character for each, and most clients write UTF-8: so is a pattern, as in Envoy,
 * whose RE2 reads Latin-1.
 */
function bytesOf(pattern: string): string {
  return Buffer.from(pattern, 'utf8').toString('latin1');
}
