import { parseTraceId, toJaegerTrace } from '../traces/jaeger.ts';
import type { Answer, MeshTraces, MissingTraces } from '../traces/mesh-traces.ts';
import type { SpanRecord } from '../traces/span.ts';
import { HttpError } from './http.ts';
import { traceQuery } from './query-params.ts';

const DEPENDENCIES_LOOKBACK_MS = 24 * 3_600_000;

/** What was found, and as errors beside it, as Jaeger does, what couldn't be looked at. */
function found(data: readonly unknown[] | object, total: number, missing: readonly MissingTraces[]) {
  const errors = missing.length === 0 ? null : missing.map((one) => ({ code: 503, msg: missingText(one) }));
  return { data, total, limit: 0, offset: 0, errors };
}

function missingText({ replica, message }: MissingTraces): string {
  return `the traces of replica ${replica} are missing: ${message}`;
}

/** Jaeger's error answer, whatever the status. */
export function jaegerError(status: number, message: string) {
  return { data: null, total: 0, limit: 0, offset: 0, errors: [{ code: status, msg: message }] };
}

/** Answers Jaeger's query API, or undefined where the path is none of it. Throws HttpError. */
export async function jaegerApi(traces: MeshTraces, url: URL, nowMs: number): Promise<object | undefined> {
  const { pathname, searchParams } = url;
  if (pathname === '/api/services') {
    const { value, missing } = await traces.services();
    return found(value, value.length, missing);
  }
  const operationsOf = /^\/api\/services\/([^/]+)\/operations$/.exec(pathname);
  if (operationsOf !== null) {
    const { value, missing } = await traces.operations(decode(operationsOf[1]));
    const names = [...new Set(value.map((each) => each.name))];
    return found(names, names.length, missing);
  }
  if (pathname === '/api/operations') {
    const service = searchParams.get('service');
    if (!service) throw new HttpError(400, 'parameter service is needed');
    const kind = searchParams.get('spanKind');
    const { value, missing } = await traces.operations(service);
    const operations = value.filter((each) => !kind || each.spanKind === kind);
    return found(operations, operations.length, missing);
  }
  if (pathname === '/api/traces') return search(traces, searchParams, nowMs);
  const one = /^\/api\/traces\/([^/]+)$/.exec(pathname);
  if (one !== null) {
    const { value, missing } = await wholeTrace(traces, decode(one[1]));
    return found([toJaegerTrace(value)], 0, missing);
  }
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

/** Every span of a trace; 400 for what is no id, 404 for an unknown one, 503 where somebody who may know it couldn't be asked. */
export async function wholeTrace(traces: MeshTraces, idText: string): Promise<Answer<SpanRecord[]>> {
  const id = parseTraceId(idText);
  if (id === undefined) throw new HttpError(400, 'a trace id is 1 to 32 hexadecimal digits');
  const { value, missing } = await traces.traces([id]);
  const [spans = []] = value;
  if (spans.length > 0) return { value: spans, missing };
  if (missing.length === 0) throw new HttpError(404, 'trace not found');
  throw new HttpError(503, `trace not found, but ${missing.map(missingText).join('; ')}`);
}

async function search(traces: MeshTraces, params: URLSearchParams, nowMs: number): Promise<object> {
  const ids = params.getAll('traceID');
  if (ids.length > 0) {
    const wanted = ids.slice(0, 100).map((id) => {
      const parsed = parseTraceId(id);
      if (parsed === undefined) throw new HttpError(400, `"${id}" is no trace id`);
      return parsed;
    });
    const { value, missing } = await traces.traces(wanted);
    return found(value.filter((spans) => spans.length > 0).map(toJaegerTrace), 0, missing);
  }
  const { value, missing } = await traces.find(traceQuery(params, nowMs));
  return found(value.map(toJaegerTrace), 0, missing);
}

async function dependencies(traces: MeshTraces, params: URLSearchParams, nowMs: number): Promise<object> {
  const endMs = milliseconds(params, 'endTs') ?? nowMs;
  const lookbackMs = milliseconds(params, 'lookback') ?? DEPENDENCIES_LOOKBACK_MS;
  const window = { startUs: (endMs - lookbackMs) * 1000, endUs: endMs * 1000 };
  const { value, missing } = await traces.graph(window);
  // Jaeger tells copies from other calls no more than it knows of mirrors.
  const links = value.edges.map(({ caller, callee, requests, copies }) => ({
    ...{ parent: caller, child: callee, callCount: requests + copies },
  }));
  return found(links, 0, missing);
}

function milliseconds(params: URLSearchParams, name: string): number | undefined {
  const text = params.get(name);
  if (text === null || text === '') return undefined;
  if (!/^\d{1,13}$/.test(text)) throw new HttpError(400, `${name} must be whole milliseconds`);
  return Number(text);
}
