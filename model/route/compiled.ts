import type { RequestView } from '../decision-types.ts';
import type { Destination, NamedMatch, RouteEntry, StringMatch } from '../snapshot.ts';
import { matchablePath } from './path.ts';
import { wholeMatcher } from './regex.ts';

type TextTest = (text: string) => boolean;

interface CompiledNamed {
  readonly name: string;
  /** Undefined where `test` decides. */
  readonly exact: string | undefined;
  readonly test: TextTest | undefined;
}

interface CompiledEntry {
  readonly entry: RouteEntry;
  readonly position: number;
  /** Of a prefix: without the slash at its end; `` matches everything. */
  readonly prefix: string | undefined;
  readonly pathTest: TextTest | undefined;
  readonly method: string | undefined;
  readonly headers: readonly CompiledNamed[];
  readonly queryParams: readonly CompiledNamed[];
}

/** The routes of a destination, indexed by exact path; the rest stays a list in order of precedence. */
export class CompiledRoutes {
  readonly #exact = new Map<string, CompiledEntry[]>();
  readonly #rest: CompiledEntry[] = [];

  constructor(entries: readonly RouteEntry[]) {
    for (const [position, entry] of entries.entries()) {
      const compiled = compileEntry(entry, position);
      const { path } = entry.match;
      if (path.kind !== 'exact') this.#rest.push(compiled);
      else {
        const same = this.#exact.get(path.value);
        if (same === undefined) this.#exact.set(path.value, [compiled]);
        else same.push(compiled);
      }
    }
  }

  /** The entry that wins, or undefined where none matches. */
  find(request: RequestView): RouteEntry | undefined {
    const path = matchablePath(request.path);
    const exact = this.#exact.size === 0 ? undefined : this.#exact.get(path);
    let best: CompiledEntry | undefined;
    if (exact !== undefined) {
      for (const entry of exact) {
        if (!conditionsHold(entry, request)) continue;
        best = entry;
        break;
      }
    }
    for (const entry of this.#rest) {
      if (best !== undefined && entry.position > best.position) break;
      if (pathHolds(entry, path) && conditionsHold(entry, request)) return entry.entry;
    }
    return best?.entry;
  }
}

const cache = new WeakMap<Destination, CompiledRoutes>();

/** Compiled at the first request to a destination and kept as long as that very object: a new snapshot brings new ones. */
export function compiledRoutes(destination: Destination): CompiledRoutes {
  let compiled = cache.get(destination);
  if (compiled === undefined) {
    compiled = new CompiledRoutes(destination.entries);
    cache.set(destination, compiled);
  }
  return compiled;
}

function compileEntry(entry: RouteEntry, position: number): CompiledEntry {
  const { path, method, headers, queryParams } = entry.match;
  return {
    entry,
    position,
    prefix: path.kind === 'prefix' ? path.value.replace(/\/$/, '') : undefined,
    pathTest: path.kind === 'regex' ? wholeMatcher(path.value) : undefined,
    method,
    headers: headers.map(compileNamed),
    queryParams: queryParams.map(compileNamed),
  };
}

function compileNamed(named: NamedMatch): CompiledNamed {
  const { kind, value }: StringMatch = named.match;
  return {
    name: named.name,
    exact: kind === 'exact' ? value : undefined,
    test: kind === 'regex' ? wholeMatcher(value) : undefined,
  };
}

const SLASH = 47;

function pathHolds(entry: CompiledEntry, path: string): boolean {
  const { prefix } = entry;
  if (prefix === undefined) return entry.pathTest?.(path) ?? false;
  if (!path.startsWith(prefix)) return false;
  return path.length === prefix.length || path.charCodeAt(prefix.length) === SLASH;
}

function conditionsHold(entry: CompiledEntry, request: RequestView): boolean {
  if (entry.method !== undefined && entry.method !== request.method) return false;
  for (const named of entry.headers) {
    if (!valueHolds(named, request.header(named.name))) return false;
  }
  for (const named of entry.queryParams) {
    if (!valueHolds(named, queryValue(request.query, named.name))) return false;
  }
  return true;
}

function valueHolds(named: CompiledNamed, value: string | undefined): boolean {
  if (value === undefined) return false;
  return named.exact === undefined ? (named.test?.(value) ?? false) : value === named.exact;
}

/** The first value of a parameter, as written; a name without `=` has the empty value. */
export function queryValue(query: string, name: string): string | undefined {
  let start = 0;
  while (start <= query.length) {
    let end = query.indexOf('&', start);
    if (end < 0) end = query.length;
    if (query.startsWith(name, start)) {
      const after = start + name.length;
      if (after === end) return '';
      if (after < end && query.charCodeAt(after) === 61) return query.slice(after + 1, end);
    }
    start = end + 1;
  }
  return undefined;
}
