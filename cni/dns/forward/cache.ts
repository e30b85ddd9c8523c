import { type ForeignMessage, lifetimeS } from '../wire/message.ts';
import { RCODE } from '../wire/numbers.ts';
import type { ForwardLimits } from './limits.ts';

export interface CachedAnswer {
  readonly message: ForeignMessage;
  readonly ageS: number;
  /** Past its time. */
  readonly stale: boolean;
}

interface Entry {
  readonly message: ForeignMessage;
  readonly storedMs: number;
  readonly lifetimeS: number;
  readonly bytes: number;
}

/** What an entry costs besides its message: its key, its record list. */
const ENTRY_BYTES = 256;
const RECORD_BYTES = 64;

/** Upstream answers by question, as long as their TTLs say; those used longest ago go first. */
export class AnswerCache {
  readonly #limits: ForwardLimits;
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(limits: ForwardLimits) {
    this.#limits = limits;
  }

  get entries(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string, nowMs: number): CachedAnswer | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const ageS = Math.floor((nowMs - entry.storedMs) / 1000);
    if (ageS >= entry.lifetimeS + this.#limits.staleSecondsMax) {
      this.#drop(key, entry);
      return undefined;
    }
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return { message: entry.message, ageS, stale: ageS >= entry.lifetimeS };
  }

  put(key: string, message: ForeignMessage, nowMs: number): void {
    const { ttlSecondsMax, negativeTtlSecondsMax, cacheEntriesMax, cacheBytesMax } = this.#limits;
    const isNegative =
      message.rcode === RCODE.NXDOMAIN || !message.records.some((one) => one.section === 'answer');
    const longestS = isNegative ? negativeTtlSecondsMax : ttlSecondsMax;
    const seconds = Math.min(lifetimeS(message), longestS);
    if (seconds <= 0) return;
    const bytes = message.bytes.length + message.records.length * RECORD_BYTES + key.length + ENTRY_BYTES;
    const before = this.#entries.get(key);
    if (before !== undefined) this.#drop(key, before);
    if (bytes > cacheBytesMax) return;
    this.#entries.set(key, { message, storedMs: nowMs, lifetimeS: seconds, bytes });
    this.#bytes += bytes;
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= cacheEntriesMax && this.#bytes <= cacheBytesMax) break;
      this.#drop(oldest, entry);
    }
  }

  #drop(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
  }
}
