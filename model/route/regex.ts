import { RE2JS } from 're2js';
import { messageOf } from '../../common/errors.ts';

/** Why a pattern isn't one of RE2, or undefined where it is. */
export function regexProblem(pattern: string): string | undefined {
  try {
    RE2JS.compile(pattern);
    return undefined;
  } catch (thrown) {
    return messageOf(thrown).replace(/^error parsing regexp: /, '');
  }
}

/** A test of the whole text against an RE2 pattern; one that isn't RE2 (refused when configuration is read) matches nothing. */
export function wholeMatcher(pattern: string): (text: string) => boolean {
  if (regexProblem(pattern) !== undefined) return () => false;
  const compiled = RE2JS.compile(pattern);
  return (text) => compiled.matches(text);
}
