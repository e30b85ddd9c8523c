import type { DatabaseSync } from 'node:sqlite';
import { PAGES_SHARE } from './limits.ts';
import type { SpanRecord, Tag } from './span.ts';

/** What a row costs beside its texts: keys of the indexes, and the names of JSON's fields. */
const SPAN_BYTES = 512;
const TAG_BYTES = 64;

/** What a span takes once it is stored, about. */
export function storedBytes(span: SpanRecord): number {
  let bytes = SPAN_BYTES + span.traceState.length + span.statusMessage.length;
  const count = (tags: readonly Tag[]) => {
    for (const { key, value } of tags) {
      bytes += TAG_BYTES + key.length + (typeof value === 'string' ? Buffer.byteLength(value) : 0);
    }
  };
  count(span.tags);
  count(span.processTags);
  for (const event of span.events) {
    bytes += TAG_BYTES + event.name.length;
    count(event.tags);
  }
  return bytes + TAG_BYTES * span.links.length;
}

/** Spans whose traces leave at one time, and how many spans of theirs at most: each time is a transaction. */
const OLDEST_SPANS = 64;
const REMOVED_SPANS_MAX = 5_000;

/**
 * Keeps a database within its share of the disk by letting the oldest traces go. Pages that they leave are written again, so
 * that the file doesn't grow any more; it never shrinks.
 */
export function roomKeeper(database: DatabaseSync, diskBytesMax: number): (bytes: number) => number {
  const pages = database.prepare('PRAGMA page_count');
  const free = database.prepare('PRAGMA freelist_count');
  const pageBytes = Number(database.prepare('PRAGMA page_size').get()?.page_size);
  const remove = database.prepare(
    `DELETE FROM spans WHERE id IN (
      SELECT id FROM spans WHERE trace_id IN (
        SELECT trace_id FROM spans ORDER BY start_us LIMIT ${OLDEST_SPANS}
      ) LIMIT ${REMOVED_SPANS_MAX}
    )`,
  );
  const used = () => (Number(pages.get()?.page_count) - Number(free.get()?.freelist_count)) * pageBytes;
  const usedMax = diskBytesMax * PAGES_SHARE;
  /** Makes room for so many bytes; returns how many spans had to go. */
  return (bytes) => {
    let removed = 0;
    while (used() + bytes > usedMax) {
      const { changes } = remove.run();
      if (Number(changes) === 0) break;
      removed += Number(changes);
    }
    return removed;
  };
}
