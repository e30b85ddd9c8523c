import type { Fields } from '../read/fields.ts';
import { regexProblem } from '../route/regex.ts';
import type { NamedMatch, PathMatch, RouteMatch, StringMatch } from '../snapshot.ts';
import { checkHeaderValue, TOKEN } from './header-edits.ts';

const PATH_LENGTH_MAX = 1024;
const HEADER_LENGTH_MAX = 4096;
const QUERY_LENGTH_MAX = 1024;
const CONDITIONS_MAX = 16;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] as const;
/** Path characters of the Gateway API's own validation: RFC 3986 pchar and the slash. */
const PATH = /^\/(?:[A-Za-z0-9/\-._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$/;
/** What no query holds undecoded: blanks, control and non-ASCII characters, and what ends a parameter. */
const NOT_IN_QUERIES = /[^!-~]|[#&]/;

export const EVERYTHING: RouteMatch = {
  path: { kind: 'prefix', value: '/' },
  method: undefined,
  headers: [],
  queryParams: [],
};

export function readMatch(from: Fields): RouteMatch {
  const match = {
    path: readPath(from.object('path')),
    method: from.choice('method', METHODS),
    headers: readNamed(from, 'headers', true),
    queryParams: readNamed(from, 'queryParams', false),
  };
  from.finish();
  return match;
}

function readPath(from: Fields): PathMatch {
  const type = from.choice('type', ['Exact', 'PathPrefix', 'RegularExpression'] as const) ?? 'PathPrefix';
  const value = from.string('value', PATH_LENGTH_MAX) ?? '/';
  from.finish();
  if (type === 'RegularExpression') {
    checkRegex(from, value);
    return { kind: 'regex', value };
  }
  const problem = pathProblem(value);
  if (problem !== undefined) from.error(['value'], problem);
  return { kind: type === 'Exact' ? 'exact' : 'prefix', value };
}

/** Why a text isn't a path that can be matched or written, or undefined where it is one. */
export function pathProblem(value: string): string | undefined {
  if (!PATH.test(value)) return 'must be an absolute path of path characters';
  return /\/\/|\/\.{1,2}(\/|$)|%2f/i.test(value) ? 'must not contain //, /./, /../ or %2f' : undefined;
}

function checkRegex(from: Fields, value: string): void {
  const problem = regexProblem(value);
  if (problem !== undefined) from.error(['value'], problem);
}

/** The first of entries with one name counts (Gateway API); the names of headers don't differ by case. */
function readNamed(from: Fields, field: string, isHeader: boolean): readonly NamedMatch[] {
  const found = new Map<string, NamedMatch>();
  for (const entry of from.objects(field, CONDITIONS_MAX)) {
    const type = entry.choice('type', ['Exact', 'RegularExpression'] as const) ?? 'Exact';
    const given = entry.required('name', 256);
    const value = entry.required('value', isHeader ? HEADER_LENGTH_MAX : QUERY_LENGTH_MAX);
    entry.finish();
    if (given !== undefined && !TOKEN.test(given))
      entry.error(['name'], 'must be a name of token characters');
    if (given === undefined || value === undefined) continue;
    const name = isHeader ? given.toLowerCase() : given;
    if (type === 'RegularExpression') checkRegex(entry, value);
    if (isHeader) checkHeaderValue(entry, value);
    else if (type === 'Exact' && NOT_IN_QUERIES.test(value)) {
      entry.error(['value'], 'can match no query: queries are compared as written, with %20 for a blank');
    }
    const match: StringMatch = { kind: type === 'Exact' ? 'exact' : 'regex', value };
    if (!found.has(name)) found.set(name, { name, match });
  }
  return [...found.values()];
}
