/** A handle to cancel a timer; cancelling twice, or after it fired, does nothing. */
export interface Timer {
  cancel(): void;
}

/**
 * Time as a parameter. Production code takes one; only this file reads the real clock, so that tests can run hours in
 * milliseconds and replay a run exactly.
 */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary start, with a fraction. For durations and deadlines. */
  now(): number;
  /** Milliseconds since the Unix epoch. For certificates, logs and spans; may jump. */
  wallMs(): number;
  /** Runs `task` once after `delayMs`. The timer keeps the process alive unless `background`. */
  after(delayMs: number, task: () => void, options?: { background?: boolean }): Timer;
  /** Runs `task` every `periodMs`, never alive on its own account: work that matters has its own reason to live. */
  every(periodMs: number, task: () => void): Timer;
}

/** Node's timers hold a signed 32-bit number of milliseconds and fire at once beyond it. */
const timerDelayMaxMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, task, options) {
    let handle: NodeJS.Timeout;
    const arm = (restMs: number) => {
      const stepMs = Math.min(restMs, timerDelayMaxMs);
      handle = setTimeout(restMs > stepMs ? () => arm(restMs - stepMs) : task, stepMs);
      if (options?.background === true) handle.unref();
    };
    arm(delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
  every(periodMs, task) {
    const handle = setInterval(task, periodMs);
    handle.unref();
    return { cancel: () => clearInterval(handle) };
  },
};

/**
 * `clock`, read once per turn of the event loop at most: within one callback time stands still. A request asks for the
 * time twenty times in two callbacks, and reading it costs more than the other answers would differ.
 */
export function turnClock(clock: Clock): Clock {
  let knownMs: number | undefined;
  const forget = () => {
    knownMs = undefined;
  };
  return {
    wallMs: () => clock.wallMs(),
    after: (delayMs, task, options) => clock.after(delayMs, task, options),
    every: (periodMs, task) => clock.every(periodMs, task),
    now() {
      if (knownMs !== undefined) return knownMs;
      knownMs = clock.now();
      // Runs when the callback has returned, before anything else does.
      process.nextTick(forget);
      return knownMs;
    },
  };
}

/** Resolves after `delayMs` of `clock`; rejects with the signal's reason when aborted first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
