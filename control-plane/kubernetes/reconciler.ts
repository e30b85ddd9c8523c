import { type Backoff, backoffMs } from '../../common/backoff.ts';
import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { Random } from '../../common/random.ts';
import type { Problem } from '../../model/objects.ts';
import { failureOf } from './api.ts';

/** Changes come together for this long. */
export const planGatherMs = 100;
export const writesPerSecondMax = 50;
export const writesBurstMax = 100;
export const writesInFlightMax = 8;
/** The watch tells of a write within moments; where it doesn't, the write is thought lost. */
export const writeSeenMs = 30_000;
/** Somebody else who keeps changing what was written gets it back after twice as long each time. */
export const FIGHT_BACKOFF: Backoff = { baseMs: 1_000, maxMs: 300_000 };
/** It is told once it was written back so many times. */
export const fightToldAfter = 3;
/** A fight is over once nothing had to be written back for so long. */
const fightForgottenMs = 600_000;
const RETRY_BACKOFF: Backoff = { baseMs: 500, maxMs: 30_000 };
const REFUSED_BACKOFF: Backoff = { baseMs: 5_000, maxMs: 300_000 };

/** One write that is wanted because an object isn't as it should be. */
export interface Work {
  /** The object, as a person knows it: `HTTPRoute shop/catalog`. */
  readonly key: string;
  /** What it should be: the same again after it was written means that somebody changed it back. */
  readonly print: string;
  /** Of the object as the watch knows it: another text once it has told of a write. */
  readonly version: string;
  /** How long it must have been wanted before it is written. */
  readonly holdMs?: number;
  run(): Promise<unknown>;
}

export interface ReconcilerOptions {
  /** Everything that isn't as it should be. Must not change anything by itself. */
  readonly plan: () => readonly Work[];
  /** Asked before each write. */
  readonly leads: () => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

interface Entry {
  wantedSinceMs: number | undefined;
  notBeforeMs: number;
  failures: number;
  repeats: number;
  /** Of the last write that succeeded. */
  written: { readonly print: string; readonly version: string; readonly atMs: number } | undefined;
  running: boolean;
  problem: string | undefined;
}

/**
 * Makes objects what they should be, by one replica, never faster than its limits: what was written and isn't seen yet is
 * not written again, what fails comes back later, and whoever fights over an object gets it back ever more seldom.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #entries = new Map<string, Entry>();
  #timer: { readonly timer: Timer; readonly dueMs: number } | undefined;
  #inFlight = 0;
  #tokens = writesBurstMax;
  #tokensAtMs: number;
  #closed = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#tokensAtMs = options.clock.now();
  }

  /** Looks before long, however often it is called meanwhile. */
  soon(): void {
    this.#lookIn(planGatherMs);
  }

  /** What others must mend. */
  problems(): readonly Problem[] {
    return [...this.#entries].flatMap(([object, { problem }]) =>
      problem === undefined
        ? []
        : [{ severity: 'warning', source: 'kubernetes', line: 1, object, message: problem }],
    );
  }

  close(): void {
    this.#closed = true;
    this.#timer?.timer.cancel();
    this.#entries.clear();
  }

  #lookIn(delayMs: number): void {
    const { clock } = this.#options;
    const dueMs = clock.now() + delayMs;
    if (this.#closed || (this.#timer !== undefined && this.#timer.dueMs <= dueMs)) return;
    this.#timer?.timer.cancel();
    const look = () => {
      this.#timer = undefined;
      this.#look();
    };
    this.#timer = { timer: clock.after(delayMs, look, { background: true }), dueMs };
  }

  #look(): void {
    const { plan, leads, clock, log } = this.#options;
    if (this.#closed) return;
    if (!leads()) {
      this.#entries.clear();
      return;
    }
    let works: readonly Work[];
    try {
      works = plan();
    } catch (thrown) {
      log.error('what is to be written could not be worked out', { error: messageOf(thrown) });
      return;
    }
    const nowMs = clock.now();
    this.#settle(new Set(works.map(({ key }) => key)), nowMs);
    let nextMs = Number.POSITIVE_INFINITY;
    for (const work of works) {
      const entry = this.#entryOf(work.key);
      entry.wantedSinceMs ??= nowMs;
      if (entry.running) continue;
      const dueMs = this.#dueMs(work, entry);
      if (dueMs > nowMs) nextMs = Math.min(nextMs, dueMs);
      else if (this.#inFlight >= writesInFlightMax) continue;
      else if (!this.#takeToken(nowMs)) nextMs = Math.min(nextMs, nowMs + 1000 / writesPerSecondMax);
      else this.#run(work, entry);
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#lookIn(nextMs - nowMs);
  }

  /** What is as it should be again is forgotten, save for fights. */
  #settle(wanted: ReadonlySet<string>, nowMs: number): void {
    for (const [key, entry] of this.#entries) {
      if (wanted.has(key) || entry.running) continue;
      entry.wantedSinceMs = undefined;
      entry.failures = 0;
      const { written } = entry;
      if (entry.repeats < fightToldAfter) entry.problem = undefined;
      if (written === undefined || nowMs - written.atMs >= fightForgottenMs) this.#entries.delete(key);
    }
  }

  #entryOf(key: string): Entry {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = {
        ...{ wantedSinceMs: undefined, notBeforeMs: 0, failures: 0, repeats: 0 },
        ...{ written: undefined, running: false, problem: undefined },
      };
      this.#entries.set(key, entry);
    }
    return entry;
  }

  #dueMs(work: Work, entry: Entry): number {
    const { written, wantedSinceMs = 0, notBeforeMs } = entry;
    const heldMs = wantedSinceMs + (work.holdMs ?? 0);
    if (written === undefined || written.print !== work.print) {
      // Something else is wanted by now: no fight, yet an object is not written all the time.
      return Math.max(heldMs, entry.failures > 0 ? notBeforeMs : 0);
    }
    const unseen = written.version === work.version ? written.atMs + writeSeenMs : 0;
    return Math.max(heldMs, notBeforeMs, unseen);
  }

  #takeToken(nowMs: number): boolean {
    const gained = ((nowMs - this.#tokensAtMs) * writesPerSecondMax) / 1000;
    this.#tokens = Math.min(writesBurstMax, this.#tokens + gained);
    this.#tokensAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  #run(work: Work, entry: Entry): void {
    if (!this.#options.leads()) return;
    entry.running = true;
    this.#inFlight++;
    work
      .run()
      .then(
        () => this.#succeeded(work, entry),
        (thrown: unknown) => this.#failed(work, entry, thrown),
      )
      .finally(() => {
        entry.running = false;
        this.#inFlight--;
        this.#lookIn(planGatherMs);
      });
  }

  #succeeded({ key, print, version }: Work, entry: Entry): void {
    const { clock, log } = this.#options;
    const nowMs = clock.now();
    const again = entry.written?.print === print && nowMs - entry.written.atMs < fightForgottenMs;
    entry.repeats = again ? entry.repeats + 1 : 0;
    entry.written = { print, version, atMs: nowMs };
    entry.failures = 0;
    entry.wantedSinceMs = undefined;
    const { baseMs, maxMs } = FIGHT_BACKOFF;
    entry.notBeforeMs = nowMs + Math.min(maxMs, baseMs * 2 ** Math.min(entry.repeats, 30));
    entry.problem = undefined;
    if (entry.repeats < fightToldAfter) return;
    entry.problem = `somebody else keeps changing it: it was written back ${entry.repeats} times`;
    if (entry.repeats === fightToldAfter) log.warn(entry.problem, { object: key });
  }

  #failed({ key, print, version }: Work, entry: Entry, thrown: unknown): void {
    const { clock, log, random } = this.#options;
    const nowMs = clock.now();
    const failure = failureOf(thrown);
    if (failure === 'gone') {
      // The watch is about to say so.
      entry.written = { print, version, atMs: nowMs };
      return;
    }
    const backoff = failure === 'refused' ? REFUSED_BACKOFF : RETRY_BACKOFF;
    entry.notBeforeMs = nowMs + backoff.baseMs / 2 + backoffMs(backoff, entry.failures, random);
    entry.failures++;
    if (failure !== 'refused') return;
    const message = `it can't be written: ${messageOf(thrown)}`;
    if (entry.problem !== message) log.warn(message, { object: key });
    entry.problem = message;
  }
}
