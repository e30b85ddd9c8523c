import { isDeepStrictEqual } from 'node:util';
import { METADATA_KEY } from '../../common/contracts.ts';
import type { HeaderValueOption } from '../../common/gen/envoy/config/core/v3/base.ts';
import { HeaderValueOption_HeaderAppendAction } from '../../common/gen/envoy/config/core/v3/base.ts';
import type { RouteConfiguration } from '../../common/gen/envoy/config/route/v3/route.ts';
import type {
  Route,
  RouteAction,
  VirtualHost,
} from '../../common/gen/envoy/config/route/v3/route_components.ts';
import { INVALID_BACKEND_PREFIX } from '../../common/wire/types.ts';
import { unescapeHeaderValue } from '../../common/wire/values.ts';
import type {
  Destination,
  HeaderEdit,
  RouteEntry,
  RouteMatch,
  RouteRule,
  WeightedBackend,
} from '../../model/snapshot.ts';
import { decodeMatch } from './matches.ts';
import { requestPolicy, standardPolicy, standardPolicyFromMetadata, wholePolicy } from './policy.ts';
import { PROTOCOLS } from './protocols.ts';
import { ConfigError, heddleMetadataOf, onlyFields, type Reader, sameName } from './reader.ts';

export const matchesPerRuleMax = 1024;

/** A route configuration as the destination it stands for. Throws `ConfigError` for what can't be honoured. */
export function decodeRoutes(config: RouteConfiguration): Destination {
  onlyFields(config, ['name', 'virtualHosts'], 'RouteConfiguration');
  const [host, ...others] = config.virtualHosts;
  if (host === undefined || others.length > 0) {
    throw new ConfigError('virtual_hosts', 'must be exactly one');
  }
  sameName(host.name, config.name, 'virtual_hosts[0].name');
  return decodeVirtualHost(host, 'virtual_hosts[0]');
}

function decodeVirtualHost(host: VirtualHost, path: string): Destination {
  onlyFields(host, ['name', 'domains', 'routes', 'metadata'], path);
  const metadata = heddleMetadataOf(host, path);
  const defaultCluster = metadata.field('defaultCluster').string();
  if (host.domains.join() !== '*') throw new ConfigError(`${path}.domains`, 'must be "*"');
  return {
    key: host.name,
    namespace: metadata.field('namespace').string(),
    service: metadata.field('service').string(),
    port: metadata.field('port').integer(1, 65_535),
    protocol: metadata.field('protocol').oneOf(PROTOCOLS),
    addresses: metadata.field('addresses').list((item) => item.string()),
    entries: decodeEntries(host.routes, defaultCluster, path),
    defaultCluster,
    policy: wholePolicy(metadata.field('policy')),
  };
}

interface RuleInProgress {
  /** The first that names the rule: what the others must say, too, but for their match. */
  readonly route: Route;
  readonly info: Reader;
  readonly matches: (RouteMatch | undefined)[];
}

function decodeEntries(routes: readonly Route[], defaultCluster: string, path: string): RouteEntry[] {
  const [only, ...others] = routes;
  if (only === undefined) throw new ConfigError(`${path}.routes`, 'must hold at least one');
  if (others.length === 0 && isDefault(only, defaultCluster, `${path}.routes[0]`)) return [];
  const rules = new Map<string, RuleInProgress>();
  const decoded: { readonly id: string; readonly match: RouteMatch }[] = [];
  for (const [index, route] of routes.entries()) {
    const at = `${path}.routes[${index}]`;
    onlyFields(route, ROUTE_FIELDS, at);
    const metadata = heddleMetadataOf(route, at);
    if (!metadata.field('default').absent) {
      throw new ConfigError(at, 'a default route stands alone, since rules leave nothing to it');
    }
    const match = decodeMatch(route, metadata, at);
    const info = metadata.field('rule');
    const count = info.field('matches').integer(1, matchesPerRuleMax);
    let rule = rules.get(route.name);
    if (rule === undefined) {
      rule = { route, info, matches: new Array<RouteMatch | undefined>(count).fill(undefined) };
      rules.set(route.name, rule);
    } else if (count !== rule.matches.length || !sameButMatch(route, rule.route)) {
      throw new ConfigError(at, `says something else of rule "${route.name}" than the route before it`);
    }
    const which = info.field('match').integer(0, count - 1);
    if (rule.matches[which] !== undefined) info.field('match').fail('is there twice');
    rule.matches[which] = match;
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

/** What a destination without rules is served by: everything goes to its own cluster. */
function isDefault(route: Route, cluster: string, path: string): boolean {
  const metadata = heddleMetadataOf(route, path);
  if (metadata.field('default').absent) return false;
  if (!metadata.field('default').boolean()) metadata.field('default').fail('must be true or left out');
  onlyFields(route, ['name', 'match', 'action', 'metadata'], path);
  const specifier = route.match?.pathSpecifier;
  if (specifier?.$case !== 'prefix' || specifier.value !== '/') {
    throw new ConfigError(`${path}.match`, 'a default route must match the prefix "/"');
  }
  if (route.action?.$case !== 'route') throw new ConfigError(`${path}.action`, 'must be a route');
  const backend = {
    cluster,
    weight: 1,
    invalid: undefined,
    requestHeaders: undefined,
    responseHeaders: undefined,
  };
  checkClusters(route.action.value, [backend], `${path}.route`);
  return true;
}

/** Routes of one rule differ by their match only, and by what the metadata says about it. */
function sameButMatch(left: Route, right: Route): boolean {
  const rest = ({ match, metadata, ...others }: Route) => {
    const { rule, prefix, ...own }: { [key: string]: unknown } = {
      ...metadata?.filterMetadata[METADATA_KEY],
    };
    return { others, own, rule: typeof rule === 'object' ? { ...rule, match: undefined } : rule };
  };
  return isDeepStrictEqual(rest(left), rest(right));
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
  const { route, info } = progress;
  const metadata = heddleMetadataOf(route, path);
  return {
    id,
    matches,
    requestHeaders: withHost(
      headerEdit(
        metadata.field('requestHeaders'),
        route.requestHeadersToAdd,
        route.requestHeadersToRemove,
        `${path}.request_headers_to_add`,
      ),
      metadata.field('host'),
    ),
    responseHeaders: withHost(
      headerEdit(
        metadata.field('responseHeaders'),
        route.responseHeadersToAdd,
        route.responseHeadersToRemove,
        `${path}.response_headers_to_add`,
      ),
      metadata.field('responseHost'),
    ),
    redirect: undefined,
    rewrite: undefined,
    mirrors: [],
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
    requestHeaders: undefined,
    responseHeaders: undefined,
  }));
  if (route.action?.$case === 'directResponse') {
    const { status, body } = route.action.value;
    // The answer to a rule that leads nowhere is made here, so it must be the one that Envoy was told.
    if (status !== 500 || body !== undefined || backends.some(({ weight }) => weight > 0)) {
      throw new ConfigError(
        `${path}.direct_response`,
        'is only supported as 500 without a body, for no backend',
      );
    }
    return backends;
  }
  if (route.action?.$case !== 'route') {
    throw new ConfigError(
      `${path}.action`,
      `"${route.action?.$case ?? 'none'}" is not supported by this proxy`,
    );
  }
  checkClusters(route.action.value, backends, `${path}.route`);
  return backends;
}

function checkClusters(action: RouteAction, backends: readonly WeightedBackend[], path: string): void {
  onlyFields(action, ACTION_FIELDS, path);
  if (action.clusterSpecifier?.$case !== 'weightedClusters') {
    throw new ConfigError(`${path}.cluster_specifier`, 'must be weighted_clusters');
  }
  const { clusters } = action.clusterSpecifier.value;
  for (const [index, cluster] of clusters.entries()) {
    onlyFields(cluster, ['name', 'weight'], `${path}.weighted_clusters.clusters[${index}]`);
  }
  const said = clusters.map(({ name, weight }) => [name, weight ?? 0]);
  const meant = backends.map(({ cluster, weight, invalid }) => [
    invalid === undefined ? cluster : INVALID_BACKEND_PREFIX + cluster,
    weight,
  ]);
  if (!isDeepStrictEqual(said, meant)) {
    throw new ConfigError(`${path}.weighted_clusters`, 'differs from the backends in the metadata');
  }
}

/** Envoy has no Host among the headers that it edits; metadata says where it stood among the others. */
function withHost(edit: HeaderEdit | undefined, host: Reader): HeaderEdit | undefined {
  if (host.absent || edit === undefined) return edit;
  const [name, value] = [host.field('name').string(), host.field('value').string()];
  checkHeader(name, value, host.path);
  return { ...edit, set: edit.set.toSpliced(host.field('at').integer(0, edit.set.length), 0, [name, value]) };
}

const ACTION_FIELDS = [
  'hostRewriteSpecifier',
  'clusterSpecifier',
  'clusterNotFoundResponseCode',
  'timeout',
  'idleTimeout',
  'retryPolicy',
  'hashPolicy',
];

/** RFC 9110, sections 5.1 and 5.5: what isn't a field would end up as another one, or as the body. */
function checkHeader(name: string, value: string, path: string): void {
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name))
    throw new ConfigError(`${path}.key`, 'is not a header name');
  if (/[\0\r\n]/.test(value)) throw new ConfigError(`${path}.value`, 'holds a line break or a zero byte');
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
    onlyFields(option, ['header', 'appendAction', 'keepEmptyValue'], at);
    const value = unescapeHeaderValue(option.header?.value ?? '');
    if (option.header === undefined || value === undefined) {
      throw new ConfigError(at, 'must be a literal header');
    }
    onlyFields(option.header, ['key', 'value'], `${at}.header`);
    checkHeader(option.header.key, value, `${at}.header`);
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
