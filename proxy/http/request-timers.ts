import type { TimeoutPolicy } from '../../model/policy-types.ts';
import { Deadline, type Deadlines } from './deadlines.ts';

/** Who is told that a request, or its silence, took too long. */
export interface TimersOwner {
  onExpired(what: 'request' | 'idle', limitMs: number): void;
}

/**
 * The deadlines of one request: the whole of it, silence on its streams, and its own waits. They belong to a connection,
 * whose requests come one after another: `start` begins the next one.
 */
export class RequestTimers {
  readonly #deadlines: Deadlines;
  startedMs = 0;
  #lastByteMs = 0;
  #owner: TimersOwner | undefined;
  #requestMs = 0;
  #idleMs = 0;
  /** Of the whole request; `Infinity` for none. */
  #endsAtMs = Number.POSITIVE_INFINITY;
  /** Due when the first of the two limits may be reached. */
  readonly #limit = new Deadline(() => this.#expired());
  #wait: Deadline | undefined;

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
  }

  start(): void {
    this.startedMs = this.#deadlines.now();
    this.#lastByteMs = this.startedMs;
    this.#endsAtMs = Number.POSITIVE_INFINITY;
    this.#idleMs = 0;
  }

  /** Begins the timeouts of a policy; 0 is none. */
  begin({ requestMs, idleMs }: TimeoutPolicy, owner: TimersOwner): void {
    if (requestMs <= 0 && idleMs <= 0) return;
    this.#owner = owner;
    this.#requestMs = requestMs;
    this.#idleMs = idleMs;
    if (requestMs > 0) this.#endsAtMs = this.#deadlines.now() + requestMs;
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

  /** The request is over. Its limit stays where it is linked, since the next request will want it again soon. */
  stop(): void {
    this.#owner = undefined;
    this.#limit.park();
    this.#wait?.cancel();
    this.#wait = undefined;
  }

  /** The connection is over. */
  close(): void {
    this.stop();
    this.#limit.cancel();
  }

  #armLimit(): void {
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
