import { jaegerTraceId } from '../traces/jaeger.ts';
import { type SpanRecord, STATUS, tagText } from '../traces/span.ts';

/** One line of the list of traces. Times in microseconds. */
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
  readonly services: readonly { readonly name: string; readonly spans: number }[];
}

function httpStatus(span: SpanRecord): string | undefined {
  return tagText(span, 'http.response.status_code') ?? tagText(span, 'http.status_code');
}

export function summarize(spans: readonly SpanRecord[]): TraceSummary {
  const ids = new Set(spans.map((span) => span.spanId));
  const root =
    spans.find((span) => span.parentId === '') ?? spans.find((span) => !ids.has(span.parentId)) ?? spans[0];
  let startUs = Number.MAX_SAFE_INTEGER;
  let endUs = 0;
  const services = new Map<string, number>();
  for (const span of spans) {
    startUs = Math.min(startUs, span.startUs);
    endUs = Math.max(endUs, span.startUs + span.durationUs);
    services.set(span.service, (services.get(span.service) ?? 0) + 1);
  }
  return {
    traceId: jaegerTraceId(root?.traceId ?? ''),
    startUs,
    durationUs: endUs - startUs,
    rootService: root?.service ?? '',
    rootOperation: root?.operation ?? '',
    rootPath: root === undefined ? undefined : tagText(root, 'url.path'),
    status: root === undefined ? undefined : httpStatus(root),
    failed: root?.status === STATUS.error,
    spans: spans.length,
    errors: spans.filter((span) => span.status === STATUS.error).length,
    retries: spans.filter((span) => Number(tagText(span, 'heddle.attempt') ?? 1) > 1).length,
    services: [...services].map(([name, count]) => ({ name, spans: count })),
  };
}
