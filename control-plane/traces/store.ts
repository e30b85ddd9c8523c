import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { roomKeeper } from './disk.ts';
import {
  type Calls,
  type Cause,
  type GraphWindow,
  graphOf,
  readCalls,
  readCauses,
  type ServiceGraph,
} from './graph.ts';
import { DEFAULT_TRACE_LIMITS, type TraceLimits } from './limits.ts';
import { findTraces, type TraceQuery } from './queries.ts';
import { type Refused, SpanQueue } from './queue.ts';
import { openDatabase } from './schema.ts';
import { type SpanRecord, STATUS, type Tag } from './span.ts';

export interface TraceStoreOptions {
  /** A file, or `:memory:`. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: Partial<TraceLimits>;
}

export interface TraceCounters {
  readonly stored: number;
  /** Spans that were not kept, by reason: `too-large`, `queue-full`, `write-failed`. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Spans removed by age, by count or for the room that they took. */
  readonly expired: number;
}

export interface TraceStore {
  readonly limits: TraceLimits;
  /** Queues spans for writing; returns how many were not taken, by reason. Never waits. */
  add(spans: readonly SpanRecord[]): Refused;
  services(): string[];
  operations(service: string): { name: string; spanKind: string }[];
  /** Whole traces that have a span fitting the query, the newest first. */
  find(query: TraceQuery): SpanRecord[][];
  /** Every span of a trace (32 hexadecimal digits), by start; empty where it is unknown. */
  trace(traceId: string): SpanRecord[];
  graph(window: GraphWindow): ServiceGraph;
  calls(window: GraphWindow): Calls;
  causes(spans: readonly string[]): (Cause | null)[];
  counters(): TraceCounters;
  /** Runs after new spans can be read. Returns the function that stops it. */
  onChange(listener: () => void): () => void;
  flush(): void;
  close(): void;
}

const KIND_NAMES = ['', 'internal', 'server', 'client', 'producer', 'consumer'];
const SWEEP_MS = 5_000;
/** Of one sweep, so that a sweep never holds the event loop for long. */
const SWEEP_SPANS_MAX = 5_000;

function kindName(kind: number): string {
  return KIND_NAMES[kind] ?? '';
}

/** What `tags=` finds a span by beside its own attributes: as Jaeger shows them. */
export function derivedTags(span: SpanRecord): Tag[] {
  const tags: Tag[] = [];
  const text = (key: string, value: string) => {
    if (value !== '') tags.push({ key, type: 'string', value });
  };
  text('otel.scope.name', span.scopeName);
  text('otel.scope.version', span.scopeVersion);
  text('span.kind', kindName(span.kind));
  if (span.status === STATUS.ok) text('otel.status_code', 'OK');
  if (span.status === STATUS.error) {
    text('otel.status_code', 'ERROR');
    tags.push({ key: 'error', type: 'bool', value: true });
  }
  text('otel.status_description', span.statusMessage);
  text('w3c.tracestate', span.traceState);
  return tags;
}

function statements(database: DatabaseSync) {
  return {
    begin: database.prepare('BEGIN IMMEDIATE'),
    commit: database.prepare('COMMIT'),
    rollback: database.prepare('ROLLBACK'),
    insert: database.prepare(
      'INSERT OR REPLACE INTO spans (trace_id, span_id, parent_id, service, operation, kind, start_us, duration_us, error, body) VALUES (?,?,?,?,?,?,?,?,?,?)',
    ),
    tag: database.prepare('INSERT OR IGNORE INTO tags (span, key, value) VALUES (?,?,?)'),
    trace: database.prepare('SELECT body FROM spans WHERE trace_id = ? ORDER BY start_us, id'),
    services: database.prepare('SELECT DISTINCT service FROM spans ORDER BY service'),
    operations: database.prepare(
      'SELECT DISTINCT operation, kind FROM spans WHERE service = ? ORDER BY operation, kind',
    ),
    count: database.prepare('SELECT count(*) AS n FROM spans'),
    expireAge: database.prepare(
      'DELETE FROM spans WHERE id IN (SELECT id FROM spans WHERE start_us < ? ORDER BY start_us LIMIT ?)',
    ),
    expireCount: database.prepare(
      'DELETE FROM spans WHERE id IN (SELECT id FROM spans ORDER BY start_us LIMIT ?)',
    ),
  };
}

class SqliteTraceStore implements TraceStore {
  readonly limits: TraceLimits;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #database: DatabaseSync;
  readonly #sql: ReturnType<typeof statements>;
  readonly #listeners = new Set<() => void>();
  readonly #sweeper: Timer;
  readonly #dropped: Record<string, number> = {};
  /** Removes what is oldest where these bytes more would be too many. */
  readonly #makeRoom: (bytes: number) => number;
  readonly #queue: SpanQueue;
  #flushTimer: Timer | undefined;
  #stored = 0;
  #expired = 0;
  #closed = false;

  constructor(options: TraceStoreOptions) {
    this.limits = { ...DEFAULT_TRACE_LIMITS, ...options.limits };
    this.#queue = new SpanQueue(this.limits);
    this.#clock = options.clock;
    this.#log = options.log;
    const { path, clock, log } = options;
    const { diskBytesMax } = this.limits;
    this.#database = openDatabase({ path, diskBytesMax, wallMs: clock.wallMs(), log });
    this.#sql = statements(this.#database);
    this.#makeRoom = roomKeeper(this.#database, diskBytesMax);
    this.#sweeper = options.clock.every(SWEEP_MS, () => this.#sweep());
    this.#sweep();
  }

  add(spans: readonly SpanRecord[]): Refused {
    const refused: Refused = this.#closed ? new Map([['queue-full', spans.length]]) : this.#queue.add(spans);
    for (const [why, count] of refused) this.#drop(why, count);
    if (!this.#queue.empty) this.#schedule(this.limits.flushMs);
    return refused;
  }

  #drop(why: string, count: number): void {
    this.#dropped[why] = (this.#dropped[why] ?? 0) + count;
  }

  #schedule(delayMs: number): void {
    this.#flushTimer ??= this.#clock.after(
      delayMs,
      () => {
        this.#flushTimer = undefined;
        this.#writeBatch();
        if (!this.#queue.empty) this.#schedule(0);
      },
      { background: true },
    );
  }

  flush(): void {
    while (!this.#queue.empty) this.#writeBatch();
  }

  #writeBatch(): void {
    const { spans, bytes } = this.#queue.next();
    if (spans.length === 0) return;
    try {
      this.#expired += this.#makeRoom(bytes);
      this.#sql.begin.run();
      for (const span of spans) this.#write(span);
      this.#sql.commit.run();
      this.#stored += spans.length;
    } catch (error) {
      if (this.#database.isTransaction) this.#sql.rollback.run();
      this.#drop('write-failed', spans.length);
      this.#log.error('spans could not be written', { spans: spans.length, why: messageOf(error) });
      return;
    }
    for (const listener of this.#listeners) listener();
  }

  #write(span: SpanRecord): void {
    const error = span.status === STATUS.error ? 1 : 0;
    const { lastInsertRowid } = this.#sql.insert.run(
      ...[span.traceId, span.spanId, span.parentId, span.service, span.operation],
      ...[span.kind, span.startUs, span.durationUs, error, JSON.stringify(span)],
    );
    const index = (tag: Tag) => {
      const value = String(tag.value);
      if (value.length <= this.limits.indexedValueBytesMax)
        this.#sql.tag.run(lastInsertRowid, tag.key, value);
    };
    span.tags.forEach(index);
    span.processTags.forEach(index);
    derivedTags(span).forEach(index);
    for (const event of span.events) event.tags.forEach(index);
  }

  #sweep(): void {
    try {
      const oldestUs = (this.#clock.wallMs() - this.limits.retentionMs) * 1000;
      this.#expired += Number(this.#sql.expireAge.run(oldestUs, SWEEP_SPANS_MAX).changes);
      const surplus = Number(this.#sql.count.get()?.n ?? 0) - this.limits.spansMax;
      if (surplus > 0) {
        this.#expired += Number(this.#sql.expireCount.run(Math.min(surplus, SWEEP_SPANS_MAX)).changes);
      }
      // A smaller limit than the file was made with.
      this.#expired += this.#makeRoom(0);
    } catch (error) {
      this.#log.error('old spans could not be removed', { why: messageOf(error) });
    }
  }

  services(): string[] {
    this.flush();
    return this.#sql.services.all().map((row) => String(row.service));
  }

  operations(service: string): { name: string; spanKind: string }[] {
    this.flush();
    return this.#sql.operations
      .all(service)
      .map((row) => ({ name: String(row.operation), spanKind: kindName(Number(row.kind)) }));
  }

  trace(traceId: string): SpanRecord[] {
    this.flush();
    return this.#sql.trace.all(traceId).map((row) => JSON.parse(String(row.body)) as SpanRecord);
  }

  find(query: TraceQuery): SpanRecord[][] {
    this.flush();
    return findTraces(this.#database, query).map((id) => this.trace(id));
  }

  graph(window: GraphWindow): ServiceGraph {
    return graphOf([this.calls(window)]);
  }

  calls(window: GraphWindow): Calls {
    this.flush();
    return readCalls(this.#rows(), window);
  }

  causes(spans: readonly string[]): (Cause | null)[] {
    this.flush();
    return readCauses(this.#rows(), spans);
  }

  /** Each text is prepared once. */
  #rows() {
    const prepared = new Map<string, StatementSync>();
    return (sql: string, ...values: SQLInputValue[]) => {
      const statement = prepared.get(sql) ?? this.#database.prepare(sql);
      prepared.set(sql, statement);
      return statement.all(...values);
    };
  }

  counters(): TraceCounters {
    return { stored: this.#stored, dropped: { ...this.#dropped }, expired: this.#expired };
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    this.#sweeper.cancel();
    this.#flushTimer?.cancel();
    this.#database.close();
  }
}

/** Opens the store. It survives restarts; writes happen in batches, off the senders' way. Throws if no file can be made. */
export function openTraceStore(options: TraceStoreOptions): TraceStore {
  return new SqliteTraceStore(options);
}
