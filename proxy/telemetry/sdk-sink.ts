import {
  createTraceState,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  type IdGenerator,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { ATTR_SERVICE_NAME } from '@opentelemetry/semantic-conventions';
import { messageOf } from '../../common/errors.ts';
import type { SpanExportOptions } from './span-export.ts';
import type { SpanRecord, SpanSink } from './span-record.ts';

const QUEUE_SPANS_MAX = 8_192;
const BATCH_SPANS_MAX = 512;
const FLUSH_MS = 500;
const EXPORT_TIMEOUT_MS = 5_000;
const CLOSE_TIMEOUT_MS = 2_000;

const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const;

/** Spans were given their ids when their requests went out; the SDK takes them over. */
class PresetIds implements IdGenerator {
  traceId = '';
  spanId = '';
  generateTraceId = () => this.traceId;
  generateSpanId = () => this.spanId;
}

/** The SDK's tracer behind `SpanSink`: batches in a bounded queue, drops when the collector can't keep up. */
export function createSdkSink(options: SpanExportOptions): SpanSink {
  const ids = new PresetIds();
  const exporter = new OTLPTraceExporter({
    url: `http://${options.endpoint}`,
    timeoutMillis: EXPORT_TIMEOUT_MS,
  });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ [ATTR_SERVICE_NAME]: options.serviceName, ...options.resource }),
    sampler: new AlwaysOnSampler(),
    idGenerator: ids,
    spanProcessors: [
      new BatchSpanProcessor({
        exporter,
        maxQueueSize: QUEUE_SPANS_MAX,
        maxExportBatchSize: BATCH_SPANS_MAX,
        scheduledDelayMillis: FLUSH_MS,
        exportTimeoutMillis: EXPORT_TIMEOUT_MS,
      }),
    ],
  });
  const tracer = provider.getTracer('heddle-proxy');

  const emit = (record: SpanRecord) => {
    ids.traceId = record.traceId;
    ids.spanId = record.spanId;
    const parent =
      record.parentId === undefined
        ? ROOT_CONTEXT
        : trace.setSpanContext(ROOT_CONTEXT, {
            traceId: record.traceId,
            spanId: record.parentId,
            traceFlags: TraceFlags.SAMPLED,
            isRemote: record.parentRemote,
            ...(record.traceState === undefined ? {} : { traceState: createTraceState(record.traceState) }),
          });
    const span = tracer.startSpan(
      record.name,
      { kind: KINDS[record.kind], startTime: record.startMs, attributes: record.attributes },
      parent,
    );
    if (record.error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: record.error });
    span.end(record.endMs);
  };

  return {
    export(spans) {
      for (const span of spans) emit(span);
    },
    async close() {
      // A collector that is gone must not hold up the end of the process.
      await new Promise<void>((resolve) => {
        const late = options.clock.after(CLOSE_TIMEOUT_MS, resolve);
        provider
          .shutdown()
          .then(
            () => undefined,
            (thrown: unknown) =>
              options.log.warn('the last spans were not sent', { error: messageOf(thrown) }),
          )
          .then(() => {
            late.cancel();
            resolve();
          });
      });
    },
  };
}
