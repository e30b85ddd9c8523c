import type { HeaderValueOption } from '../../common/gen/envoy/config/core/v3/base.ts';
import { HeaderValueOption_HeaderAppendAction } from '../../common/gen/envoy/config/core/v3/base.ts';
import type { RouteConfiguration } from '../../common/gen/envoy/config/route/v3/route.ts';
import type {
  Route,
  RouteMatch as RouteMatchProto,
  VirtualHost,
} from '../../common/gen/envoy/config/route/v3/route_components.ts';
import type { StringMatcher } from '../../common/gen/envoy/type/matcher/v3/string.ts';
import { INVALID_BACKEND_PREFIX } from '../../common/wire/types.ts';
import { unescapeHeaderValue } from '../../common/wire/values.ts';
import type {
  AppProtocol,
  Destination,
  HeaderEdit,
  NamedMatch,
  PathMatch,
  RouteEntry,
  RouteMatch,
  RouteRule,
  StringMatch,
  WeightedBackend,
} from '../../model/snapshot.ts';
import { requestPolicy, standardPolicy, standardPolicyFromMetadata, wholePolicy } from './policy.ts';
import { ConfigError, heddleMetadataOf, onlyFields, type Reader } from './reader.ts';
import { checkRegex } from './regex.ts';

export const PROTOCOLS: readonly AppProtocol[] = ['http', 'http2', 'grpc', 'tcp', 'tls', 'auto'];
export const matchesPerRuleMax = 1024;

/** A route configuration as the destination it stands for. Throws `ConfigError` for what can't be honoured. */
export function decodeRoutes(config: RouteConfiguration): Destination {
  onlyFields(config, ['name', 'virtualHosts'], 'RouteConfiguration');
  const [host, ...others] = config.virtualHosts;
  if (host === undefined || others.length > 0) {
    throw new ConfigError('virtual_hosts', 'must be exactly one');
  }
  return decodeVirtualHost(host, 'virtual_hosts[0]');
}

function decodeVirtualHost(host: VirtualHost, path: string): Destination {
  onlyFields(host, ['name', 'domains', 'routes', 'metadata'], path);
  const metadata = heddleMetadataOf(host, path);
  return {
    key: host.name,
    namespace: metadata.field('namespace').string(),
    service: metadata.field('service').string(),
    port: metadata.field('port').integer(1, 65_535),
    protocol: metadata.field('protocol').oneOf(PROTOCOLS),
    addresses: metadata.field('addresses').list((item) => item.string()),
    entries: decodeEntries(host.routes, path),
    defaultCluster: metadata.field('defaultCluster').string(),
    policy: wholePolicy(metadata.field('policy')),
  };
}

interface RuleInProgress {
  readonly routes: Route[];
  readonly matches: (RouteMatch | undefined)[];
}

function decodeEntries(routes: readonly Route[], path: string): RouteEntry[] {
  const rules = new Map<string, RuleInProgress>();
  const decoded: { readonly id: string; readonly match: RouteMatch }[] = [];
  for (const [index, route] of routes.entries()) {
    const at = `${path}.routes[${index}]`;
    onlyFields(route, ROUTE_FIELDS, at);
    const metadata = heddleMetadataOf(route, at);
    if (!metadata.field('default').absent) continue;
    const match = decodeMatch(route, metadata, at);
    const info = metadata.field('rule');
    const count = info.field('matches').integer(1, matchesPerRuleMax);
    let rule = rules.get(route.name);
    if (rule === undefined) {
      rule = { routes: [route], matches: new Array<RouteMatch | undefined>(count).fill(undefined) };
      rules.set(route.name, rule);
    }
    rule.matches[info.field('match').integer(0, count - 1)] = match;
    decoded.push({ id: route.name, match });
  }
  const finished = new Map(
    [...rules].map(([id, rule]) => [id, decodeRule(id, rule, `${path}.routes["${id}"]`)]),
  );
  return decoded.map(({ id, match }) => {
    const rule = finished.get(id);
    if (rule === undefined) throw new ConfigError(`${path}.routes`, `rule "${id}" is incomplete`);
    return { match, rule };
  });
}

const ROUTE_FIELDS = [
  'name',
  'match',
  'action',
  'metadata',
  'requestHeadersToAdd',
  'requestHeadersToRemove',
  'responseHeadersToAdd',
  'responseHeadersToRemove',
];

function decodeRule(id: string, progress: RuleInProgress, path: string): RouteRule {
  const matches = progress.matches.map((match) => {
    if (match === undefined) throw new ConfigError(path, 'lacks one of its matches');
    return match;
  });
  const [route] = progress.routes;
  if (route === undefined) throw new ConfigError(path, 'is empty');
  const metadata = heddleMetadataOf(route, path);
  const info = metadata.field('rule');
  return {
    id,
    matches,
    requestHeaders: headerEdit(
      metadata.field('requestHeaders'),
      route.requestHeadersToAdd,
      route.requestHeadersToRemove,
      `${path}.request_headers_to_add`,
    ),
    responseHeaders: headerEdit(
      metadata.field('responseHeaders'),
      route.responseHeadersToAdd,
      route.responseHeadersToRemove,
      `${path}.response_headers_to_add`,
    ),
    backends: decodeBackends(route, metadata, path),
    policy: decodePolicy(route, metadata, path),
    createdAtMs: info.field('createdAtMs').number(-8.64e15, 8.64e15),
    object: info.field('object').string(),
    ruleIndex: info.field('index').integer(0, 65_535),
  };
}

function decodePolicy(route: Route, metadata: Reader, path: string) {
  const standard =
    route.action?.$case === 'route'
      ? standardPolicy(route.action.value, `${path}.route`)
      : standardPolicyFromMetadata(metadata.field('action'));
  return requestPolicy(standard, metadata.field('policy'));
}

/** Metadata names each backend and why it is invalid; the weighted clusters that Envoy reads must say the same. */
function decodeBackends(route: Route, metadata: Reader, path: string): WeightedBackend[] {
  const backends = metadata.field('backends').list((item) => ({
    cluster: item.field('cluster').string(),
    weight: item.field('weight').integer(0, 1_000_000),
    invalid: item.field('invalid').optionalString(),
  }));
  if (route.action?.$case === 'directResponse') return backends;
  if (route.action?.$case !== 'route') {
    throw new ConfigError(
      `${path}.action`,
      `"${route.action?.$case ?? 'none'}" is not supported by this proxy`,
    );
  }
  const action = route.action.value;
  onlyFields(action, ACTION_FIELDS, `${path}.route`);
  if (action.clusterSpecifier?.$case !== 'weightedClusters') {
    throw new ConfigError(`${path}.route.cluster_specifier`, 'must be weighted_clusters');
  }
  const said = action.clusterSpecifier.value.clusters.map(({ name, weight }) => `${name}=${weight ?? 0}`);
  const meant = backends.map(
    ({ cluster, weight, invalid }) =>
      `${invalid === undefined ? '' : INVALID_BACKEND_PREFIX}${cluster}=${weight}`,
  );
  if (said.join() !== meant.join()) {
    throw new ConfigError(`${path}.route.weighted_clusters`, 'differs from the backends in its metadata');
  }
  return backends;
}

const ACTION_FIELDS = [
  'clusterSpecifier',
  'clusterNotFoundResponseCode',
  'timeout',
  'idleTimeout',
  'retryPolicy',
  'hashPolicy',
];

function decodeMatch(route: Route, metadata: Reader, path: string): RouteMatch {
  const match = route.match;
  if (match === undefined) throw new ConfigError(`${path}.match`, 'is missing');
  onlyFields(match, ['pathSpecifier', 'headers', 'queryParameters'], `${path}.match`);
  const headers = [...match.headers];
  let method: string | undefined;
  const first = headers[0];
  if (first?.name === ':method') {
    const value = headerMatch(first, `${path}.match.headers[0]`);
    if (value.kind !== 'exact')
      throw new ConfigError(`${path}.match.headers[0]`, 'a method must match exactly');
    method = value.value;
    headers.shift();
  }
  return {
    path: decodePath(match, metadata, `${path}.match`),
    method,
    headers: headers.map(
      (header, index): NamedMatch => ({
        name: header.name,
        match: headerMatch(header, `${path}.match.headers[${index}]`),
      }),
    ),
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

function headerEdit(
  present: Reader,
  additions: readonly HeaderValueOption[],
  remove: readonly string[],
  path: string,
): HeaderEdit | undefined {
  if (present.absent && additions.length === 0 && remove.length === 0) return undefined;
  const set: [string, string][] = [];
  const add: [string, string][] = [];
  for (const [index, option] of additions.entries()) {
    const at = `${path}[${index}]`;
    const value = unescapeHeaderValue(option.header?.value ?? '');
    if (option.header === undefined || value === undefined) {
      throw new ConfigError(at, 'must be a literal header');
    }
    if (option.appendAction === HeaderValueOption_HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD) {
      set.push([option.header.key, value]);
    } else if (option.appendAction === HeaderValueOption_HeaderAppendAction.APPEND_IF_EXISTS_OR_ADD) {
      add.push([option.header.key, value]);
    } else {
      throw new ConfigError(`${at}.append_action`, 'is not supported by this proxy');
    }
  }
  return { set, add, remove: [...remove] };
}
