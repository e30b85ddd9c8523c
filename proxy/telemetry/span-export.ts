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
  /** Spans that nobody will see, for the counters. */
  readonly onDropped: (why: DropReason, count: number) => void;
}

/** Why a span was dropped: the SDK wasn't there yet, the queue was full, the collector didn't take it. */
export type DropReason = 'not-loaded' | 'queue-full' | 'not-sent';

/** Makes the sink that does the work; resolves once its code is there. */
export type LoadSink = (options: SpanExportOptions) => Promise<SpanSink>;

/** Spans that wait for the SDK to load; more are dropped and counted. */
export const waitingSpansMax = 2_048;

const loadSdkSink: LoadSink = async (options) => {
  const { createSdkSink } = await import('./sdk-sink.ts');
  return createSdkSink(options);
};

/**
 * Exports spans by the OpenTelemetry SDK. The SDK is loaded with the first span: a sidecar that traces nothing doesn't
 * carry it.
 */
export function createSpanExport(options: SpanExportOptions, loadSink: LoadSink = loadSdkSink): SpanSink {
  return new LazyExport(options, loadSink);
}

class LazyExport implements SpanSink {
  readonly #options: SpanExportOptions;
  readonly #loadSink: LoadSink;
  #sink: SpanSink | undefined;
  #loading: Promise<void> | undefined;
  #failed = false;
  #waiting: SpanRecord[] = [];

  constructor(options: SpanExportOptions, loadSink: LoadSink) {
    this.#options = options;
    this.#loadSink = loadSink;
  }

  export(spans: readonly SpanRecord[]): void {
    if (this.#sink !== undefined) {
      this.#sink.export(spans);
      return;
    }
    const room = !this.#failed && this.#waiting.length + spans.length <= waitingSpansMax;
    if (room) this.#waiting.push(...spans);
    else this.#options.onDropped('not-loaded', spans.length);
    this.#loading ??= this.#load();
  }

  async close(): Promise<void> {
    await this.#loading;
    await this.#sink?.close();
  }

  async #load(): Promise<void> {
    const { log, onDropped } = this.#options;
    try {
      const sink = await this.#loadSink(this.#options);
      sink.export(this.#waiting);
      this.#sink = sink;
    } catch (thrown) {
      this.#failed = true;
      onDropped('not-loaded', this.#waiting.length);
      log.error('the tracing SDK cannot be loaded; spans are dropped', { error: messageOf(thrown) });
    }
    this.#waiting = [];
  }
}

/** An export that goes where `endpoint` says at the moment: the mesh's settings may name another collector at any time. */
export function followCollector(
  options: Omit<SpanExportOptions, 'endpoint'>,
  endpoint: () => string,
  create: (options: SpanExportOptions) => SpanSink = createSpanExport,
): SpanSink {
  let current: { readonly endpoint: string; readonly sink: SpanSink } | undefined;
  const closing = new Set<Promise<void>>();
  const sinkOfNow = () => {
    const wanted = endpoint();
    if (current?.endpoint !== wanted) {
      if (current !== undefined) retire(current.sink);
      current = { endpoint: wanted, sink: create({ ...options, endpoint: wanted }) };
    }
    return current.sink;
  };
  const retire = (sink: SpanSink) => {
    const closed = sink.close().finally(() => closing.delete(closed));
    closing.add(closed);
  };
  return {
    export: (spans) => sinkOfNow().export(spans),
    async close() {
      if (current !== undefined) retire(current.sink);
      current = undefined;
      await Promise.all(closing);
    },
  };
}
