import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { SpanRecord, SpanSink } from './span-record.ts';

export interface SpanExportOptions {
  /** host:port of an OTLP/gRPC collector. */
  readonly endpoint: string;
  readonly serviceName: string;
  readonly resource: Readonly<Record<string, string>>;
  readonly log: Logger;
  readonly clock: Clock;
}

/** Spans that wait for the SDK to load; more are dropped, and counted in the log. */
const WAITING_SPANS_MAX = 2_048;

/**
 * Exports spans by the OpenTelemetry SDK. The SDK is loaded with the first span: a sidecar that traces nothing doesn't
 * carry it.
 */
export function createSpanExport(options: SpanExportOptions): SpanSink {
  let loaded: SpanSink | undefined;
  let loading: Promise<void> | undefined;
  let waiting: SpanRecord[] = [];
  const load = async () => {
    try {
      const { createSdkSink } = await import('./sdk-sink.ts');
      loaded = createSdkSink(options);
      loaded.export(waiting);
    } catch (thrown) {
      options.log.error('the tracing SDK cannot be loaded; spans are dropped', { error: messageOf(thrown) });
    }
    waiting = [];
  };
  return {
    export(spans) {
      if (loaded !== undefined) {
        loaded.export(spans);
        return;
      }
      if (waiting.length + spans.length <= WAITING_SPANS_MAX) waiting.push(...spans);
      loading ??= load();
    },
    async close() {
      await loading;
      await loaded?.close();
    },
  };
}
