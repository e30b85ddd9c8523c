import type { Clock, Timer } from '../../common/clock.ts';

interface Scheduled {
  readonly order: number;
  readonly task: () => void;
  readonly periodMs: number | undefined;
  readonly background: boolean;
  dueMs: number;
}

/** Lets promise reactions and `setImmediate` turns of the code under test run to quiet. */
export async function settle(turns = 4): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** A clock that only moves when told: hours pass in milliseconds, and the same calls give the same run. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  readonly #startWallMs: number;
  readonly #timers = new Set<Scheduled>();

  constructor(startWallMs = Date.UTC(2026, 0, 1)) {
    this.#startWallMs = startWallMs;
  }

  now(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#startWallMs + this.#nowMs;
  }

  after(delayMs: number, task: () => void, options?: { background?: boolean }): Timer {
    return this.#schedule(delayMs, task, undefined, options?.background === true);
  }

  every(periodMs: number, task: () => void): Timer {
    return this.#schedule(periodMs, task, periodMs, true);
  }

  #schedule(delayMs: number, task: () => void, periodMs: number | undefined, background: boolean): Timer {
    const timer = {
      order: this.#order++,
      task,
      periodMs,
      background,
      dueMs: this.#nowMs + Math.max(0, delayMs),
    };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  /** Moves on by `ms`, running what falls due in order of time, then of scheduling. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (let due = this.#nextDue(endMs); due !== undefined; due = this.#nextDue(endMs)) {
      this.#nowMs = Math.max(this.#nowMs, due.dueMs);
      if (due.periodMs === undefined) this.#timers.delete(due);
      else due.dueMs += due.periodMs;
      due.task();
      await settle();
    }
    this.#nowMs = endMs;
    await settle();
  }

  #nextDue(endMs: number): Scheduled | undefined {
    let next: Scheduled | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs > endMs) continue;
      if (
        next === undefined ||
        timer.dueMs < next.dueMs ||
        (timer.dueMs === next.dueMs && timer.order < next.order)
      )
        next = timer;
    }
    return next;
  }

  /** Timers that would keep a process alive: neither periodic nor background. */
  pendingTimers(): number {
    let pending = 0;
    for (const timer of this.#timers) if (!timer.background) pending++;
    return pending;
  }
}
