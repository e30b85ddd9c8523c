import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock, Timer } from '../../common/clock.ts';
import type { DropsView } from '../drops/feed.ts';
import type { MeshTraces } from '../traces/mesh-traces.ts';
import type { ControlPlaneView } from '../view.ts';
import { DASHBOARD_LIMITS, HttpError, SECURITY_HEADERS } from './http.ts';

/** Changes of one kind within this time are told once. */
const GATHER_MS = 250;
/** A reader this far behind is cut off; its browser comes back by itself. */
const BACKLOG_BYTES_MAX = 64 * 1024;

/** Server-sent events: `mesh` (objects, proxies, status), `traces` and `drops`; they say that something changed, not what. */
export class EventStreams {
  readonly #streams = new Set<ServerResponse>();
  readonly #clock: Clock;
  readonly #heartbeat: Timer;
  readonly #stops: readonly (() => void)[];
  readonly #waiting = new Map<string, Timer>();
  readonly #traces: MeshTraces;
  /** While somebody watches: other replicas are asked for their news. */
  #stopTraces: (() => void) | undefined;

  constructor(view: ControlPlaneView, traces: MeshTraces, drops: DropsView | undefined, clock: Clock) {
    this.#clock = clock;
    this.#traces = traces;
    this.#stops = [
      view.onChange(() => this.#soon('mesh')),
      ...(drops === undefined ? [] : [drops.onChange(() => this.#soon('drops'))]),
    ];
    this.#heartbeat = clock.every(DASHBOARD_LIMITS.heartbeatMs, () => this.#write(': still here\n\n'));
  }

  #soon(event: string): void {
    if (this.#waiting.has(event) || this.#streams.size === 0) return;
    const tell = () => {
      this.#waiting.delete(event);
      this.#write(`event: ${event}\ndata: {}\n\n`);
    };
    this.#waiting.set(event, this.#clock.after(GATHER_MS, tell, { background: true }));
  }

  #write(text: string): void {
    for (const stream of this.#streams) {
      if (stream.writableLength > BACKLOG_BYTES_MAX) stream.destroy();
      else stream.write(text);
    }
  }

  open(request: IncomingMessage, response: ServerResponse): void {
    if (this.#streams.size >= DASHBOARD_LIMITS.eventStreamsMax) {
      throw new HttpError(503, `at most ${DASHBOARD_LIMITS.eventStreamsMax} pages can watch at a time`);
    }
    response.writeHead(200, {
      ...SECURITY_HEADERS,
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    response.write('retry: 2000\n\n');
    this.#streams.add(response);
    this.#stopTraces ??= this.#traces.onChange(() => this.#soon('traces'));
    response.on('close', () => {
      this.#streams.delete(response);
      if (this.#streams.size === 0) this.#unwatch();
    });
  }

  #unwatch(): void {
    this.#stopTraces?.();
    this.#stopTraces = undefined;
  }

  close(): void {
    this.#heartbeat.cancel();
    this.#unwatch();
    for (const stop of this.#stops) stop();
    for (const timer of this.#waiting.values()) timer.cancel();
    for (const stream of this.#streams) stream.destroy();
  }
}
