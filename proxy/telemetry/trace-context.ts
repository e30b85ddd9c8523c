/** How a B3 context came in, and so how it goes on: in one header, or in several. */
export type B3Form = 'single' | 'several';

/** Where a request stands in its trace, as it came in. */
export interface TraceContext {
  /** 32 lower-case hexadecimal digits; undefined where only a sampling decision came (B3 allows that). */
  readonly traceId: string | undefined;
  /** 16 lower-case hexadecimal digits; undefined with `traceId`. */
  readonly parentId: string | undefined;
  /** Undefined: the sender leaves the choice to us. */
  readonly sampled: boolean | undefined;
  /** Passed on as it came; undefined where there is none. */
  readonly state: string | undefined;
  /** Undefined: W3C. */
  readonly b3: B3Form | undefined;
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
  return {
    traceId,
    parentId,
    sampled: (Number.parseInt(flags, 16) & SAMPLED_BIT) === 1,
    state: kept,
    b3: undefined,
  };
}

const HEX_TRACE = /^([0-9a-f]{32}|[0-9a-f]{16})$/;
const HEX_TRACE_CHARS = 32;
const HEX_SPAN = /^[0-9a-f]{16}$/;

/** B3, in its single header or its several (openzipkin/b3-propagation). Malformed ids mean that there is no context. */
export function parseB3(header: (name: string) => string | undefined): TraceContext | undefined {
  const single = header('b3');
  if (single !== undefined) {
    const [trace = '', span, decision] = single.trim().split('-');
    return span === undefined ? decisionOnly(trace, 'single') : contextOf(trace, span, decision, 'single');
  }
  const decision = header('x-b3-flags') === '1' ? 'd' : header('x-b3-sampled');
  const trace = header('x-b3-traceid');
  const span = header('x-b3-spanid');
  if (trace === undefined || span === undefined) return decisionOnly(decision, 'several');
  return contextOf(trace, span, decision, 'several');
}

function contextOf(
  trace: string,
  span: string,
  decision: string | undefined,
  b3: B3Form,
): TraceContext | undefined {
  const traceId = trace.toLowerCase().padStart(HEX_TRACE_CHARS, '0');
  const parentId = span.toLowerCase();
  if (!HEX_TRACE.test(trace.toLowerCase()) || !HEX_SPAN.test(parentId)) return undefined;
  if (traceId === ZERO_TRACE || parentId === ZERO_SPAN) return undefined;
  return { traceId, parentId, sampled: b3Decision(decision), state: undefined, b3 };
}

function decisionOnly(decision: string | undefined, b3: B3Form): TraceContext | undefined {
  const sampled = b3Decision(decision);
  return sampled === undefined
    ? undefined
    : { traceId: undefined, parentId: undefined, sampled, state: undefined, b3 };
}

/** `d` is debug, which implies sampling; `true` and `false` come from old senders. */
function b3Decision(text: string | undefined): boolean | undefined {
  if (text === '1' || text === 'd' || text === 'true') return true;
  return text === '0' || text === 'false' ? false : undefined;
}

/** The fields by which B3 goes on, in the form in which it came. */
export function formatB3(
  form: B3Form,
  traceId: string,
  spanId: string,
  sampled: boolean,
): readonly (readonly [name: string, value: string])[] {
  const decision = sampled ? '1' : '0';
  if (form === 'single') return [['b3', `${traceId}-${spanId}-${decision}`]];
  return [
    ['x-b3-traceid', traceId],
    ['x-b3-spanid', spanId],
    ['x-b3-sampled', decision],
  ];
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
