import { errorsOf, isCopy, originals } from '../traces/copies.ts';
import { jaegerTraceId } from '../traces/jaeger.ts';
import { type SpanRecord, STATUS, tagText } from '../traces/span.ts';

/**
 * One line of the list of traces. Times in microseconds. Copies for mirrors, and what they caused, are among `spans` and
 * `services` only: the client knows nothing of them.
 */
export interface TraceSummary {
  readonly traceId: string;
  readonly startUs: number;
  readonly durationUs: number;
  readonly rootService: string;
  readonly rootOperation: string;
  /** Where the root was asked; its operation leaves it out, to be few in number. */
  readonly rootPath: string | undefined;
  /** The status the root's client saw, where it is HTTP. */
  readonly status: string | undefined;
  /** Whether the root itself failed: a retry may have saved a request with errors inside. */
  readonly failed: boolean;
  readonly spans: number;
  readonly errors: number;
  readonly retries: number;
  /** Requests that were copied, each time counted. */
  readonly copies: number;
  readonly services: readonly { readonly name: string; readonly spans: number }[];
}

function httpStatus(span: SpanRecord): string | undefined {
  return tagText(span, 'http.response.status_code') ?? tagText(span, 'http.status_code');
}

export function summarize(spans: readonly SpanRecord[]): TraceSummary {
  const own = originals(spans);
  // Where nothing but copies has come yet, they are what there is to show; their errors are still nobody's.
  const asked = own.length === 0 ? spans : own;
  const ids = new Set(spans.map((span) => span.spanId));
  const root =
    asked.find((span) => span.parentId === '') ?? asked.find((span) => !ids.has(span.parentId)) ?? asked[0];
  let startUs = Number.MAX_SAFE_INTEGER;
  let endUs = 0;
  for (const span of asked) {
    startUs = Math.min(startUs, span.startUs);
    endUs = Math.max(endUs, span.startUs + span.durationUs);
  }
  const services = new Map<string, number>();
  for (const { service } of spans) services.set(service, (services.get(service) ?? 0) + 1);
  return {
    traceId: jaegerTraceId(root?.traceId ?? ''),
    startUs,
    durationUs: endUs - startUs,
    rootService: root?.service ?? '',
    rootOperation: root?.operation ?? '',
    rootPath: root === undefined ? undefined : tagText(root, 'url.path'),
    status: root === undefined ? undefined : httpStatus(root),
    failed: own.length > 0 && root?.status === STATUS.error,
    spans: spans.length,
    errors: errorsOf(spans).length,
    retries: own.filter((span) => Number(tagText(span, 'heddle.attempt') ?? 1) > 1).length,
    copies: spans.filter(isCopy).length,
    services: [...services].map(([name, count]) => ({ name, spans: count })),
  };
}
