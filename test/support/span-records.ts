import type { SpanRecord } from '../../control-plane/traces/span.ts';

/** A server's span of a trace of its own, both with this number, that many microseconds after `epochUs`. */
export function spanRecord(epochUs: number, number: number, from: Partial<SpanRecord> = {}): SpanRecord {
  return {
    traceId: number.toString(16).padStart(32, '0'),
    spanId: number.toString(16).padStart(16, '0'),
    ...{ parentId: '', service: 'web', operation: 'GET /', kind: 2 },
    ...{ startUs: epochUs + number, durationUs: 1000 },
    ...{ status: 0, statusMessage: '', traceState: '', scopeName: '', scopeVersion: '' },
    ...{ tags: [], processTags: [], events: [], links: [] },
    ...from,
  };
}
