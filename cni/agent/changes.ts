import type { Clock } from '../../common/clock.ts';

/** Lets others wait until what they look for is there. Whoever changes what they look at calls `notify`. */
export class Changes {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  notify(): void {
    for (const look of [...this.#waiting]) look();
  }

  /** What `find` gives as soon as that isn't undefined; undefined after `timeoutMs` or once `signal` is aborted. */
  async until<T>(
    find: () => T | undefined,
    { timeoutMs, signal }: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<T | undefined> {
    const found = find();
    if (found !== undefined || signal?.aborted === true) return found;
    const { promise, resolve } = Promise.withResolvers<T | undefined>();
    const look = () => {
      const now = find();
      if (now !== undefined) resolve(now);
    };
    const giveUp = () => resolve(undefined);
    this.#waiting.add(look);
    signal?.addEventListener('abort', giveUp, { once: true });
    const timer =
      timeoutMs === undefined ? undefined : this.#clock.after(timeoutMs, giveUp, { background: true });
    try {
      return await promise;
    } finally {
      this.#waiting.delete(look);
      signal?.removeEventListener('abort', giveUp);
      timer?.cancel();
    }
  }
}
