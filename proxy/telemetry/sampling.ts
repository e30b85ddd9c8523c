import type { Random } from '../../common/random.ts';
import type { SidecarSettings } from '../../model/snapshot.ts';
import type { RequestResult } from '../stage.ts';
import type { TraceContext } from './trace-context.ts';

export type TracingSettings = SidecarSettings['tracing'];

/** Decided once, at the root of a trace; everybody after it follows the flag that came in. */
export function sampleHead(
  context: TraceContext | undefined,
  samplingPercent: number,
  random: Random,
): boolean {
  if (context?.sampled !== undefined) return context.sampled;
  return samplingPercent >= 100 || random.next() * 100 < samplingPercent;
}

const FIRST_ERROR_STATUS = 500;

/** Whether a request that wasn't sampled is kept all the same, now that its end is known. */
export function keepAfterwards(
  result: RequestResult,
  durationMs: number,
  settings: TracingSettings,
): boolean {
  if (settings.keepErrors && (result.failure !== undefined || result.status >= FIRST_ERROR_STATUS))
    return true;
  return settings.keepSlowerThanMs > 0 && durationMs > settings.keepSlowerThanMs;
}
