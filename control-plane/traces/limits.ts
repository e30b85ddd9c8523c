/** Bounds of the receivers and of the store. */
export interface TraceLimits {
  /** Of one export, after decompression. */
  readonly exportBytesMax: number;
  readonly spansPerExportMax: number;
  /** Of one attribute value or name, as UTF-8. */
  readonly attributeBytesMax: number;
  readonly attributesPerSpanMax: number;
  readonly eventsPerSpanMax: number;
  readonly linksPerSpanMax: number;
  /** How deep arrays and maps inside an attribute may nest. */
  readonly attributeDepthMax: number;
  /** Of one span with its resource's attributes, as `storedBytes` counts. */
  readonly spanBytesMax: number;
  /** Spans waiting to be written. */
  readonly queuedSpansMax: number;
  readonly queuedBytesMax: number;
  readonly spansMax: number;
  readonly retentionMs: number;
  /** What the store may take of the disk: its file, the log beside it, and a file that was put aside. */
  readonly diskBytesMax: number;
  /** How long a span waits for company before it is written. */
  readonly flushMs: number;
  /** Of one transaction, both. */
  readonly flushSpansMax: number;
  readonly flushBytesMax: number;
  /** Value bytes that `tags=` can find; longer values are kept but not indexed. */
  readonly indexedValueBytesMax: number;
  readonly httpConnectionsMax: number;
  readonly httpRequestMs: number;
}

export const DEFAULT_TRACE_LIMITS: TraceLimits = {
  exportBytesMax: 4 * 1024 * 1024,
  spansPerExportMax: 4096,
  attributeBytesMax: 16 * 1024,
  attributesPerSpanMax: 128,
  eventsPerSpanMax: 128,
  linksPerSpanMax: 32,
  attributeDepthMax: 8,
  spanBytesMax: 1024 * 1024,
  queuedSpansMax: 16_384,
  queuedBytesMax: 64 * 1024 * 1024,
  spansMax: 200_000,
  retentionMs: 24 * 3_600_000,
  diskBytesMax: 2 * 1024 ** 3,
  flushMs: 100,
  flushSpansMax: 1024,
  flushBytesMax: 8 * 1024 * 1024,
  indexedValueBytesMax: 256,
  httpConnectionsMax: 256,
  httpRequestMs: 15_000,
};

/** Of `diskBytesMax`: pages in use of the database. The rest is for what comes beside them. */
export const PAGES_SHARE = 3 / 4;
/** Of `diskBytesMax`: the log, after it has been carried over; and a file that was put aside. */
export const LOG_SHARE = 1 / 16;
export const ASIDE_SHARE = 1 / 16;
