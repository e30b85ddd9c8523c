import type { Fields } from '../read/fields.ts';
import type { HeaderEdit, Redirect, UrlRewrite } from '../snapshot.ts';
import { readServiceRef, type ServiceRef } from './backend-ref.ts';
import { readRequestEdit, readResponseEdit } from './header-edits.ts';
import { readRedirect, readRewrite, settingsOf } from './url-filters.ts';

const FILTERS_MAX = 16;
/** An `int32` of the Gateway API. */
const FRACTION_MAX = 2_147_483_647;

export interface HeaderFilters {
  readonly requestHeaders: HeaderEdit | undefined;
  readonly responseHeaders: HeaderEdit | undefined;
}

/** A `RequestMirror` whose reference nobody has followed yet. */
export interface ParsedMirror {
  readonly ref: ServiceRef;
  readonly numerator: number;
  readonly denominator: number;
}

export interface Filters extends HeaderFilters {
  readonly redirect: Redirect | undefined;
  readonly rewrite: UrlRewrite | undefined;
  readonly mirrors: readonly ParsedMirror[];
}

const TYPES = [
  'RequestHeaderModifier',
  'ResponseHeaderModifier',
  'RequestRedirect',
  'URLRewrite',
  'RequestMirror',
] as const;
type FilterType = (typeof TYPES)[number];
/** The filters that one backend may have. */
const BACKEND_TYPES: readonly FilterType[] = ['RequestHeaderModifier', 'ResponseHeaderModifier'];
/** What a backend may have in the place of a filter that it can't. */
const INSTEAD: Readonly<Record<string, string>> = {
  URLRewrite: 'write it among the filters of the rule, or a hostname as Host of a RequestHeaderModifier',
};
/** What can't stand in one rule with a redirect, and why. */
const BESIDE_REDIRECT: Partial<Record<FilterType, string>> = {
  RequestHeaderModifier: 'no request goes on that could be edited',
  URLRewrite: 'write the path and the host into the redirect',
  RequestMirror: 'no request goes on that could be copied',
};

/** The filters of a rule; what isn't supported is refused by name, and so is what the API forbids together. */
export function readFilters(rule: Fields, namespace: string): Filters {
  const filters = new FilterList(rule, namespace, TYPES, (type) => `${type} is not supported`);
  for (const [type, why] of Object.entries(BESIDE_REDIRECT)) {
    if (filters.redirect === undefined) break;
    const message = `must not stand beside RequestRedirect: ${why}`;
    filters.placeOf(type)?.error(['type'], message, 'IncompatibleFilters');
  }
  const { requestHeaders, responseHeaders, redirect, rewrite, mirrors } = filters;
  return { requestHeaders, responseHeaders, redirect, rewrite, mirrors };
}

/** The filters of one backend: those that edit headers. */
export function readBackendFilters(backend: Fields): HeaderFilters {
  const { requestHeaders, responseHeaders } = new FilterList(backend, '', BACKEND_TYPES, (type) =>
    TYPES.some((known) => known === type)
      ? `${type} is not supported for one backend, ${INSTEAD[type] ?? 'write it among the filters of the rule'}`
      : `${type} is not supported`,
  );
  return { requestHeaders, responseHeaders };
}

class FilterList {
  requestHeaders: HeaderEdit | undefined;
  responseHeaders: HeaderEdit | undefined;
  redirect: Redirect | undefined;
  rewrite: UrlRewrite | undefined;
  readonly mirrors: ParsedMirror[] = [];
  readonly #places = new Map<string, Fields>();

  constructor(
    owner: Fields,
    namespace: string,
    allowed: readonly FilterType[],
    refusal: (type: string) => string,
  ) {
    for (const filter of owner.objects('filters', FILTERS_MAX)) {
      const given = filter.required('type');
      const type = allowed.find((one) => one === given);
      if (type !== undefined) this.#read(type, filter, namespace);
      else if (given !== undefined) {
        filter.error(['type'], `${refusal(given)}: ${allowed.join(', ')} are`);
        continue;
      }
      filter.finish();
    }
  }

  /** The first filter of a type. */
  placeOf(type: string): Fields | undefined {
    return this.#places.get(type);
  }

  #read(type: FilterType, filter: Fields, namespace: string): void {
    if (!this.#places.has(type)) this.#places.set(type, filter);
    else if (type !== 'RequestMirror') filter.error(['type'], 'must not be repeated', 'IncompatibleFilters');
    READERS[type](this, filter, namespace);
  }
}

const READERS: Record<FilterType, (into: FilterList, filter: Fields, namespace: string) => void> = {
  RequestHeaderModifier: (into, filter) => {
    into.requestHeaders = readRequestEdit(filter);
  },
  ResponseHeaderModifier: (into, filter) => {
    into.responseHeaders = readResponseEdit(filter);
  },
  RequestRedirect: (into, filter) => {
    into.redirect = readRedirect(filter);
  },
  URLRewrite: (into, filter) => {
    into.rewrite = readRewrite(filter);
  },
  RequestMirror: (into, filter, namespace) => {
    into.mirrors.push(readMirror(filter, namespace));
  },
};

function readMirror(filter: Fields, namespace: string): ParsedMirror {
  const from = settingsOf(filter, 'requestMirror');
  const backend = from.object('backendRef');
  const ref = readServiceRef(backend, namespace);
  backend.finish();
  const percent = from.integer('percent', 0, 100);
  const fraction = from.object('fraction');
  if (percent !== undefined && from.has('fraction')) {
    from.error(['fraction'], 'must not stand beside percent: one of them says how many requests are copied');
  }
  const share = from.has('fraction')
    ? readFraction(fraction)
    : { numerator: percent ?? 100, denominator: 100 };
  from.finish();
  return { ref, ...share };
}

function readFraction(from: Fields): { readonly numerator: number; readonly denominator: number } {
  if (!from.has('numerator')) from.error(['numerator'], 'is required');
  const numerator = from.integer('numerator', 0, FRACTION_MAX) ?? 0;
  const denominator = from.integer('denominator', 1, FRACTION_MAX) ?? 100;
  if (numerator > denominator) from.error(['numerator'], 'must not be above the denominator');
  from.finish();
  return { numerator, denominator };
}
