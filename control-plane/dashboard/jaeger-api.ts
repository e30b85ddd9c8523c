import { parseTraceId, toJaegerTrace } from '../traces/jaeger.ts';
import type { TraceReader } from '../traces/reader.ts';
import type { SpanRecord } from '../traces/span.ts';
import { HttpError } from './http.ts';
import { traceQuery } from './query-params.ts';

const DEPENDENCIES_LOOKBACK_MS = 24 * 3_600_000;

function found(data: readonly unknown[] | object, total: number) {
  return { data, total, limit: 0, offset: 0, errors: null };
}

/** Jaeger's error answer, whatever the status. */
export function jaegerError(status: number, message: string) {
  return { data: null, total: 0, limit: 0, offset: 0, errors: [{ code: status, msg: message }] };
}

/** Answers Jaeger's query API, or undefined where the path is none of it. Throws HttpError. */
export async function jaegerApi(traces: TraceReader, url: URL, nowMs: number): Promise<object | undefined> {
  const { pathname, searchParams } = url;
  if (pathname === '/api/services') {
    const services = await traces.services();
    return found(services, services.length);
  }
  const operationsOf = /^\/api\/services\/([^/]+)\/operations$/.exec(pathname);
  if (operationsOf !== null) {
    const operations = await traces.operations(decode(operationsOf[1]));
    const names = [...new Set(operations.map((each) => each.name))];
    return found(names, names.length);
  }
  if (pathname === '/api/operations') {
    const service = searchParams.get('service');
    if (!service) throw new HttpError(400, 'parameter service is needed');
    const kind = searchParams.get('spanKind');
    const all = await traces.operations(service);
    const operations = all.filter((each) => !kind || each.spanKind === kind);
    return found(operations, operations.length);
  }
  if (pathname === '/api/traces') return search(traces, searchParams, nowMs);
  const one = /^\/api\/traces\/([^/]+)$/.exec(pathname);
  if (one !== null) return found([toJaegerTrace(await wholeTrace(traces, decode(one[1])))], 0);
  if (pathname === '/api/dependencies') return dependencies(traces, searchParams, nowMs);
  return undefined;
}

function decode(text: string | undefined): string {
  try {
    return decodeURIComponent(text ?? '');
  } catch {
    throw new HttpError(400, 'the path is not valid percent-encoding');
  }
}

/** Every span of a trace; 400 for what is no id, 404 for an unknown one. */
export async function wholeTrace(traces: TraceReader, idText: string): Promise<SpanRecord[]> {
  const id = parseTraceId(idText);
  if (id === undefined) throw new HttpError(400, 'a trace id is 1 to 32 hexadecimal digits');
  const spans = await traces.trace(id);
  if (spans.length === 0) throw new HttpError(404, 'trace not found');
  return spans;
}

async function search(traces: TraceReader, params: URLSearchParams, nowMs: number): Promise<object> {
  const ids = params.getAll('traceID');
  if (ids.length > 0) {
    const wanted = ids.slice(0, 100).map((id) => {
      const parsed = parseTraceId(id);
      if (parsed === undefined) throw new HttpError(400, `"${id}" is no trace id`);
      return parsed;
    });
    const read = await Promise.all(wanted.map((id) => traces.trace(id)));
    return found(read.filter((spans) => spans.length > 0).map(toJaegerTrace), 0);
  }
  return found((await traces.find(traceQuery(params, nowMs))).map(toJaegerTrace), 0);
}

async function dependencies(traces: TraceReader, params: URLSearchParams, nowMs: number): Promise<object> {
  const endMs = milliseconds(params, 'endTs') ?? nowMs;
  const lookbackMs = milliseconds(params, 'lookback') ?? DEPENDENCIES_LOOKBACK_MS;
  const { edges } = await traces.graph({ startUs: (endMs - lookbackMs) * 1000, endUs: endMs * 1000 });
  // Jaeger tells copies from other calls no more than it knows of mirrors.
  const links = edges.map(({ caller, callee, requests, copies }) => ({
    ...{ parent: caller, child: callee, callCount: requests + copies },
  }));
  return found(links, 0);
}

function milliseconds(params: URLSearchParams, name: string): number | undefined {
  const text = params.get(name);
  if (text === null || text === '') return undefined;
  if (!/^\d{1,13}$/.test(text)) throw new HttpError(400, `${name} must be whole milliseconds`);
  return Number(text);
}
