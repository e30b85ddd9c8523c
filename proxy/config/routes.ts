import { isDeepStrictEqual } from 'node:util';
import { METADATA_KEY } from '../../common/contracts.ts';
import type { RouteConfiguration } from '../../common/gen/envoy/config/route/v3/route.ts';
import type { Route, VirtualHost } from '../../common/gen/envoy/config/route/v3/route_components.ts';
import type { Destination, RouteEntry, RouteMatch, RouteRule } from '../../model/snapshot.ts';
import { checkDefaultAction, checkLayers, decodeBackends, editsAreWhole } from './backends.ts';
import { checkHostRewrite, decodeHeaderEdits, decodeWholeEdits, HEADER_EDIT_FIELDS } from './header-edits.ts';
import { decodeMatch } from './matches.ts';
import { requestPolicy, standardPolicy, standardPolicyFromMetadata, wholePolicy } from './policy.ts';
import { PROTOCOLS } from './protocols.ts';
import { ConfigError, heddleMetadataOf, onlyFields, type Reader, sameName } from './reader.ts';
import { decodeMirrors, decodeRedirect, decodeRewrite } from './redirect-and-rewrite.ts';

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
  checkDefaultAction(route.action.value, cluster, `${path}.route`);
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

const ROUTE_FIELDS = ['name', 'match', 'action', 'metadata', ...HEADER_EDIT_FIELDS];

function decodeRule(id: string, progress: RuleInProgress, path: string): RouteRule {
  const matches = progress.matches.map((match) => {
    if (match === undefined) throw new ConfigError(path, 'lacks one of its matches');
    return match;
  });
  const { route, info } = progress;
  const metadata = heddleMetadataOf(route, path);
  const whole = editsAreWhole(metadata);
  const edits = whole ? decodeWholeEdits(metadata.field('edits')) : decodeHeaderEdits(route, metadata, path);
  const rewrite = decodeRewrite(route, metadata, matches, path);
  const backends = decodeBackends(route, metadata, path);
  if (whole) checkLayers(route, { ...edits, rewrite, backends }, path);
  else if (route.action?.$case === 'route') {
    const { hostRewriteSpecifier } = route.action.value;
    checkHostRewrite(hostRewriteSpecifier, edits.requestHeaders, rewrite?.hostname, `${path}.route`);
  }
  return {
    id,
    matches,
    ...edits,
    redirect: decodeRedirect(route, metadata, matches, path),
    rewrite,
    mirrors: decodeMirrors(route, metadata, path),
    backends,
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
