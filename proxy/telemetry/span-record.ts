import type { Attributes } from '@opentelemetry/api';

/** A finished span, before the SDK makes one of it: plain values only, times in milliseconds since the Unix epoch. */
export interface SpanRecord {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string | undefined;
  /** Whether the parent is in another process. */
  readonly parentRemote: boolean;
  readonly traceState: string | undefined;
  readonly kind: 'server' | 'client' | 'internal';
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  /** Set where the span failed: the status message. */
  readonly error: string | undefined;
}

/** Where finished spans go. Never throws, never waits. */
export interface SpanSink {
  export(spans: readonly SpanRecord[]): void;
  /** Sends what is left. */
  close(): Promise<void>;
}
