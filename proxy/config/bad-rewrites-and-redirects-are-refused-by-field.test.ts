import assert from 'node:assert/strict';
import { test } from 'node:test';
import { METADATA_KEY } from '../../common/contracts.ts';
import type { RouteConfiguration } from '../../common/gen/envoy/config/route/v3/route.ts';
import type {
  RedirectAction,
  Route,
  RouteAction,
  WeightedCluster_ClusterWeight,
} from '../../common/gen/envoy/config/route/v3/route_components.ts';
import type { RouteRule } from '../../model/snapshot.ts';
import { refuses, some } from '../../test/support/refusals.ts';
import { DESTINATION, routesProto, setMetadata } from '../../test/support/xds-samples.ts';
import { mirrorsPerRuleMax } from './redirect-and-rewrite.ts';
import { decodeRoutes } from './routes.ts';

const ruleAt = (index: number) => `virtual_hosts[0].routes["HTTPRoute/shop/catalog#${index}"]`;
const META = `metadata.filter_metadata["${METADATA_KEY}"]`;
const [UNSERVED, REWRITTEN, REHOSTED, REDIRECTED, SHARED] = [1, 2, 3, 4, 5].map(ruleAt);

/** Spoils the route of a rule of one match. */
function route(
  rule: string | undefined,
  spoil: (route: Route) => void,
): (config: RouteConfiguration) => void {
  return ({ virtualHosts }) => {
    const found = virtualHosts[0]?.routes.find(({ name }) => rule?.includes(`"${name}"`));
    spoil(some(found));
  };
}

function action(rule: string | undefined, spoil: (action: RouteAction) => void) {
  return route(rule, ({ action: found }) => spoil(some(found?.$case === 'route' ? found.value : undefined)));
}

function cluster(rule: string | undefined, spoil: (cluster: WeightedCluster_ClusterWeight) => void) {
  return action(rule, ({ clusterSpecifier: found }) =>
    spoil(some(found?.$case === 'weightedClusters' ? found.value.clusters[0] : undefined)),
  );
}

function redirect(spoil: (action: RedirectAction) => void) {
  return route(REDIRECTED, ({ action: found }) =>
    spoil(some(found?.$case === 'redirect' ? found.value : undefined)),
  );
}

function metadata(rule: string | undefined, path: readonly (string | number)[], to: unknown) {
  return route(rule, (it) => setMetadata(it, path, to));
}

const CLUSTER = `${REWRITTEN}.route.weighted_clusters.clusters[0]`;
const SHARED_CLUSTER = `${SHARED}.route.weighted_clusters.clusters[0]`;

refuses<RouteConfiguration>('routes', routesProto, decodeRoutes, [
  [`${REWRITTEN}.route.prefix_rewrite`, metadata(REWRITTEN, ['rewrite', 'path'], undefined)],
  [`${REWRITTEN}.route.prefix_rewrite`, action(REWRITTEN, (it) => (it.regexRewrite = undefined))],
  [`${REHOSTED}.route.prefix_rewrite`, metadata(REHOSTED, ['rewrite'], undefined)],
  [`${REWRITTEN}.route.host_rewrite_specifier`, metadata(REWRITTEN, ['rewrite', 'hostname'], undefined)],
  [`${REWRITTEN}.route.host_rewrite_specifier`, metadata(REWRITTEN, ['rewrite', 'hostname'], 'other')],
  [
    `${REWRITTEN}.route.host_rewrite_specifier`,
    action(REWRITTEN, (it) => (it.hostRewriteSpecifier = undefined)),
  ],
  [
    `${REHOSTED}.route.host_rewrite_specifier`,
    action(REHOSTED, (it) => (it.hostRewriteSpecifier = { $case: 'autoHostRewrite', value: true })),
  ],
  [`${REWRITTEN}.${META}.rewrite.hostname`, metadata(REWRITTEN, ['rewrite', 'hostname'], 'a\r\nb')],
  [`${REWRITTEN}.${META}.rewrite.path.kind`, metadata(REWRITTEN, ['rewrite', 'path', 'kind'], 'half')],
  [`${REWRITTEN}.${META}.rewrite.path.value`, metadata(REWRITTEN, ['rewrite', 'path', 'value'], '/a b')],
  [`${REWRITTEN}.${META}.rewrite.path.value`, metadata(REWRITTEN, ['rewrite', 'path', 'value'], '/a?b')],
  [`${REHOSTED}.${META}.rewrite.path.value`, metadata(REHOSTED, ['rewrite', 'path', 'value'], '')],
  [
    `${REWRITTEN}.${META}.rewrite.path`,
    route(REWRITTEN, ({ match }) => (some(match).pathSpecifier = { $case: 'path', value: '/old' })),
  ],
  [`${REWRITTEN}.${META}.mirrors[0].denominator`, metadata(REWRITTEN, ['mirrors', 0, 'denominator'], 0)],
  [`${REWRITTEN}.${META}.mirrors[1].numerator`, metadata(REWRITTEN, ['mirrors', 1, 'numerator'], -1)],
  [
    `${REWRITTEN}.${META}.mirrors`,
    metadata(
      REWRITTEN,
      ['mirrors'],
      Array(mirrorsPerRuleMax + 1).fill({ cluster: 'c', numerator: 1, denominator: 1, invalid: 'lost' }),
    ),
  ],
  [`${REWRITTEN}.route.request_mirror_policies`, metadata(REWRITTEN, ['mirrors'], undefined)],
  [`${REWRITTEN}.route.request_mirror_policies`, metadata(REWRITTEN, ['mirrors', 1, 'invalid'], undefined)],
  [
    `${REWRITTEN}.route.request_mirror_policies`,
    action(REWRITTEN, (it) => (some(it.requestMirrorPolicies[0]).cluster = 'other')),
  ],
  [
    `${REWRITTEN}.route.request_mirror_policies[0].trace_sampled`,
    action(REWRITTEN, (it) => (some(it.requestMirrorPolicies[0]).traceSampled = true)),
  ],
  [`${CLUSTER}.cluster_header`, cluster(REWRITTEN, (it) => (it.clusterHeader = 'x'))],
  [
    `${CLUSTER}.request_headers_to_add[0].header.value`,
    cluster(REWRITTEN, (it) => (some(it.requestHeadersToAdd[0]?.header).value = 'a\nb')),
  ],
  [
    `${CLUSTER}.host_rewrite_specifier`,
    cluster(REWRITTEN, (it) => (it.hostRewriteSpecifier = { $case: 'hostRewriteLiteral', value: 'x' })),
  ],
  [
    `${REHOSTED}.route.weighted_clusters.clusters[0].host_rewrite_specifier`,
    cluster(REHOSTED, (it) => (it.hostRewriteSpecifier = undefined)),
  ],
  [
    `${UNSERVED}.${META}.backends[0].requestHeaders.set[0].key`,
    metadata(UNSERVED, ['backends', 0, 'requestHeaders', 'set', 0, 'name'], ':path'),
  ],
  [
    `${UNSERVED}.${META}.backends[0].requestHeaders.add`,
    metadata(UNSERVED, ['backends', 0, 'requestHeaders', 'add'], 'none'),
  ],
  [`${SHARED}.request_headers_to_add`, metadata(SHARED, ['edits', 'requestHeaders', 'add'], [])],
  [`${SHARED}.response_headers_to_add`, route(SHARED, (it) => it.responseHeadersToRemove.push('x-other'))],
  [
    `${SHARED}.route.host_rewrite_specifier`,
    action(SHARED, (it) => (it.hostRewriteSpecifier = { $case: 'hostRewriteLiteral', value: 'new.example' })),
  ],
  [
    `${SHARED_CLUSTER}.request_headers_to_add`,
    cluster(SHARED, (it) => it.requestHeadersToRemove.push('x-other')),
  ],
  [`${SHARED_CLUSTER}.response_headers_to_add`, cluster(SHARED, (it) => (it.responseHeadersToRemove = []))],
  [
    `${SHARED_CLUSTER}.host_rewrite_specifier`,
    cluster(SHARED, (it) => (it.hostRewriteSpecifier = { $case: 'hostRewriteLiteral', value: 'x' })),
  ],
  [
    `${SHARED}.${META}.edits.requestHeaders.set[0].key`,
    metadata(SHARED, ['edits', 'requestHeaders', 'set', 0, 'name'], 'a b'),
  ],
  [`${UNSERVED}.action`, metadata(UNSERVED, ['edits'], {})],
  [`${REDIRECTED}.redirect`, metadata(REDIRECTED, ['redirect'], undefined)],
  [`${REDIRECTED}.redirect`, metadata(REDIRECTED, ['backends'], [{ cluster: 'c', weight: 0 }])],
  [`${REDIRECTED}.redirect.strip_query`, redirect((it) => (it.stripQuery = true))],
  [`${REDIRECTED}.redirect.response_code`, redirect((it) => (it.responseCode = 9 as never))],
  [`${REDIRECTED}.redirect.host_redirect`, redirect((it) => (it.hostRedirect = 'a/b'))],
  [
    `${REDIRECTED}.redirect.scheme_redirect`,
    redirect((it) => (it.schemeRewriteSpecifier = { $case: 'schemeRedirect', value: 'ftp' })),
  ],
  [
    `${REDIRECTED}.redirect.scheme_redirect`,
    redirect((it) => (it.schemeRewriteSpecifier = { $case: 'httpsRedirect', value: true })),
  ],
  [`${REDIRECTED}.redirect.path_rewrite_specifier`, redirect((it) => (it.pathRewriteSpecifier = undefined))],
  [`${REDIRECTED}.redirect.path_rewrite_specifier`, metadata(REDIRECTED, ['redirect', 'path'], undefined)],
  [`${REDIRECTED}.${META}.redirect.port`, metadata(REDIRECTED, ['redirect', 'port'], 65_536)],
  [`${UNSERVED}.${META}.redirect`, metadata(UNSERVED, ['redirect'], { port: 80 })],
]);

test('a rule may have as many mirrors as the limit says', () => {
  const entry = some(DESTINATION.entries.find(({ rule }) => rule.mirrors.length > 0));
  const mirrors = Array.from({ length: mirrorsPerRuleMax }, () => some(entry.rule.mirrors[0]));
  const rule: RouteRule = { ...entry.rule, mirrors };
  const destination = { ...DESTINATION, entries: [{ match: entry.match, rule }] };
  assert.deepEqual(decodeRoutes(routesProto(destination)), destination);
});
