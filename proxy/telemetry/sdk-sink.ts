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
  type SpanExporter,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { ATTR_SERVICE_NAME } from '@opentelemetry/semantic-conventions';
import { messageOf } from '../../common/errors.ts';
import type { SpanExportOptions } from './span-export.ts';
import type { SpanRecord, SpanSink } from './span-record.ts';

/** Spans that wait to be sent, or are being sent; more are dropped and counted. */
export const queueSpansMax = 4_096;
const BATCH_SPANS_MAX = 512;
const FLUSH_MS = 500;
const EXPORT_TIMEOUT_MS = 5_000;
export const closeTimeoutMs = 2_000;
/** The SDK's code for a batch that was taken (`ExportResultCode.SUCCESS`). */
const TAKEN = 0;

const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const;

/** Spans were given their ids when their requests went out; the SDK takes them over. */
class PresetIds implements IdGenerator {
  traceId = '';
  spanId = '';
  generateTraceId = () => this.traceId;
  generateSpanId = () => this.spanId;
}

/** Knows how many spans are on their way, and tells when the collector takes none and when it does again. */
class WatchedExporter implements SpanExporter {
  pendingSpans = 0;
  readonly #inner: SpanExporter;
  readonly #options: SpanExportOptions;
  #lost = 0;

  constructor(inner: SpanExporter, options: SpanExportOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  export(...[spans, done]: Parameters<SpanExporter['export']>): void {
    this.#inner.export(spans, (result) => {
      this.pendingSpans -= spans.length;
      if (result.code === TAKEN) this.#taken();
      else this.#failed(spans.length, result.error);
      done(result);
    });
  }

  shutdown(): Promise<void> {
    return this.#inner.shutdown();
  }

  #taken(): void {
    if (this.#lost === 0) return;
    const { log, endpoint } = this.#options;
    log.info('the trace collector takes spans again', { endpoint, lost: this.#lost });
    this.#lost = 0;
  }

  #failed(count: number, error: Error | undefined): void {
    const { log, endpoint, onDropped } = this.#options;
    onDropped('not-sent', count);
    if (this.#lost === 0) {
      log.warn('the trace collector takes no spans; they are dropped until it does', {
        endpoint,
        error: messageOf(error ?? 'refused'),
      });
    }
    this.#lost += count;
  }
}

/** The SDK's tracer behind `SpanSink`: batches in a bounded queue, drops when the collector can't keep up. */
export function createSdkSink(options: SpanExportOptions): SpanSink {
  const ids = new PresetIds();
  const exporter = new WatchedExporter(
    new OTLPTraceExporter({ url: `http://${options.endpoint}`, timeoutMillis: EXPORT_TIMEOUT_MS }),
    options,
  );
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ [ATTR_SERVICE_NAME]: options.serviceName, ...options.resource }),
    sampler: new AlwaysOnSampler(),
    idGenerator: ids,
    spanProcessors: [
      new BatchSpanProcessor({
        exporter,
        maxQueueSize: queueSpansMax,
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
    const span = tracer.startSpan(
      record.name,
      { kind: KINDS[record.kind], startTime: record.startMs, attributes: record.attributes },
      parentOf(record),
    );
    if (record.error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: record.error });
    exporter.pendingSpans++;
    span.end(record.endMs);
  };

  return {
    export(spans) {
      if (exporter.pendingSpans + spans.length > queueSpansMax) options.onDropped('queue-full', spans.length);
      else for (const span of spans) emit(span);
    },
    async close() {
      // A collector that is gone must not hold up the end of the process.
      await new Promise<void>((resolve) => {
        const late = options.clock.after(closeTimeoutMs, resolve);
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

function parentOf({ traceId, parentId, parentRemote, traceState }: SpanRecord) {
  if (parentId === undefined) return ROOT_CONTEXT;
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId: parentId,
    traceFlags: TraceFlags.SAMPLED,
    isRemote: parentRemote,
    ...(traceState === undefined ? {} : { traceState: createTraceState(traceState) }),
  });
}
