import { RE2JS } from 're2js';
import { messageOf } from '../../common/errors.ts';

/** An escape: of a character by its number, or any other. */
const ESCAPES = /\\(?:x\{([0-9A-Fa-f]+)\}|.)/gs;
const BYTE_MAX = 0xff;

/** Why a pattern isn't one of RE2, or undefined where it is. */
export function regexProblem(pattern: string): string | undefined {
  try {
    RE2JS.compile(pattern);
  } catch (thrown) {
    return messageOf(thrown).replace(/^error parsing regexp: /, '');
  }
  for (const [written, digits = '0'] of pattern.matchAll(ESCAPES)) {
    if (Number.parseInt(digits, 16) > BYTE_MAX)
      return `no byte is \`${written}\`: write the character itself`;
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
