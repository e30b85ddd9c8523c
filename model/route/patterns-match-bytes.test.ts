import assert from 'node:assert/strict';
import { test } from 'node:test';
import { regexProblem, wholeMatcher } from './regex.ts';

/** A text as a head has it, written by a client in UTF-8. */
const utf8 = (text: string) => Buffer.from(text, 'utf8').toString('latin1');

/** What a stock Envoy matches, too. */
const MATCHES: readonly (readonly [pattern: string, text: string, matches: boolean])[] = [
  ['/a|/ab', '/ab', true],
  ['/(a|ab)(c|bcd)', '/abcd', true],
  ['/caf\u00e9', utf8('/caf\u00e9'), true],
  ['/caf\u00e9', '/caf\u00e9', false],
  ['/\u65e5\u672c/.*', utf8('/\u65e5\u672c/x'), true],
  ['/..', utf8('/\u00e9'), true],
  ['/.', utf8('/\u00e9'), false],
  ['/\\xc3\\x{A9}', utf8('/\u00e9'), true],
  ['/caf%C3%A9', '/caf%C3%A9', true],
  ['/%(25)?', '/%25', true],
];
for (const [pattern, text, matches] of MATCHES) {
  test(`${pattern} ${matches ? 'matches' : 'does not match'} ${JSON.stringify(text)}`, () => {
    assert.equal(wholeMatcher(pattern)(text), matches);
  });
}

test('a pattern that repeats too much is refused, one that repeats as names may is not', () => {
  const problem = 'takes 3664 instructions of RE2, more than 1000: repeat less';
  assert.equal(regexProblem('/((a?){30}){30}x'), problem);
  assert.equal(wholeMatcher('/((a?){30}){30}x')('/x'), false);
  for (const pattern of [
    '[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?',
    '/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}',
  ])
    assert.equal(regexProblem(pattern), undefined, pattern);
});

test('a number that no byte has is refused, and an escaped backslash before x is none', () => {
  assert.match(regexProblem('/\\x{100}') ?? '', /no byte is `\\x\{100\}`/);
  assert.equal(wholeMatcher('/\\x{100}')('/\u0100'), false);
  for (const pattern of ['/\\x{ff}', '/\\x{0041}', '/\\\\x{100}', '/x{100}']) {
    assert.equal(regexProblem(pattern), undefined, pattern);
  }
});
