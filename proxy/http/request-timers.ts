import type { TimeoutPolicy } from '../../model/policy-types.ts';
import { Deadline, type Deadlines } from './deadlines.ts';

/** Who is told that a request, or its silence, took too long. */
export interface TimersOwner {
  onExpired(what: 'request' | 'idle', limitMs: number): void;
}

/** The deadlines of one request: the whole of it, silence on its streams, and its own waits. */
export class RequestTimers {
  readonly #deadlines: Deadlines;
  readonly startedMs: number;
  #lastByteMs: number;
  #owner: TimersOwner | undefined;
  #requestMs = 0;
  #idleMs = 0;
  /** Of the whole request; `Infinity` for none. */
  #endsAtMs = Number.POSITIVE_INFINITY;
  /** Due when the first of the two limits may be reached. */
  #limit: Deadline | undefined;
  #wait: Deadline | undefined;

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
    this.startedMs = deadlines.now();
    this.#lastByteMs = this.startedMs;
  }

  /** Begins the timeouts of a policy; 0 is none. */
  begin({ requestMs, idleMs }: TimeoutPolicy, owner: TimersOwner): void {
    if (requestMs <= 0 && idleMs <= 0) return;
    this.#owner = owner;
    this.#requestMs = requestMs;
    this.#idleMs = idleMs;
    if (requestMs > 0) this.#endsAtMs = this.#deadlines.now() + requestMs;
    this.#limit = new Deadline(() => this.#expired());
    this.#armLimit();
  }

  /** A byte went by. */
  touch(): void {
    this.#lastByteMs = this.#deadlines.now();
  }

  /** Runs `then` after a delay, at once where there is none. */
  wait(delayMs: number, then: () => void): void {
    if (delayMs <= 0) {
      then();
      return;
    }
    this.#wait = new Deadline(then);
    this.#deadlines.arm(this.#wait, delayMs);
  }

  elapsedMs(): number {
    return this.#deadlines.now() - this.startedMs;
  }

  cancel(): void {
    this.#limit?.cancel();
    this.#wait?.cancel();
  }

  #armLimit(): void {
    if (this.#limit === undefined) return;
    const quietAtMs = this.#idleMs > 0 ? this.#lastByteMs + this.#idleMs : Number.POSITIVE_INFINITY;
    const dueMs = Math.min(this.#endsAtMs, quietAtMs);
    this.#deadlines.arm(this.#limit, Math.max(0, dueMs - this.#deadlines.now()));
  }

  #expired(): void {
    const now = this.#deadlines.now();
    if (now >= this.#endsAtMs) this.#owner?.onExpired('request', this.#requestMs);
    else if (this.#idleMs > 0 && now - this.#lastByteMs >= this.#idleMs) {
      this.#owner?.onExpired('idle', this.#idleMs);
    } else this.#armLimit();
  }
}
