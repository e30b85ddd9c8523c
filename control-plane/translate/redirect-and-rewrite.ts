import type {
  DeepPartial,
  RedirectAction,
  RouteAction,
  RouteAction_RequestMirrorPolicy,
} from '../../common/gen/envoy/config/route/v3/route_components.ts';
import { RedirectAction_RedirectResponseCode as Code } from '../../common/gen/envoy/config/route/v3/route_components.ts';
import { FractionalPercent_DenominatorType } from '../../common/gen/envoy/type/v3/percent.ts';
import type { JsonObject } from '../../common/json.ts';
import { redirectPort, withoutEndSlash } from '../../model/route/rewrite.ts';
import type {
  Destination,
  Mirror,
  PathRewrite,
  Redirect,
  RedirectStatus,
  RouteMatch,
  RouteRule,
} from '../../model/snapshot.ts';
import { compact } from './encoding.ts';

const CODES: Record<RedirectStatus, Code> = {
  301: Code.MOVED_PERMANENTLY,
  302: Code.FOUND,
  303: Code.SEE_OTHER,
  307: Code.TEMPORARY_REDIRECT,
  308: Code.PERMANENT_REDIRECT,
};
const USUAL_PORT = { http: 80, https: 443 };

/** Envoy's redirect to the URL that the model would name. */
export function redirectAction(
  redirect: Redirect,
  match: RouteMatch,
  destination: Destination,
): DeepPartial<RedirectAction> {
  const { scheme, hostname, path, status } = redirect;
  return {
    ...(scheme === undefined
      ? {}
      : { schemeRewriteSpecifier: { $case: 'schemeRedirect' as const, value: scheme } }),
    hostRedirect: hostname ?? '',
    portRedirect: portRedirect(redirect, destination),
    ...(path === undefined ? {} : { pathRewriteSpecifier: redirectPath(path, match) }),
    responseCode: CODES[status],
  };
}

/** 0 where Envoy comes to the right port by itself: it keeps that of Host, or none with another host. */
function portRedirect(redirect: Redirect, destination: Destination): number {
  const port = redirectPort(redirect, destination);
  const keepsPort = redirect.hostname === undefined && destination.port !== USUAL_PORT.http;
  return keepsPort || port !== USUAL_PORT[redirect.scheme ?? 'http'] ? port : 0;
}

function redirectPath(
  path: PathRewrite,
  match: RouteMatch,
): DeepPartial<RedirectAction>['pathRewriteSpecifier'] {
  if (path.kind === 'full') return { $case: 'pathRedirect', value: path.value };
  const { prefixRewrite, regexRewrite } = pathRewrite(path, match);
  return regexRewrite === undefined
    ? { $case: 'prefixRewrite', value: prefixRewrite ?? '' }
    : { $case: 'regexRewrite', value: regexRewrite };
}

type PathFields = Pick<DeepPartial<RouteAction>, 'prefixRewrite' | 'regexRewrite'>;

/**
 * Envoy replaces the text of a prefix, where the Gateway API replaces path elements: the prefix of everything is the slash
 * itself, and a prefix that is taken away altogether would leave no slash, or two.
 */
export function pathRewrite(rewrite: PathRewrite | undefined, match: RouteMatch): PathFields {
  if (rewrite === undefined) return {};
  if (rewrite.kind === 'full') return substitute('^.*$', rewrite.value);
  const [matched, replacement] = [withoutEndSlash(match.path.value), withoutEndSlash(rewrite.value)];
  if (matched === '') return { prefixRewrite: `${replacement}/` };
  return replacement === '' ? substitute(`^${quoted(matched)}/?`, '/') : { prefixRewrite: replacement };
}

/** Paths hold no backslash, which would refer to a group. */
function substitute(regex: string, substitution: string): PathFields {
  return { regexRewrite: { pattern: { regex }, substitution } };
}

/** A path as an RE2 pattern of itself. */
function quoted(path: string): string {
  return path.replace(/[.+*?()|[\]{}^$\\]/g, '\\$&');
}

/** Envoy's mirrors, without those that lead nowhere, and without its suffix on Host. */
export function mirrorPolicies(mirrors: readonly Mirror[]): DeepPartial<RouteAction_RequestMirrorPolicy>[] {
  return mirrors
    .filter(({ invalid }) => invalid === undefined)
    .map(({ cluster, numerator, denominator }) => ({
      cluster,
      runtimeFraction: { defaultValue: fraction(numerator, denominator) },
      disableShadowHostSuffixAppend: true,
    }));
}

/** Envoy knows three denominators; the nearest millionth is as exact as a percentage needs. */
function fraction(numerator: number, denominator: number) {
  const { HUNDRED, MILLION } = FractionalPercent_DenominatorType;
  if (denominator === 100) return { numerator, denominator: HUNDRED };
  return { numerator: Math.round((numerator / denominator) * 1_000_000), denominator: MILLION };
}

/** What those fields say otherwise, or can't say. */
export function urlMetadata({ redirect, rewrite, mirrors }: RouteRule) {
  return {
    redirect: redirect && compact({ path: pathMetadata(redirect.path), port: redirect.port }),
    rewrite: rewrite && compact({ hostname: rewrite.hostname, path: pathMetadata(rewrite.path) }),
    mirrors: mirrors.length === 0 ? undefined : mirrors.map((mirror) => compact({ ...mirror })),
  };
}

function pathMetadata(path: PathRewrite | undefined): JsonObject | undefined {
  return path && { kind: path.kind, value: path.value };
}
