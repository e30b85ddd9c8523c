import { B3_HEADERS, HEADERS } from '../../common/contracts.ts';
import type { Fields } from '../read/fields.ts';
import type { HeaderEdit } from '../snapshot.ts';

const EDITS_MAX = 16;
const VALUE_LENGTH_MAX = 4096;
export const TOKEN = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}$/;
/** What a header value may be, to be set or matched (Gateway API, HTTPHeader): printable ASCII with single blanks inside. */
const HEADER_VALUE = /^[!-~]+(?:[\t ][!-~]+)*$/;

/** Frame or direct the message, or belong to one connection: a sidecar writes them from what it understood, or drops them. */
const HOP_BY_HOP: readonly string[] = [
  'connection',
  'content-length',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];
const FORBIDDEN_IN_RESPONSES: ReadonlySet<string> = new Set([...HOP_BY_HOP, HEADERS.reason]);
/** A sidecar writes these into every request, whatever a rule says. */
const FORBIDDEN_IN_REQUESTS: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  ...Object.values(HEADERS),
  'traceparent',
  'tracestate',
  ...B3_HEADERS,
]);
/** What sidecars tell apps, also by names that CGI and the like can't tell from these: `x_forwarded_for` goes nowhere, too. */
const TOLD_TO_APPS: ReadonlySet<string> = new Set(
  Object.values(HEADERS).filter((name) => name !== HEADERS.requestId),
);

/** What a `RequestHeaderModifier` asks for. */
export function readRequestEdit(filter: Fields): HeaderEdit {
  return readEdit(filter, 'requestHeaderModifier', FORBIDDEN_IN_REQUESTS);
}

/** What a `ResponseHeaderModifier` asks for. */
export function readResponseEdit(filter: Fields): HeaderEdit {
  return readEdit(filter, 'responseHeaderModifier', FORBIDDEN_IN_RESPONSES);
}

/** Reports a value that no header has. */
export function checkHeaderValue(entry: Fields, value: string): void {
  if (!HEADER_VALUE.test(value)) {
    entry.error(['value'], 'must be printable ASCII, with single blanks inside only');
  }
}

/** One action a header name (Gateway API, HTTPHeaderFilter), so the order of actions makes no difference. */
class EditedNames {
  readonly #seen = new Set<string>();
  readonly #forbidden: ReadonlySet<string>;

  constructor(forbidden: ReadonlySet<string>) {
    this.#forbidden = forbidden;
  }

  take(action: 'set' | 'add' | 'remove', name: string, report: (message: string) => void): void {
    const lower = name.toLowerCase();
    if (!TOKEN.test(name)) report('must be a header name');
    if (this.#isForbidden(lower))
      report(`must not be ${name}, which the sidecar writes itself or leaves out`);
    // Client and app would wait for each other's word on the body (RFC 9110, section 10.1.1).
    if (lower === 'expect' && this.#forbidden === FORBIDDEN_IN_REQUESTS) {
      report('must not be Expect, which is between the client and the app');
    }
    // A request has exactly one (RFC 9112, section 3.2).
    if (lower === 'host' && action !== 'set') report('must not be Host, which can only be set');
    if (this.#seen.has(lower)) report(`${name} is edited twice`);
    this.#seen.add(lower);
  }

  #isForbidden(lower: string): boolean {
    const meant = lower.replaceAll('_', '-');
    return this.#forbidden.has(TOLD_TO_APPS.has(meant) ? meant : lower);
  }
}

function readEdit(filter: Fields, field: string, forbidden: ReadonlySet<string>): HeaderEdit {
  if (!filter.has(field)) filter.error([field], 'is required with this type');
  const from = filter.object(field);
  const names = new EditedNames(forbidden);
  const pairs = (action: 'set' | 'add') =>
    from.objects(action, EDITS_MAX).flatMap((entry): [string, string][] => {
      const name = entry.required('name', 256);
      const value = entry.required('value', VALUE_LENGTH_MAX);
      entry.finish();
      if (name !== undefined) names.take(action, name, (message) => entry.error(['name'], message));
      if (value !== undefined) checkHeaderValue(entry, value);
      return name === undefined || value === undefined ? [] : [[name, value]];
    });
  const edit = { set: pairs('set'), add: pairs('add'), remove: readRemove(from, names) };
  from.finish();
  return edit;
}

function readRemove(from: Fields, names: EditedNames): readonly string[] {
  return from.texts('remove', EDITS_MAX).map(({ value, path }) => {
    names.take('remove', value, (message) => from.errors.push({ path, message }));
    return value.toLowerCase();
  });
}
