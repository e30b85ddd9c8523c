import type { Clock } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import type { Random } from '../../common/random.ts';
import type { Direction, RequestInfo, RequestResult, RequestScope, TelemetryStage } from '../stage.ts';
import type { MirrorRecord } from './attempt-record.ts';
import type { SidecarMetrics } from './metrics.ts';
import { type RecordOwner, RequestRecord } from './request-record.ts';
import { RequestSeries } from './request-series.ts';
import { keepAfterwards, sampleHead, type TracingSettings } from './sampling.ts';
import type { SpanSink } from './span-record.ts';
import { incomingContext } from './trace-context.ts';

export interface TelemetryOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: SidecarMetrics;
  readonly spans: SpanSink;
  /** In force at the moment; a pod's annotation may override the share sampled. */
  settings(): TracingSettings;
}

/** Answers of the mesh that are logged in one second; more are only counted. */
export const loggedPerSecondMax = 10;

/** Metrics of every request, spans of those that are kept, a log line for what the mesh answered itself. */
export class Telemetry implements TelemetryStage, RecordOwner {
  readonly random: Random;
  readonly #options: TelemetryOptions;
  readonly #series: RequestSeries;
  #logSecond = 0;
  #logged = 0;

  constructor(options: TelemetryOptions) {
    this.#options = options;
    this.random = options.random;
    this.#series = new RequestSeries(options.metrics);
  }

  open(info: RequestInfo): RequestScope {
    const { settings, random } = this.#options;
    const context = incomingContext((name) => info.view.header(name));
    return new RequestRecord(this, info, context, sampleHead(context, settings().samplingPercent, random));
  }

  connection(direction: Direction, event: Parameters<TelemetryStage['connection']>[1]): void {
    this.#options.metrics.connections.add(1, direction, event);
  }

  finished(record: RequestRecord, result: RequestResult): boolean {
    const { spans, settings } = this.#options;
    const { info, decision } = record;
    const durationMs = result.endedAtMs - info.startedAtMs;
    this.#series.of(info.direction, decision).count(result, durationMs, record.attempts);
    if (result.failure !== undefined) this.#logAnswer(record, result);
    if (!record.sampled && !keepAfterwards(result, durationMs, settings())) return false;
    spans.export(record.spans(result, this.#wallOf()));
    return true;
  }

  /** A copy is over. Its span goes with those of its request, or by itself where they are gone already. */
  mirrored(record: RequestRecord, mirror: MirrorRecord): void {
    this.#series
      .of(record.info.direction, record.decision)
      .countMirror(mirror.target.cluster, mirror.outcome);
    if (record.kept === undefined) record.addMirror(mirror);
    else if (record.kept) this.#options.spans.export([mirror.span(mirror.startedAtMs, this.#wallOf())]);
  }

  /** The clock's milliseconds as time of day. */
  #wallOf(): (atMs: number) => number {
    const { clock } = this.#options;
    const offsetMs = clock.wallMs() - clock.now();
    return (atMs) => atMs + offsetMs;
  }

  #logAnswer(record: RequestRecord, result: RequestResult): void {
    const { clock, log } = this.#options;
    const second = Math.floor(clock.now() / 1000);
    if (second !== this.#logSecond) {
      this.#logSecond = second;
      this.#logged = 0;
    }
    this.#logged++;
    if (this.#logged > loggedPerSecondMax) return;
    log.info('the mesh ended a request', {
      direction: record.info.direction,
      method: record.info.view.method,
      authority: record.info.authority,
      status: result.status,
      reason: result.failure?.code,
      attempts: record.attempts,
      why: result.failure?.message,
    });
  }
}
