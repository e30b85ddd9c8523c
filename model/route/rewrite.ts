import type { RequestView } from '../decision-types.ts';
import type {
  Destination,
  HeaderEdit,
  PathRewrite,
  Redirect,
  RouteMatch,
  RouteRule,
  WeightedBackend,
} from '../snapshot.ts';
import { matchablePath } from './path.ts';

/** The ports that a URL leaves out (RFC 9110, sections 4.2.1 and 4.2.2). */
const USUAL_PORT = { http: 80, https: 443 } as const;
/** A name or an address, and perhaps a port. Anything else isn't put into a Location. */
const HOST_AND_PORT = /^(\[[0-9A-Fa-f:.]+\]|[^\s:/?#@[\]\\]+)(?::[0-9]*)?$/;

/**
 * The path that goes on in the place of `path`, both without the query. What comes after a replaced prefix stays as it was
 * written, but for dot segments: they are resolved before a prefix is looked for. The Gateway API's table (HTTPPathModifier)
 * in one line: a slash at the end of either prefix makes no difference, and no path is empty. `*` is no path and stays.
 */
export function rewrittenPath(path: string, rewrite: PathRewrite, match: RouteMatch): string {
  if (!path.startsWith('/')) return path;
  if (rewrite.kind === 'full') return rewrite.value;
  const matched = match.path.kind === 'prefix' ? withoutEndSlash(match.path.value) : '';
  const rewritten = withoutEndSlash(rewrite.value) + matchablePath(path).slice(matched.length);
  return rewritten === '' ? '/' : rewritten;
}

/** The Host that goes on in the place of the one that came, undefined where that stays: what a backend says of it comes last. */
export function rewrittenHost(
  { rewrite, requestHeaders }: Pick<RouteRule, 'rewrite' | 'requestHeaders'>,
  backend: WeightedBackend | undefined,
): string | undefined {
  return hostSet(backend?.requestHeaders) ?? rewrite?.hostname ?? hostSet(requestHeaders);
}

function hostSet(edit: HeaderEdit | undefined): string | undefined {
  const [, value] = edit?.set.find(([name]) => name.toLowerCase() === 'host') ?? [];
  return value;
}

/** A path that is prefixed without its last slash: `/a/` is `/a`, and `/` nothing. */
export function withoutEndSlash(prefix: string): string {
  return prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
}

/**
 * The absolute URL that a redirect sends the client to, with the query as it came (Gateway API, HTTPRequestRedirectFilter).
 * Sidecars read requests of plain HTTP only, so that is the request's scheme; the listener's port is the destination's.
 */
export function locationOf(
  redirect: Redirect,
  match: RouteMatch,
  request: RequestView,
  destination: Destination,
): string {
  const scheme = redirect.scheme ?? 'http';
  const host = redirect.hostname ?? hostOf(request) ?? hostOfKey(destination);
  const port = redirectPort(redirect, destination);
  const came = absolute(request.path);
  const path = redirect.path === undefined ? came : rewrittenPath(came, redirect.path, match);
  const query = request.query === '' ? '' : `?${request.query}`;
  return `${scheme}://${host}${port === USUAL_PORT[scheme] ? '' : `:${port}`}${path}${query}`;
}

/** The port a redirect leads to, whether or not its URL has to say so. */
export function redirectPort(redirect: Redirect, destination: Destination): number {
  return redirect.port ?? (redirect.scheme === undefined ? destination.port : USUAL_PORT[redirect.scheme]);
}

function hostOf(request: RequestView): string | undefined {
  return HOST_AND_PORT.exec(request.header('host') ?? '')?.[1];
}

function hostOfKey({ key }: Destination): string {
  return key.slice(0, key.lastIndexOf(':'));
}

/** `*` asks about the server as a whole: its URL has the path `/`. */
function absolute(path: string): string {
  if (path === '*') return '/';
  return path.startsWith('/') ? path : `/${path}`;
}
