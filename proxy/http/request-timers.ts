import type { TimeoutPolicy } from '../../model/policy-types.ts';
import { Deadline, type Deadlines } from './deadlines.ts';

/** The deadlines of one request: the whole of it, silence on its streams, and its own waits. */
export class RequestTimers {
  readonly #deadlines: Deadlines;
  readonly startedMs: number;
  #lastByteMs: number;
  #request: Deadline | undefined;
  #idle: Deadline | undefined;
  #wait: Deadline | undefined;

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
    this.startedMs = deadlines.now();
    this.#lastByteMs = this.startedMs;
  }

  /** Begins the timeouts of a policy; 0 is none. `onExpire` learns whether the whole request or its silence took too long. */
  begin(timeouts: TimeoutPolicy, onExpire: (what: 'request' | 'idle', limitMs: number) => void): void {
    const { requestMs, idleMs } = timeouts;
    if (requestMs > 0) this.#request = this.#arm(requestMs, () => onExpire('request', requestMs));
    if (idleMs > 0) {
      this.#idle = this.#arm(idleMs, () => {
        const quietMs = this.#deadlines.now() - this.#lastByteMs;
        if (quietMs >= idleMs) onExpire('idle', idleMs);
        else if (this.#idle !== undefined) this.#deadlines.arm(this.#idle, idleMs - quietMs);
      });
    }
  }

  /** A byte went by. */
  touch(): void {
    this.#lastByteMs = this.#deadlines.now();
  }

  /** Runs `then` after a delay, at once where there is none. */
  wait(delayMs: number, then: () => void): void {
    if (delayMs <= 0) then();
    else this.#wait = this.#arm(delayMs, then);
  }

  elapsedMs(): number {
    return this.#deadlines.now() - this.startedMs;
  }

  cancel(): void {
    this.#request?.cancel();
    this.#idle?.cancel();
    this.#wait?.cancel();
  }

  #arm(delayMs: number, onExpire: () => void): Deadline {
    const deadline = new Deadline(onExpire);
    this.#deadlines.arm(deadline, delayMs);
    return deadline;
  }
}
