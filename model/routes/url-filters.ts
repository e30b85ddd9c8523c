import { type Fields, shown } from '../read/fields.ts';
import type { PathRewrite, Redirect, RedirectStatus, UrlRewrite } from '../snapshot.ts';
import { pathProblem } from './match.ts';

const PATH_LENGTH_MAX = 1024;
/** Gateway API, PreciseHostname. */
const HOSTNAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const HOSTNAME_LENGTH_MAX = 253;
const STATUSES: readonly RedirectStatus[] = [301, 302, 303, 307, 308];
/** Gateway API, HTTPRequestRedirectFilter. */
const DEFAULT_STATUS: RedirectStatus = 302;

/** What a `RequestRedirect` asks for. */
export function readRedirect(filter: Fields): Redirect {
  const from = settingsOf(filter, 'requestRedirect');
  const redirect = {
    scheme: from.choice('scheme', ['http', 'https'] as const),
    hostname: readHostname(from),
    path: readPathRewrite(from),
    port: from.integer('port', 1, 65_535),
    status: readStatus(from),
  };
  from.finish();
  return redirect;
}

function readStatus(from: Fields): RedirectStatus {
  const given = from.raw('statusCode') ?? DEFAULT_STATUS;
  const status = STATUSES.find((one) => one === given);
  if (status === undefined)
    from.error(['statusCode'], `must be one of ${STATUSES.join(', ')}, not ${shown(given)}`);
  return status ?? DEFAULT_STATUS;
}

/** What a `URLRewrite` asks for. */
export function readRewrite(filter: Fields): UrlRewrite {
  const from = settingsOf(filter, 'urlRewrite');
  const rewrite = { hostname: readHostname(from), path: readPathRewrite(from) };
  from.finish();
  return rewrite;
}

/** What a filter says under its own name, which has to be there. */
export function settingsOf(filter: Fields, field: string): Fields {
  if (!filter.has(field)) filter.error([field], 'is required with this type');
  return filter.object(field);
}

function readHostname(from: Fields): string | undefined {
  const hostname = from.string('hostname', HOSTNAME_LENGTH_MAX);
  if (hostname !== undefined && !HOSTNAME.test(hostname)) {
    from.error(['hostname'], 'must be a host name in lower case, without a port');
  }
  return hostname;
}

function readPathRewrite(from: Fields): PathRewrite | undefined {
  if (!from.has('path')) return undefined;
  const path = from.object('path');
  if (!path.has('type')) path.error(['type'], 'is required');
  const type = path.choice('type', ['ReplaceFullPath', 'ReplacePrefixMatch'] as const);
  if (type === undefined) return undefined;
  const field = type === 'ReplaceFullPath' ? 'replaceFullPath' : 'replacePrefixMatch';
  if (!path.has(field)) path.error([field], `is required with ${type}`);
  const value = path.string(field, PATH_LENGTH_MAX) ?? '/';
  // A prefix may be taken away altogether; a path can't.
  const problem = value === '' && type === 'ReplacePrefixMatch' ? undefined : pathProblem(value);
  if (problem !== undefined) path.error([field], problem);
  path.finish();
  return { kind: type === 'ReplaceFullPath' ? 'full' : 'prefix', value };
}
