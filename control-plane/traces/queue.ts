import { storedBytes } from './disk.ts';
import type { TraceLimits } from './limits.ts';
import type { SpanRecord } from './span.ts';

/** Spans by why they are not taken. */
export type Refused = ReadonlyMap<'too-large' | 'queue-full', number>;

export interface Batch {
  readonly spans: readonly SpanRecord[];
  /** What they take once they are stored, about. */
  readonly bytes: number;
}

/** Spans that wait to be written, bounded by their number and by what they hold. */
export class SpanQueue {
  readonly #limits: TraceLimits;
  #waiting: { readonly span: SpanRecord; readonly bytes: number }[] = [];
  #bytes = 0;

  constructor(limits: TraceLimits) {
    this.#limits = limits;
  }

  get empty(): boolean {
    return this.#waiting.length === 0;
  }

  add(spans: readonly SpanRecord[]): Refused {
    const { queuedSpansMax, queuedBytesMax, spanBytesMax } = this.#limits;
    const refused = new Map<'too-large' | 'queue-full', number>();
    for (const span of spans) {
      const full = this.#waiting.length >= queuedSpansMax;
      const bytes = full ? 0 : storedBytes(span);
      if (!full && bytes <= spanBytesMax && this.#bytes + bytes <= queuedBytesMax) {
        this.#waiting.push({ span, bytes });
        this.#bytes += bytes;
        continue;
      }
      const why = bytes > spanBytesMax ? 'too-large' : 'queue-full';
      refused.set(why, (refused.get(why) ?? 0) + 1);
    }
    return refused;
  }

  /** Takes what one transaction is to hold: one span at least, as long as there are any. */
  next(): Batch {
    const { flushSpansMax, flushBytesMax } = this.#limits;
    let [count, bytes] = [0, 0];
    for (const each of this.#waiting) {
      if (count === flushSpansMax || (count > 0 && bytes + each.bytes > flushBytesMax)) break;
      count++;
      bytes += each.bytes;
    }
    this.#bytes -= bytes;
    return { spans: this.#waiting.splice(0, count).map(({ span }) => span), bytes };
  }
}
