import { HeddleError } from '../../../common/errors.ts';
import type { DropRecord } from '../../../common/pod-network.ts';
import { DROP } from '../../maps/drops.ts';
import { DROP_LIMITS } from '../drops.ts';

export interface DropQuery {
  readonly follow: boolean;
  /** The newest of those kept; undefined: all. */
  readonly tail: number | undefined;
  matches(record: DropRecord): boolean;
}

const REASONS: readonly string[] = Object.values(DROP).map(({ name }) => name);

/**
 * `since` (RFC 3339), `pod` (`namespace/name`, at either end), `namespace` (of either end), `reason`, `tail`, `follow=1`. Throws
 * `bad-request`.
 */
export function dropQuery(params: URLSearchParams): DropQuery {
  const pod = params.get('pod');
  const namespace = params.get('namespace');
  const reason = params.get('reason');
  const since = sinceOf(params.get('since'));
  if (reason !== null && !REASONS.includes(reason))
    throw badRequest(`reason must be one of ${REASONS.join(', ')}, not ${JSON.stringify(reason)}`);
  const ends = (record: DropRecord) =>
    [record.from, record.to].filter(({ kind }) => kind === 'pod' || kind === 'service');
  return {
    follow: params.get('follow') === '1',
    tail: tailOf(params.get('tail')),
    matches: (record) =>
      (reason === null || record.reason === reason) &&
      (since === undefined || Date.parse(record.at) >= since) &&
      (pod === null || ends(record).some(({ name }) => name === pod)) &&
      (namespace === null || ends(record).some(({ name }) => name.startsWith(`${namespace}/`))),
  };
}

function sinceOf(text: string | null): number | undefined {
  if (text === null) return undefined;
  const parsed = Date.parse(text);
  if (Number.isNaN(parsed))
    throw badRequest(`since must be a time as of RFC 3339, not ${JSON.stringify(text)}`);
  return parsed;
}

function tailOf(text: string | null): number | undefined {
  if (text === null) return undefined;
  const { dropsKeptMax } = DROP_LIMITS;
  const number = Number(text);
  if (!/^\d{1,6}$/.test(text) || number > dropsKeptMax)
    throw badRequest(`tail must be a number up to ${dropsKeptMax}, not ${JSON.stringify(text)}`);
  return number;
}

function badRequest(message: string): HeddleError {
  return new HeddleError('bad-request', message);
}
