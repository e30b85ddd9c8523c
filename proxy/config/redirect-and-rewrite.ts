import { isDeepStrictEqual } from 'node:util';
import type { RedirectAction, Route } from '../../common/gen/envoy/config/route/v3/route_components.ts';
import { RedirectAction_RedirectResponseCode as Code } from '../../common/gen/envoy/config/route/v3/route_components.ts';
import type {
  Mirror,
  PathRewrite,
  Redirect,
  RedirectStatus,
  RouteMatch,
  UrlRewrite,
} from '../../model/snapshot.ts';
import { ConfigError, onlyFields, type Reader } from './reader.ts';

export const mirrorsPerRuleMax = 16;
const fractionMax = 2_147_483_647;

const STATUSES: Record<number, RedirectStatus> = {
  [Code.MOVED_PERMANENTLY]: 301,
  [Code.FOUND]: 302,
  [Code.SEE_OTHER]: 303,
  [Code.TEMPORARY_REDIRECT]: 307,
  [Code.PERMANENT_REDIRECT]: 308,
};
/** The port and the path only repeat to a stock Envoy what the metadata says. */
const REDIRECT_FIELDS = [
  'schemeRewriteSpecifier',
  'hostRedirect',
  'portRedirect',
  'pathRewriteSpecifier',
  'responseCode',
];
const SCHEMES = ['http', 'https'] as const;
/** What would end the authority of a URL, or the line that it stands in, must not get there. */
const HOSTNAME = /^[A-Za-z0-9._-]{1,253}$/;
const PATH = /^\/[!"$->@-~]*$/;

/** The redirect of a route; undefined where it is none. Throws `ConfigError` for what can't be honoured. */
export function decodeRedirect(
  route: Route,
  metadata: Reader,
  matches: readonly RouteMatch[],
  path: string,
): Redirect | undefined {
  const said = metadata.field('redirect');
  if (route.action?.$case !== 'redirect') {
    return said.absent ? undefined : said.fail('stands beside another action');
  }
  const action = route.action.value;
  const at = `${path}.redirect`;
  onlyFields(action, REDIRECT_FIELDS, at);
  if (said.absent) throw new ConfigError(at, 'is not in the metadata');
  const status = STATUSES[action.responseCode];
  if (status === undefined) throw new ConfigError(`${at}.response_code`, 'is no redirect');
  const hostname = action.hostRedirect === '' ? undefined : action.hostRedirect;
  if (hostname !== undefined && !HOSTNAME.test(hostname)) {
    throw new ConfigError(`${at}.host_redirect`, 'is not a host name');
  }
  const rewrite = decodePath(said.field('path'), matches);
  if ((rewrite === undefined) !== (action.pathRewriteSpecifier === undefined)) {
    throw new ConfigError(`${at}.path_rewrite_specifier`, 'differs from the path in the metadata');
  }
  const port = said.field('port');
  return {
    scheme: schemeOf(action, at),
    hostname,
    path: rewrite,
    port: port.absent ? undefined : port.integer(1, 65_535),
    status,
  };
}

function schemeOf({ schemeRewriteSpecifier: specifier }: RedirectAction, path: string): Redirect['scheme'] {
  if (specifier === undefined) return undefined;
  const scheme = SCHEMES.find((one) => specifier.$case === 'schemeRedirect' && specifier.value === one);
  if (scheme === undefined) throw new ConfigError(`${path}.scheme_redirect`, 'must be http or https');
  return scheme;
}

/** What goes on in the place of the path and Host that came. Throws `ConfigError`. */
export function decodeRewrite(
  route: Route,
  metadata: Reader,
  matches: readonly RouteMatch[],
  path: string,
): UrlRewrite | undefined {
  const said = metadata.field('rewrite');
  const hostname = said.absent ? undefined : said.field('hostname').optionalString();
  if (hostname !== undefined && !HOSTNAME.test(hostname)) said.field('hostname').fail('is not a host name');
  const rewrite = said.absent ? undefined : decodePath(said.field('path'), matches);
  if (route.action?.$case === 'route') {
    const { prefixRewrite, regexRewrite } = route.action.value;
    if ((rewrite === undefined) !== (prefixRewrite === '' && regexRewrite === undefined)) {
      throw new ConfigError(`${path}.route.prefix_rewrite`, 'differs from the path in the metadata');
    }
  }
  return said.absent ? undefined : { hostname, path: rewrite };
}

function decodePath(said: Reader, matches: readonly RouteMatch[]): PathRewrite | undefined {
  if (said.absent) return undefined;
  const kind = said.field('kind').oneOf(['full', 'prefix']);
  const value = said.field('value').string();
  if (!PATH.test(value) && !(kind === 'prefix' && value === '')) said.field('value').fail('is not a path');
  const [only, ...others] = matches;
  if (kind === 'prefix' && (only?.path.kind !== 'prefix' || others.length > 0)) {
    said.fail('needs a rule of one match, a prefix');
  }
  return { kind, value };
}

/** Metadata says of each mirror how much is copied and why nothing is; Envoy is told of the sound ones. */
export function decodeMirrors(route: Route, metadata: Reader, path: string): readonly Mirror[] {
  const said = metadata.field('mirrors');
  const mirrors = said.absent ? [] : said.list(decodeMirror);
  if (mirrors.length > mirrorsPerRuleMax) said.fail(`must be at most ${mirrorsPerRuleMax}`);
  if (route.action?.$case !== 'route') return mirrors;
  const meant = mirrors.filter(({ invalid }) => invalid === undefined).map(({ cluster }) => cluster);
  const told = route.action.value.requestMirrorPolicies.map((policy, index) => {
    onlyFields(policy, MIRROR_FIELDS, `${path}.route.request_mirror_policies[${index}]`);
    return policy.cluster;
  });
  if (!isDeepStrictEqual(told, meant)) {
    throw new ConfigError(`${path}.route.request_mirror_policies`, 'differ from the mirrors in the metadata');
  }
  return mirrors;
}

const MIRROR_FIELDS = ['cluster', 'runtimeFraction', 'disableShadowHostSuffixAppend'];

function decodeMirror(item: Reader): Mirror {
  return {
    cluster: item.field('cluster').string(),
    numerator: item.field('numerator').integer(0, fractionMax),
    denominator: item.field('denominator').integer(1, fractionMax),
    invalid: item.field('invalid').optionalString(),
  };
}
