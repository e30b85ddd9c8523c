import { CNI_CODES, CniError } from './handler.ts';

export interface LaneLimits {
  /** Calls that run at the same time. */
  readonly runningCallsMax: number;
  /** Calls that wait for their turn; past it the runtime is told to come again. */
  readonly waitingCallsMax: number;
}

interface Waiting {
  /** Undefined: alone. */
  readonly key: string | undefined;
  readonly start: () => void;
}

/**
 * Who may run beside whom: calls of one key one after the other in the order they came, calls of different keys at once,
 * and a call without a key alone, after all that came before it and before all that come later (specification, section
 * 3, "Lifecycle & Ordering").
 */
export class Lanes {
  readonly #limits: LaneLimits;
  readonly #waiting: Waiting[] = [];
  readonly #running = new Set<string>();
  #alone = false;

  constructor(limits: LaneLimits) {
    this.#limits = limits;
  }

  /**
   * Runs `task` when it is its turn. Rejects with code 11 where too many wait already, or where `signal` is aborted before
   * its turn came; a task that has begun runs to its end.
   */
  run<T>(key: string | undefined, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    if (this.#waiting.length >= this.#limits.waitingCallsMax)
      return Promise.reject(
        new CniError(
          CNI_CODES.tryAgainLater,
          `${this.#limits.waitingCallsMax} calls wait for the agent already`,
        ),
      );
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(job), 1);
        reject(new CniError(CNI_CODES.tryAgainLater, 'the call waited too long for those before it'));
        this.#pump();
      };
      const job: Waiting = {
        key,
        start: () => {
          signal.removeEventListener('abort', leave);
          task()
            .then(resolve, reject)
            .finally(() => this.#ended(key));
        },
      };
      this.#waiting.push(job);
      signal.addEventListener('abort', leave, { once: true });
      if (signal.aborted) leave();
      else this.#pump();
    });
  }

  counts(): { readonly running: number; readonly waiting: number } {
    return { running: this.#alone ? 1 : this.#running.size, waiting: this.#waiting.length };
  }

  #ended(key: string | undefined): void {
    if (key === undefined) this.#alone = false;
    else this.#running.delete(key);
    this.#pump();
  }

  #pump(): void {
    const passed = new Set<string>();
    for (let index = 0; index < this.#waiting.length; ) {
      const job = this.#waiting[index];
      if (job === undefined || this.#alone || this.#running.size >= this.#limits.runningCallsMax) return;
      if (job.key === undefined) {
        if (index > 0 || this.#running.size > 0) return;
        this.#alone = true;
      } else if (this.#running.has(job.key) || passed.has(job.key)) {
        passed.add(job.key);
        index++;
        continue;
      } else {
        this.#running.add(job.key);
      }
      this.#waiting.splice(index, 1);
      job.start();
    }
  }
}
