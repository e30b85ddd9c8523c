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
  /** Spans waiting to be written. */
  readonly queuedSpansMax: number;
  readonly spansMax: number;
  readonly retentionMs: number;
  /** How long a span waits for company before it is written. */
  readonly flushMs: number;
  readonly flushSpansMax: number;
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
  queuedSpansMax: 16_384,
  spansMax: 200_000,
  retentionMs: 24 * 3_600_000,
  flushMs: 100,
  flushSpansMax: 1024,
  indexedValueBytesMax: 256,
  httpConnectionsMax: 256,
  httpRequestMs: 15_000,
};
