import assert from 'node:assert/strict';
import { test } from 'node:test';
import { METADATA_KEY } from '../../common/contracts.ts';
import { HeaderValueOption_HeaderAppendAction } from '../../common/gen/envoy/config/core/v3/base.ts';
import type { RouteConfiguration } from '../../common/gen/envoy/config/route/v3/route.ts';
import type {
  Route,
  RouteAction,
  RouteMatch,
  VirtualHost,
} from '../../common/gen/envoy/config/route/v3/route_components.ts';
import { regexProgramSizeMax } from '../../model/route/regex.ts';
import type { RouteRule } from '../../model/snapshot.ts';
import { refuses, some } from '../../test/support/refusals.ts';
import { DESTINATION, PLAIN_DESTINATION, routesProto, setMetadata } from '../../test/support/xds-samples.ts';
import { regexBytesMax } from './regex.ts';
import { decodeRoutes, matchesPerRuleMax } from './routes.ts';

const HOST = 'virtual_hosts[0]';
const FIRST = `${HOST}.routes[0]`;
/** A rule's parts are read once, from the first of its routes. */
const RULE = `${HOST}.routes["HTTPRoute/shop/catalog#0"]`;
const META = `metadata.filter_metadata["${METADATA_KEY}"]`;

function host(config: RouteConfiguration): VirtualHost {
  return some(config.virtualHosts[0]);
}

function route(config: RouteConfiguration, index = 0): Route {
  return some(host(config).routes[index]);
}

function match(config: RouteConfiguration, index = 0): RouteMatch {
  return some(route(config, index).match);
}

/** The routes of the first rule alone, which say the same but for their match. */
const RULE_ROUTES = [0, 1];

/** Spoils a part of a rule in both of its routes: only that they differ would be noticed otherwise. */
function both(spoil: (route: Route) => void): (config: RouteConfiguration) => void {
  return (config) => {
    for (const index of RULE_ROUTES) spoil(route(config, index));
  };
}

function action(spoil: (action: RouteAction) => void): (config: RouteConfiguration) => void {
  return both(({ action: found }) => spoil(some(found?.$case === 'route' ? found.value : undefined)));
}

refuses<RouteConfiguration>('routes', routesProto, decodeRoutes, [
  ['RouteConfiguration.internal_only_headers', (it) => it.internalOnlyHeaders.push('x')],
  ['virtual_hosts', (it) => (it.virtualHosts = [])],
  ['virtual_hosts', (it) => it.virtualHosts.push(host(it))],
  [`${HOST}.name`, (it) => (host(it).name = 'other')],
  [`${HOST}.domains`, (it) => (host(it).domains = ['catalog'])],
  [`${HOST}.rate_limits`, (it) => host(it).rateLimits.push({} as never)],
  [`${HOST}.routes`, (it) => (host(it).routes = [])],
  [`${HOST}.${META}`, (it) => (host(it).metadata = undefined)],
  [`${HOST}.${META}.addresses[1]`, (it) => setMetadata(host(it), ['addresses', 1], 10)],
  [`${HOST}.${META}.defaultCluster`, (it) => setMetadata(host(it), ['defaultCluster'], undefined)],
  [
    `${HOST}.${META}.policy.retry.on[0]`,
    (it) => setMetadata(host(it), ['policy', 'retry', 'on', 0], 'whenever'),
  ],
  [
    `${HOST}.${META}.policy.timeouts.requestMs`,
    (it) => setMetadata(host(it), ['policy', 'timeouts', 'requestMs'], -1),
  ],
  [
    `${HOST}.${META}.policy.faults.abortStatus`,
    (it) => setMetadata(host(it), ['policy', 'faults', 'abortStatus'], 99),
  ],
  [`${FIRST}.per_request_buffer_limit_bytes`, (it) => (route(it).perRequestBufferLimitBytes = 1)],
  [FIRST, (it) => setMetadata(route(it), ['default'], true)],
  [`${FIRST}.match`, (it) => (route(it).match = undefined)],
  [
    `${FIRST}.match.runtime_fraction`,
    (it) => (match(it).runtimeFraction = { defaultValue: undefined, runtimeKey: '' }),
  ],
  [`${FIRST}.match.path_specifier`, (it) => (match(it).pathSpecifier = undefined)],
  [`${FIRST}.match.prefix`, (it) => (match(it).pathSpecifier = { $case: 'prefix', value: '/a' })],
  [`${FIRST}.${META}.prefix`, (it) => setMetadata(route(it), ['prefix'], '/others/')],
  [
    `${HOST}.routes[1].match.safe_regex`,
    (it) =>
      (match(it, 1).pathSpecifier = { $case: 'safeRegex', value: { regex: '(?=a)', engineType: undefined } }),
  ],
  [
    `${HOST}.routes[1].match.safe_regex`,
    (it) => {
      const regex = 'é'.repeat(regexBytesMax / 2 + 1);
      match(it, 1).pathSpecifier = { $case: 'safeRegex', value: { regex, engineType: undefined } };
    },
  ],
  [
    `${HOST}.routes[1].match.safe_regex`,
    (it) => {
      const regex = `a{${regexProgramSizeMax}}`;
      match(it, 1).pathSpecifier = { $case: 'safeRegex', value: { regex, engineType: undefined } };
    },
  ],
  [`${FIRST}.match.headers[0].invert_match`, (it) => (some(match(it).headers[0]).invertMatch = true)],
  [`${FIRST}.match.headers[1].name`, (it) => (some(match(it).headers[1]).name = ':authority')],
  [
    `${FIRST}.match.headers[1]`,
    (it) => (some(match(it).headers[1]).headerMatchSpecifier = { $case: 'presentMatch', value: true }),
  ],
  [
    `${FIRST}.match.headers[0]`,
    (it) =>
      (some(match(it).headers[0]).headerMatchSpecifier = some(match(it).headers[1]).headerMatchSpecifier),
  ],
  [
    `${FIRST}.match.query_parameters[0]`,
    (it) => (some(match(it).queryParameters[0]).queryParameterMatchSpecifier = undefined),
  ],
  [
    `${FIRST}.${META}.rule.matches`,
    (it) => setMetadata(route(it), ['rule', 'matches'], matchesPerRuleMax + 1),
  ],
  [`${FIRST}.${META}.rule.match`, (it) => setMetadata(route(it), ['rule', 'match'], 2)],
  [`${HOST}.routes[1].${META}.rule.match`, (it) => setMetadata(route(it, 1), ['rule', 'match'], 0)],
  [`${HOST}.routes[1]`, (it) => setMetadata(route(it, 1), ['rule', 'matches'], 3)],
  [`${HOST}.routes[1]`, (it) => setMetadata(route(it, 1), ['backends', 0, 'weight'], 8)],
  [`${HOST}.routes[1]`, (it) => (route(it, 1).requestHeadersToRemove = ['x-other'])],
  [RULE, (it) => host(it).routes.splice(1, 1)],
  [`${FIRST}.${META}.rule.object`, both((it) => setMetadata(it, ['rule', 'object'], undefined))],
  [`${RULE}.${META}.backends[1].weight`, both((it) => setMetadata(it, ['backends', 1, 'weight'], 1_000_001))],
  [`${RULE}.route.weighted_clusters`, both((it) => setMetadata(it, ['backends', 0, 'cluster'], 'other'))],
  [`${RULE}.route.weighted_clusters`, both((it) => setMetadata(it, ['backends', 1, 'invalid'], undefined))],
  [`${RULE}.action`, both((it) => (it.action = undefined))],
  [
    `${RULE}.direct_response`,
    both((it) => (it.action = { $case: 'directResponse', value: { status: 200 } })),
  ],
  [
    `${RULE}.direct_response`,
    both((it) => (it.action = { $case: 'directResponse', value: { status: 500 } })),
  ],
  [`${RULE}.route.prefix_rewrite`, action((it) => (it.prefixRewrite = '/'))],
  [
    `${RULE}.route.cluster_specifier`,
    action((it) => (it.clusterSpecifier = { $case: 'clusterHeader', value: 'x' })),
  ],
  [`${RULE}.route.timeout`, action((it) => (it.timeout = { seconds: -1, nanos: 0 }))],
  [`${RULE}.route.idle_timeout`, action((it) => (it.idleTimeout = { seconds: 1e12, nanos: 0 }))],
  [`${RULE}.route.retry_policy`, action((it) => (it.retryPolicy = undefined))],
  [`${RULE}.route.retry_policy.num_retries`, action((it) => (some(it.retryPolicy).numRetries = 101))],
  [`${RULE}.route.retry_policy.retry_on`, action((it) => (some(it.retryPolicy).retryOn = '5xx'))],
  [
    `${RULE}.route.retry_policy.retriable_status_codes[0]`,
    action((it) => (some(it.retryPolicy).retriableStatusCodes = [1])),
  ],
  [
    `${RULE}.route.retry_policy.per_try_timeout`,
    action((it) => (some(it.retryPolicy).perTryTimeout = { seconds: -5, nanos: 0 })),
  ],
  [
    `${RULE}.route.retry_policy.per_try_idle_timeout`,
    action((it) => (some(it.retryPolicy).perTryIdleTimeout = { seconds: 5, nanos: 0 })),
  ],
  [
    `${RULE}.route.retry_policy.retry_back_off.base_interval`,
    action((it) => (some(it.retryPolicy).retryBackOff = undefined)),
  ],
  [
    `${RULE}.request_headers_to_add[0]`,
    both((it) => (some(it.requestHeadersToAdd[0]?.header).value = '%PROTOCOL%')),
  ],
  [
    `${RULE}.request_headers_to_add[0].append_action`,
    both(
      (it) =>
        (some(it.requestHeadersToAdd[0]).appendAction = HeaderValueOption_HeaderAppendAction.ADD_IF_ABSENT),
    ),
  ],
  [
    `${RULE}.request_headers_to_add[0].header.key`,
    both((it) => (some(it.requestHeadersToAdd[0]?.header).key = ':path')),
  ],
  [
    `${RULE}.request_headers_to_add[0].header.value`,
    both((it) => (some(it.requestHeadersToAdd[0]?.header).value = 'a\r\nevil: 1')),
  ],
]);

refuses<RouteConfiguration>('a default route', () => routesProto(PLAIN_DESTINATION), decodeRoutes, [
  [`${FIRST}.match`, (it) => (match(it).pathSpecifier = { $case: 'prefix', value: '/a' })],
  [`${FIRST}.response_headers_to_remove`, (it) => (route(it).responseHeadersToRemove = ['x'])],
  [`${FIRST}.${META}.default`, (it) => setMetadata(route(it), ['default'], false)],
  [`${FIRST}.route.weighted_clusters`, (it) => setMetadata(host(it), ['defaultCluster'], 'other')],
  [`${FIRST}.action`, (it) => (route(it).action = { $case: 'directResponse', value: { status: 500 } })],
]);

test('a rule may have as many matches as the limit says', () => {
  const [entry] = DESTINATION.entries;
  const matches = Array.from({ length: matchesPerRuleMax }, (_, index) => ({
    ...{ path: { kind: 'exact' as const, value: `/${index}` }, method: undefined },
    ...{ headers: [], queryParams: [] },
  }));
  const rule: RouteRule = { ...some(entry).rule, matches };
  const entries = matches.map((one) => ({ match: one, rule }));
  assert.equal(decodeRoutes(routesProto({ ...DESTINATION, entries })).entries.length, matchesPerRuleMax);
});

test('names of headers to match are compared in lower case', () => {
  const config = routesProto();
  some(match(config).headers[1]).name = 'X-User';
  assert.equal(decodeRoutes(config).entries[0]?.match.headers[0]?.name, 'x-user');
});
