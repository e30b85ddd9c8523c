import type { DecodedExport } from './span.ts';
import type { TraceStore } from './store.ts';

export interface PartialSuccess {
  readonly rejectedSpans: number;
  readonly errorMessage: string;
}

/** Stores what an export brought; what was refused is told to the sender (OTLP specification, "Partial Success"). */
export function storeExport(store: TraceStore, decoded: DecodedExport): PartialSuccess | undefined {
  const reasons = [...decoded.rejected].map(
    ([why, count]) => `${count} ${count === 1 ? 'span' : 'spans'}: ${why}`,
  );
  let rejectedSpans = 0;
  for (const count of decoded.rejected.values()) rejectedSpans += count;
  for (const [why, count] of store.add(decoded.spans)) {
    const words = why === 'too-large' ? `of more than ${store.limits.spanBytesMax} bytes` : why;
    reasons.push(`${count} spans: ${words}`);
    rejectedSpans += count;
  }
  return rejectedSpans === 0 ? undefined : { rejectedSpans, errorMessage: reasons.join('; ') };
}
