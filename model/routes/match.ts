import type { Fields } from '../read/fields.ts';
import { regexProblem } from '../route/regex.ts';
import type { HeaderEdit, NamedMatch, PathMatch, RouteMatch, StringMatch } from '../snapshot.ts';

const PATH_LENGTH_MAX = 1024;
const VALUE_LENGTH_MAX = 4096;
const CONDITIONS_MAX = 16;
const EDITS_MAX = 16;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] as const;
const TOKEN = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}$/;
/** Path characters of the Gateway API's own validation: RFC 3986 pchar and the slash. */
const PATH = /^\/(?:[A-Za-z0-9/\-._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$/;
/** RFC 9110, section 5.5: no control characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const FIELD_VALUE = /^[^\x00-\x08\x0a-\x1f\x7f]*$/;

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
  if (!PATH.test(value)) from.error(['value'], 'must be an absolute path of path characters');
  else if (/\/\/|\/\.{1,2}(\/|$)|%2f/i.test(value)) {
    from.error(['value'], 'must not contain //, /./, /../ or %2f');
  }
  return { kind: type === 'Exact' ? 'exact' : 'prefix', value };
}

function checkRegex(from: Fields, value: string): void {
  const problem = regexProblem(value);
  if (problem !== undefined) from.error(['value'], `is not an RE2 regular expression: ${problem}`);
}

/** The first of entries with one name counts (Gateway API); the names of headers don't differ by case. */
function readNamed(from: Fields, field: string, isHeader: boolean): readonly NamedMatch[] {
  const found = new Map<string, NamedMatch>();
  for (const entry of from.objects(field, CONDITIONS_MAX)) {
    const type = entry.choice('type', ['Exact', 'RegularExpression'] as const) ?? 'Exact';
    const given = entry.required('name', 256);
    const value = entry.required('value', isHeader ? VALUE_LENGTH_MAX : 1024);
    entry.finish();
    if (given !== undefined && !TOKEN.test(given))
      entry.error(['name'], 'must be a name of token characters');
    if (given === undefined || value === undefined) continue;
    const name = isHeader ? given.toLowerCase() : given;
    if (type === 'RegularExpression') checkRegex(entry, value);
    const match: StringMatch = { kind: type === 'Exact' ? 'exact' : 'regex', value };
    if (!found.has(name)) found.set(name, { name, match });
  }
  return [...found.values()];
}

export interface Filters {
  readonly requestHeaders: HeaderEdit | undefined;
  readonly responseHeaders: HeaderEdit | undefined;
}

/** Header modifiers; every other filter is refused by name. */
export function readFilters(rule: Fields): Filters {
  let requestHeaders: HeaderEdit | undefined;
  let responseHeaders: HeaderEdit | undefined;
  for (const filter of rule.objects('filters', 16)) {
    const type = filter.required('type');
    if (type === 'RequestHeaderModifier') {
      if (requestHeaders !== undefined) filter.error(['type'], 'must not be repeated');
      requestHeaders = readEdit(filter, 'requestHeaderModifier');
    } else if (type === 'ResponseHeaderModifier') {
      if (responseHeaders !== undefined) filter.error(['type'], 'must not be repeated');
      responseHeaders = readEdit(filter, 'responseHeaderModifier');
    } else if (type !== undefined) {
      filter.error(
        ['type'],
        `${type} is not supported: RequestHeaderModifier and ResponseHeaderModifier are`,
      );
      continue;
    }
    filter.finish();
  }
  return { requestHeaders, responseHeaders };
}

function readEdit(filter: Fields, field: string): HeaderEdit {
  if (!filter.has(field)) filter.error([field], 'is required with this type');
  const from = filter.object(field);
  const seen = new Set<string>();
  const once = (name: string, report: (message: string) => void) => {
    if (!TOKEN.test(name)) report('must be a header name');
    if (FORBIDDEN.has(name.toLowerCase())) report(`must not be ${name}, which frames or directs the message`);
    if (seen.has(name.toLowerCase())) report(`${name} is edited twice`);
    seen.add(name.toLowerCase());
  };
  const pairs = (list: string) =>
    from.objects(list, EDITS_MAX).flatMap((entry): [string, string][] => {
      const name = entry.required('name', 256);
      const value = entry.required('value', VALUE_LENGTH_MAX);
      entry.finish();
      if (name !== undefined) once(name, (message) => entry.error(['name'], message));
      if (value !== undefined && !FIELD_VALUE.test(value))
        entry.error(['value'], 'must not have control characters');
      return name === undefined || value === undefined ? [] : [[name, value]];
    });
  const edit = { set: pairs('set'), add: pairs('add'), remove: readRemove(from, once) };
  from.finish();
  return edit;
}

const FORBIDDEN = new Set(['connection', 'content-length', 'transfer-encoding', 'upgrade', 'te', 'trailer']);

function readRemove(
  from: Fields,
  once: (name: string, report: (message: string) => void) => void,
): readonly string[] {
  return from.list('remove', EDITS_MAX).flatMap(({ value, path }) => {
    const report = (message: string) => {
      from.errors.push({ path, message });
    };
    if (typeof value !== 'string') {
      report('must be a string');
      return [];
    }
    once(value, report);
    return [value.toLowerCase()];
  });
}
