import type {
  Route,
  RouteMatch as RouteMatchProto,
} from '../../common/gen/envoy/config/route/v3/route_components.ts';
import type { StringMatcher } from '../../common/gen/envoy/type/matcher/v3/string.ts';
import type { NamedMatch, PathMatch, RouteMatch, StringMatch } from '../../model/snapshot.ts';
import { ConfigError, onlyFields, type Reader } from './reader.ts';
import { checkRegex } from './regex.ts';

/** Throws `ConfigError` for what can't be honoured; `path` names the route. */
export function decodeMatch(route: Route, metadata: Reader, path: string): RouteMatch {
  const match = route.match;
  if (match === undefined) throw new ConfigError(`${path}.match`, 'is missing');
  onlyFields(match, ['pathSpecifier', 'headers', 'queryParameters'], `${path}.match`);
  let method: string | undefined;
  const [first] = match.headers;
  if (first?.name === ':method') {
    const value = headerMatch(first, `${path}.match.headers[0]`);
    if (value.kind !== 'exact')
      throw new ConfigError(`${path}.match.headers[0]`, 'a method must match exactly');
    method = value.value;
  }
  return {
    path: decodePath(match, metadata, `${path}.match`),
    method,
    headers: match.headers.flatMap((header, index): NamedMatch[] => {
      if (index === 0 && method !== undefined) return [];
      const at = `${path}.match.headers[${index}]`;
      return [{ name: fieldName(header.name, `${at}.name`), match: headerMatch(header, at) }];
    }),
    queryParams: match.queryParameters.map((param, index): NamedMatch => {
      const at = `${path}.match.query_parameters[${index}]`;
      const specifier = param.queryParameterMatchSpecifier;
      if (specifier?.$case !== 'stringMatch') throw new ConfigError(at, 'must be a string_match');
      return { name: param.name, match: stringMatch(specifier.value, at) };
    }),
  };
}

function decodePath(match: RouteMatchProto, metadata: Reader, path: string): PathMatch {
  const specifier = match.pathSpecifier;
  const written = metadata.field('prefix').optionalString();
  switch (specifier?.$case) {
    case 'path':
      return { kind: 'exact', value: specifier.value };
    case 'safeRegex':
      checkRegex(specifier.value.regex, `${path}.safe_regex`);
      return { kind: 'regex', value: specifier.value.regex };
    case 'pathSeparatedPrefix':
      // Envoy takes no slash at the end; the metadata says how the prefix was written.
      if (written !== undefined && written !== `${specifier.value}/`)
        metadata.field('prefix').fail('is another prefix');
      return { kind: 'prefix', value: written ?? specifier.value };
    case 'prefix':
      if (specifier.value === '/') return { kind: 'prefix', value: '/' };
      throw new ConfigError(`${path}.prefix`, 'only "/" is supported; use path_separated_prefix');
    default:
      throw new ConfigError(
        `${path}.path_specifier`,
        `"${specifier?.$case ?? 'none'}" is not supported by this proxy`,
      );
  }
}

/** In lower case. Of the names that stand for parts of a request only the method, as the first, can be matched. */
function fieldName(name: string, path: string): string {
  if (name === '' || name.startsWith(':'))
    throw new ConfigError(path, `"${name}" is not supported by this proxy`);
  return name.toLowerCase();
}

function headerMatch(header: RouteMatchProto['headers'][number], path: string): StringMatch {
  onlyFields(header, ['name', 'headerMatchSpecifier'], path);
  const specifier = header.headerMatchSpecifier;
  if (specifier?.$case !== 'stringMatch') throw new ConfigError(path, 'must be a string_match');
  return stringMatch(specifier.value, path);
}

function stringMatch(matcher: StringMatcher, path: string): StringMatch {
  const pattern = matcher.matchPattern;
  if (matcher.ignoreCase) throw new ConfigError(`${path}.ignore_case`, 'is not supported by this proxy');
  if (pattern?.$case === 'exact') return { kind: 'exact', value: pattern.value };
  if (pattern?.$case === 'safeRegex') {
    checkRegex(pattern.value.regex, `${path}.safe_regex`);
    return { kind: 'regex', value: pattern.value.regex };
  }
  throw new ConfigError(
    `${path}.match_pattern`,
    `"${pattern?.$case ?? 'none'}" is not supported by this proxy`,
  );
}
