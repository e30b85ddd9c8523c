import { isDeepStrictEqual } from 'node:util';
import type {
  DeepPartial,
  HeaderMatcher,
  QueryParameterMatcher,
  RouteMatch as RouteMatchProto,
  Route as RouteProto,
} from '../../common/gen/envoy/config/route/v3/route_components.ts';
import {
  HeaderMatcher as HeaderMatcherCodec,
  QueryParameterMatcher as QueryCodec,
  RouteAction_ClusterNotFoundResponseCode,
  Route as RouteCodec,
  RouteMatch as RouteMatchCodec,
} from '../../common/gen/envoy/config/route/v3/route_components.ts';
import type { RegexMatcher } from '../../common/gen/envoy/type/matcher/v3/regex.ts';
import type { StringMatcher } from '../../common/gen/envoy/type/matcher/v3/string.ts';
import type { JsonObject } from '../../common/json.ts';
import { INVALID_BACKEND_PREFIX } from '../../common/wire/types.ts';
import { toDuration } from '../../common/wire/values.ts';
import type { HashKey, RequestPolicy } from '../../model/policy-types.ts';
import { type EditLayers, editLayers } from '../../model/route/edit-layers.ts';
import type {
  Destination,
  RouteEntry,
  RouteMatch,
  RouteRule,
  StringMatch,
  WeightedBackend,
} from '../../model/snapshot.ts';
import { compact, heddleMetadata } from './encoding.ts';
import { headerEdits, headerMetadata, hostRewrite, wholeEdits } from './header-edits.ts';
import { mirrorPolicies, pathRewrite, redirectAction, urlMetadata } from './redirect-and-rewrite.ts';
import { requestPolicyMetadata, retryPolicy } from './request-policy.ts';

/** The hash key of a cluster's balancer, which Envoy wants on the route. */
export type HashKeyOf = (cluster: string) => HashKey | undefined;

/** One entry as one Envoy route: first match wins in both worlds. */
export function routeOf(entry: RouteEntry, destination: Destination, hashKeyOf: HashKeyOf): RouteProto {
  const { rule, match } = entry;
  const served = serves(rule.backends);
  const layers = served ? editLayers(rule) : undefined;
  return RouteCodec.fromPartial({
    name: rule.id,
    match: matchOf(match),
    ...headerEdits(layers?.ofRule ?? rule),
    metadata: heddleMetadata({
      rule: compact({
        object: rule.object,
        index: rule.ruleIndex,
        createdAtMs: rule.createdAtMs,
        match: matchIndex(rule, match),
        matches: rule.matches.length,
      }),
      prefix: writtenPrefix(match),
      ...(layers?.moved === true ? { edits: compact(wholeEdits(rule)) } : headerMetadata(rule)),
      ...urlMetadata(rule),
      backends: rule.backends.map((backend) => backendMetadata(backend, layers?.moved === false)),
      policy: requestPolicyMetadata(rule.policy),
      // Answers of Envoy's own have no place for the standard fields of a route action.
      ...(served ? {} : { action: unservedPolicy(rule.policy) }),
    }),
    action: actionOf(entry, layers, destination, hashKeyOf),
  });
}

function actionOf(
  { rule, match }: RouteEntry,
  layers: EditLayers | undefined,
  destination: Destination,
  hashKeyOf: HashKeyOf,
): DeepPartial<RouteProto>['action'] {
  const { redirect, rewrite, backends } = rule;
  if (redirect !== undefined) {
    return { $case: 'redirect', value: redirectAction(redirect, match, destination) };
  }
  if (layers === undefined) return { $case: 'directResponse', value: { status: 500 } };
  const edited = backends.map((backend, index) => ({ ...backend, ...layers.ofBackends[index] }));
  return {
    $case: 'route',
    value: {
      ...routeAction(edited, rule.policy, hashKeyOf),
      ...hostRewrite(layers.ofRule.requestHeaders, layers.hostname),
      ...pathRewrite(rewrite?.path, match),
      requestMirrorPolicies: mirrorPolicies(rule.mirrors),
    },
  };
}

/** What serves a destination without routes, and its last route in the wildcard packaging. */
export function defaultRoute(cluster: string, policy: RequestPolicy, hashKeyOf: HashKeyOf): RouteProto {
  return RouteCodec.fromPartial({
    name: 'default',
    match: { pathSpecifier: { $case: 'prefix', value: '/' } },
    metadata: heddleMetadata({ default: true }),
    action: {
      $case: 'route',
      value: routeAction(
        [{ cluster, weight: 1, invalid: undefined, requestHeaders: undefined, responseHeaders: undefined }],
        policy,
        hashKeyOf,
      ),
    },
  });
}

/** Which of its rule's matches an entry stands for. */
function matchIndex(rule: RouteRule, match: RouteMatch): number {
  const same = rule.matches.indexOf(match);
  return same >= 0 ? same : rule.matches.findIndex((other) => isDeepStrictEqual(other, match));
}

function serves(backends: readonly WeightedBackend[]): boolean {
  return backends.some((backend) => backend.weight > 0);
}

/** Edits that aren't those of a weighted cluster, for want of one or because a rule's are among them, are told whole. */
function backendMetadata(backend: WeightedBackend, inFields: boolean): JsonObject {
  const { cluster, weight, invalid } = backend;
  return compact({ cluster, weight, invalid, ...(inFields ? headerMetadata(backend) : wholeEdits(backend)) });
}

function unservedPolicy(policy: RequestPolicy): JsonObject {
  const { timeouts, retry } = policy;
  return {
    requestMs: timeouts.requestMs,
    backendRequestMs: timeouts.backendRequestMs,
    idleMs: timeouts.idleMs,
    attempts: retry.attempts,
    on: [...retry.on],
    codes: [...retry.codes],
    backoffBaseMs: retry.backoffBaseMs,
    backoffMaxMs: retry.backoffMaxMs,
  };
}

function routeAction(backends: readonly WeightedBackend[], policy: RequestPolicy, hashKeyOf: HashKeyOf) {
  const hash = backends.map((backend) => hashKeyOf(backend.cluster)).find((key) => key !== undefined);
  return {
    clusterSpecifier: {
      $case: 'weightedClusters' as const,
      value: {
        clusters: backends.map((backend) => ({
          name: backend.invalid === undefined ? backend.cluster : INVALID_BACKEND_PREFIX + backend.cluster,
          weight: backend.weight,
          ...headerEdits(backend),
          ...hostRewrite(backend.requestHeaders),
        })),
      },
    },
    // Gateway API: requests for an invalid reference are answered 500. No cluster bears such a name.
    clusterNotFoundResponseCode: RouteAction_ClusterNotFoundResponseCode.INTERNAL_SERVER_ERROR,
    timeout: toDuration(policy.timeouts.requestMs),
    idleTimeout: toDuration(policy.timeouts.idleMs),
    retryPolicy: retryPolicy(policy),
    hashPolicy: hash === undefined ? [] : [hashPolicy(hash)],
  };
}

function hashPolicy(key: HashKey) {
  switch (key.from) {
    case 'header':
      return { policySpecifier: { $case: 'header' as const, value: { headerName: key.name } } };
    case 'cookie':
      return { policySpecifier: { $case: 'cookie' as const, value: { name: key.name } } };
    case 'query':
      return { policySpecifier: { $case: 'queryParameter' as const, value: { name: key.name } } };
    case 'sourceIp':
      return { policySpecifier: { $case: 'connectionProperties' as const, value: { sourceIp: true } } };
    default:
      return key satisfies never;
  }
}

function matchOf(match: RouteMatch): RouteMatchProto {
  const headers: HeaderMatcher[] = match.headers.map((header) =>
    HeaderMatcherCodec.fromPartial({
      name: header.name,
      headerMatchSpecifier: { $case: 'stringMatch', value: stringMatcher(header.match) },
    }),
  );
  if (match.method !== undefined) {
    headers.unshift(
      HeaderMatcherCodec.fromPartial({
        name: ':method',
        headerMatchSpecifier: {
          $case: 'stringMatch',
          value: { matchPattern: { $case: 'exact', value: match.method } },
        },
      }),
    );
  }
  const queryParameters: QueryParameterMatcher[] = match.queryParams.map((param) =>
    QueryCodec.fromPartial({
      name: param.name,
      queryParameterMatchSpecifier: { $case: 'stringMatch', value: stringMatcher(param.match) },
    }),
  );
  return RouteMatchCodec.fromPartial({ pathSpecifier: pathSpecifier(match), headers, queryParameters });
}

function pathSpecifier(match: RouteMatch): NonNullable<RouteMatchProto['pathSpecifier']> {
  const { kind, value } = match.path;
  switch (kind) {
    case 'exact':
      return { $case: 'path', value };
    case 'regex':
      return { $case: 'safeRegex', value: regexMatcher(value) };
    case 'prefix': {
      const bare = barePrefix(value);
      return bare === '' ? { $case: 'prefix', value: '/' } : { $case: 'pathSeparatedPrefix', value: bare };
    }
    default:
      return kind satisfies never;
  }
}

/** Envoy refuses a trailing slash in a path-separated prefix; `/a/` means what `/a` means (Gateway API, PathPrefix). */
function barePrefix(value: string): string {
  return value.endsWith('/') ? value.slice(0, -1) : value;
}

function writtenPrefix(match: RouteMatch): string | undefined {
  const { kind, value } = match.path;
  return kind === 'prefix' && value !== '/' && value.endsWith('/') ? value : undefined;
}

function stringMatcher(match: StringMatch): DeepPartial<StringMatcher> {
  return match.kind === 'exact'
    ? { matchPattern: { $case: 'exact', value: match.value } }
    : { matchPattern: { $case: 'safeRegex', value: regexMatcher(match.value) } };
}

/** In RE2's instructions. RE2 refuses by its memory what comes near. */
const REGEX_PROGRAM_SIZE_MAX = 1_000_000;

/** Envoy by itself takes programs of 100 instructions, which `[a-z0-9-]{1,63}` is beyond, and keeps its old routes whole. */
function regexMatcher(regex: string): RegexMatcher {
  return {
    regex,
    engineType: { $case: 'googleRe2', value: { maxProgramSize: REGEX_PROGRAM_SIZE_MAX } },
  };
}
