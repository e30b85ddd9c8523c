import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
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
  /** Spans that were not kept, by reason: `queue-full`, `write-failed`. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Spans removed by age or count. */
  readonly expired: number;
}

export interface TraceStore {
  readonly limits: TraceLimits;
  /** Queues spans for writing; returns how many found no room. Never waits. */
  add(spans: readonly SpanRecord[]): number;
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
  #queue: SpanRecord[] = [];
  #flushTimer: Timer | undefined;
  #stored = 0;
  #expired = 0;
  #closed = false;

  constructor(options: TraceStoreOptions) {
    this.limits = { ...DEFAULT_TRACE_LIMITS, ...options.limits };
    this.#clock = options.clock;
    this.#log = options.log;
    this.#database = openDatabase(options.path, options.clock.wallMs(), options.log);
    this.#sql = statements(this.#database);
    this.#sweeper = options.clock.every(SWEEP_MS, () => this.#sweep());
    this.#sweep();
  }

  add(spans: readonly SpanRecord[]): number {
    const room = this.#closed ? 0 : this.limits.queuedSpansMax - this.#queue.length;
    const taken = spans.length <= room ? spans : spans.slice(0, Math.max(0, room));
    for (const span of taken) this.#queue.push(span);
    const lost = spans.length - taken.length;
    if (lost > 0) this.#drop('queue-full', lost);
    if (this.#queue.length > 0) this.#schedule(this.limits.flushMs);
    return lost;
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
        if (this.#queue.length > 0) this.#schedule(0);
      },
      { background: true },
    );
  }

  flush(): void {
    while (this.#queue.length > 0) this.#writeBatch();
  }

  #writeBatch(): void {
    const batch = this.#queue.splice(0, this.limits.flushSpansMax);
    if (batch.length === 0) return;
    try {
      this.#sql.begin.run();
      for (const span of batch) this.#write(span);
      this.#sql.commit.run();
      this.#stored += batch.length;
    } catch (error) {
      if (this.#database.isTransaction) this.#sql.rollback.run();
      this.#drop('write-failed', batch.length);
      this.#log.error('spans could not be written', { spans: batch.length, why: messageOf(error) });
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
