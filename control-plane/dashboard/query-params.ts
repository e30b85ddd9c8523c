import type { TraceQuery } from '../traces/queries.ts';
import { DASHBOARD_LIMITS, HttpError } from './http.ts';

const UNIT_US: Readonly<Record<string, number>> = {
  ns: 1e-3,
  us: 1,
  µs: 1,
  ms: 1e3,
  s: 1e6,
  m: 6e7,
  h: 3.6e9,
  d: 8.64e10,
};

/** A duration as Go writes it (`1.5s`, `100ms`, `1h30m`), and days, in microseconds. */
export function parseGoDurationUs(text: string): number | undefined {
  if (!/^(\d{1,12}(\.\d{1,9})?(ns|us|µs|ms|s|m|h|d))+$/.test(text)) return undefined;
  let us = 0;
  for (const [, amount, unit] of text.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h|d)/g)) {
    us += Number(amount) * (UNIT_US[unit ?? ''] ?? 0);
  }
  return Math.round(us);
}

function duration(params: URLSearchParams, name: string): number | undefined {
  const text = params.get(name) ?? '';
  if (text === '') return undefined;
  const us = parseGoDurationUs(text);
  if (us === undefined)
    throw new HttpError(400, `${name} must be a duration such as 100ms or 1.5s, not "${text}"`);
  return us;
}

function wholeNumber(params: URLSearchParams, name: string): number | undefined {
  const text = params.get(name) ?? '';
  if (text === '') return undefined;
  if (!/^\d{1,16}$/.test(text)) throw new HttpError(400, `${name} must be a whole number, not "${text}"`);
  return Number(text);
}

function tagsOf(params: URLSearchParams): [string, string][] {
  const tags: [string, string][] = [];
  for (const text of params.getAll('tags')) {
    if (text === '') continue;
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      parsed = undefined;
    }
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
      throw new HttpError(
        400,
        'tags must be a JSON object of text values, such as {"http.status_code":"500"}',
      );
    }
    for (const [key, value] of Object.entries(parsed)) tags.push([key, String(value)]);
  }
  for (const text of params.getAll('tag')) {
    const colon = text.indexOf(':');
    if (colon < 1) throw new HttpError(400, `tag must be key:value, not "${text}"`);
    tags.push([text.slice(0, colon), text.slice(colon + 1)]);
  }
  if (tags.length > 16) throw new HttpError(400, 'at most 16 tags can be asked for');
  return tags;
}

const LOOKBACK_DEFAULT_US = 2 * 86_400_000_000;

/** Jaeger's search parameters; `start` and `end` in microseconds, `lookback` counts when `start` is absent. */
export function traceQuery(params: URLSearchParams, nowMs: number): TraceQuery {
  const text = (name: string) => params.get(name) || undefined;
  const endUs = wholeNumber(params, 'end') ?? nowMs * 1000;
  const lookback = text('lookback') === 'custom' ? undefined : duration(params, 'lookback');
  const startUs = wholeNumber(params, 'start') ?? endUs - (lookback ?? LOOKBACK_DEFAULT_US);
  const limit = wholeNumber(params, 'limit') ?? 100;
  const service = text('service');
  const operation = text('operation');
  const minDurationUs = duration(params, 'minDuration');
  const maxDurationUs = duration(params, 'maxDuration');
  return {
    ...(service === undefined ? {} : { service }),
    ...(operation === undefined ? {} : { operation }),
    ...(minDurationUs === undefined ? {} : { minDurationUs }),
    ...(maxDurationUs === undefined ? {} : { maxDurationUs }),
    startUs,
    endUs,
    tags: tagsOf(params),
    errorsOnly: params.get('errors') === '1',
    limit: Math.max(1, Math.min(limit, DASHBOARD_LIMITS.tracesMax)),
  };
}
