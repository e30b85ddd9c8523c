/** Where a request stands in its trace, as it came in. */
export interface TraceContext {
  /** 32 lower-case hexadecimal digits. */
  readonly traceId: string;
  /** 16 lower-case hexadecimal digits. */
  readonly parentId: string;
  /** Undefined: the sender leaves the choice to us. */
  readonly sampled: boolean | undefined;
  /** Passed on as it came; undefined where there is none. */
  readonly state: string | undefined;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const ZERO_TRACE = '0'.repeat(32);
const ZERO_SPAN = '0'.repeat(16);
/** W3C Trace Context, section 3.3.1.5: at least 512 characters have to be passed on. */
const TRACESTATE_CHARS_MAX = 512;
const SAMPLED_BIT = 1;

/**
 * `traceparent` (W3C Trace Context, section 3.2). A version above 00 may carry more after the flags; version ff, zero ids
 * and anything malformed mean that there is no context.
 */
export function parseTraceparent(text: string | undefined, state?: string): TraceContext | undefined {
  if (text === undefined) return undefined;
  const match = TRACEPARENT.exec(text.trim());
  if (match === null) return undefined;
  const [, version = '', traceId = '', parentId = '', flags = '', rest] = match;
  if (version === 'ff' || traceId === ZERO_TRACE || parentId === ZERO_SPAN) return undefined;
  if (version === '00' && rest !== undefined) return undefined;
  const kept = state !== undefined && state.length <= TRACESTATE_CHARS_MAX ? state : undefined;
  return { traceId, parentId, sampled: (Number.parseInt(flags, 16) & SAMPLED_BIT) === 1, state: kept };
}

const HEX_TRACE = /^([0-9a-f]{32}|[0-9a-f]{16})$/;
const HEX_SPAN = /^[0-9a-f]{16}$/;

/** B3, in its single header or its several (openzipkin/b3-propagation). */
export function parseB3(header: (name: string) => string | undefined): TraceContext | undefined {
  const single = header('b3');
  const [trace, span, decision] =
    single === undefined
      ? [
          header('x-b3-traceid'),
          header('x-b3-spanid'),
          header('x-b3-flags') === '1' ? 'd' : header('x-b3-sampled'),
        ]
      : single.split('-');
  if (trace === undefined || span === undefined) return undefined;
  const traceId = trace.toLowerCase();
  const parentId = span.toLowerCase();
  if (!HEX_TRACE.test(traceId) || !HEX_SPAN.test(parentId)) return undefined;
  const padded = traceId.padStart(32, '0');
  if (padded === ZERO_TRACE || parentId === ZERO_SPAN) return undefined;
  const sampled =
    decision === undefined ? undefined : decision === '1' || decision === 'd' || decision === 'true';
  return { traceId: padded, parentId, sampled, state: undefined };
}

/** The context a request brings: W3C first, B3 where there is none. */
export function incomingContext(header: (name: string) => string | undefined): TraceContext | undefined {
  const parent = header('traceparent');
  if (parent !== undefined) return parseTraceparent(parent, header('tracestate'));
  return parseB3(header);
}

export function formatTraceparent(traceId: string, spanId: string, sampled: boolean): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;
}
