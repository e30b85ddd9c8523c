import type { Clock, Timer } from '../../common/clock.ts';

const SLOTS = 512;

const NEVER = Number.POSITIVE_INFINITY;

/** Something that may expire. Arming again moves it; moving it to later, or parking it, costs an assignment. */
export class Deadline {
  atMs = NEVER;
  /** Where it is linked, -1 where it isn't. It may be due later than its slot is swept: then it is linked anew. */
  slot = -1;
  /** The time it was linked for. */
  linkedForMs = 0;
  next: Deadline | undefined;
  previous: Deadline | undefined;
  wheel: Wheel | undefined;
  readonly onExpire: () => void;

  constructor(onExpire: () => void) {
    this.onExpire = onExpire;
  }

  /** For good, or for long: nothing refers to it any more. */
  cancel(): void {
    this.wheel?.remove(this);
  }

  /** For a while: it stays linked until its slot is swept, since it will be armed again soon. */
  park(): void {
    this.atMs = NEVER;
  }
}

/** One ring of slots turned by one timer, which runs only while something is linked. */
class Wheel {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #slots: (Deadline | undefined)[] = new Array(SLOTS).fill(undefined);
  #tick = 0;
  #linked = 0;
  #timer: Timer | undefined;

  constructor(clock: Clock, tickMs: number) {
    this.#clock = clock;
    this.#tickMs = tickMs;
  }

  arm(deadline: Deadline, atMs: number): void {
    if (this.#timer === undefined) {
      this.#tick = Math.floor(this.#clock.now() / this.#tickMs);
      this.#timer = this.#clock.every(this.#tickMs, () => this.#turn());
    }
    deadline.atMs = atMs;
    deadline.wheel = this;
    this.#link(deadline);
  }

  remove(deadline: Deadline): void {
    deadline.atMs = NEVER;
    if (deadline.slot >= 0) this.#unlink(deadline);
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#linked = 0;
    this.#slots.fill(undefined);
  }

  #link(deadline: Deadline): void {
    const slot = Math.max(this.#tick + 1, Math.ceil(deadline.atMs / this.#tickMs)) % SLOTS;
    const head = this.#slots[slot];
    deadline.slot = slot;
    deadline.linkedForMs = deadline.atMs;
    deadline.previous = undefined;
    deadline.next = head;
    if (head !== undefined) head.previous = deadline;
    this.#slots[slot] = deadline;
    this.#linked++;
  }

  #unlink(deadline: Deadline): void {
    if (deadline.previous !== undefined) deadline.previous.next = deadline.next;
    else this.#slots[deadline.slot] = deadline.next;
    if (deadline.next !== undefined) deadline.next.previous = deadline.previous;
    deadline.next = undefined;
    deadline.previous = undefined;
    deadline.slot = -1;
    this.#linked--;
  }

  #turn(): void {
    const now = this.#clock.now();
    const until = Math.floor(now / this.#tickMs);
    // A process that slept turns the ring once at most: each slot is looked at once.
    this.#tick = Math.max(this.#tick, until - SLOTS);
    while (this.#tick < until) {
      this.#tick++;
      this.#sweep(this.#tick % SLOTS, now);
    }
    if (this.#linked === 0) {
      this.#timer?.cancel();
      this.#timer = undefined;
    }
  }

  #sweep(slot: number, now: number): void {
    const found: Deadline[] = [];
    for (let at = this.#slots[slot]; at !== undefined; at = at.next) found.push(at);
    for (const deadline of found) {
      // One that ran before may have cancelled or moved this one.
      if (deadline.slot !== slot) continue;
      this.#unlink(deadline);
      if (deadline.atMs === NEVER) continue;
      if (deadline.atMs > now) {
        this.#link(deadline);
        continue;
      }
      deadline.atMs = NEVER;
      deadline.onExpire();
    }
  }
}

const FINE_TICK_MS = 10;
const COARSE_TICK_MS = 500;
/** Delays above this go to the coarse ring: half a second more or less doesn't matter there. */
const FINE_DELAY_MS_MAX = 5_000;

/**
 * All deadlines of the data path on two shared timers: a request costs two list operations, not a system timer. A
 * deadline fires up to one tick late (10 ms; 500 ms for delays above 5 s), never early.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #fine: Wheel;
  readonly #coarse: Wheel;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#fine = new Wheel(clock, FINE_TICK_MS);
    this.#coarse = new Wheel(clock, COARSE_TICK_MS);
  }

  /** Arms or moves `deadline` to `delayMs` from now. */
  arm(deadline: Deadline, delayMs: number): void {
    const wheel = delayMs > FINE_DELAY_MS_MAX ? this.#coarse : this.#fine;
    const atMs = this.#clock.now() + delayMs;
    if (deadline.slot >= 0 && deadline.wheel === wheel && atMs >= deadline.linkedForMs) {
      deadline.atMs = atMs;
      return;
    }
    deadline.cancel();
    wheel.arm(deadline, atMs);
  }

  /** Monotonic milliseconds of the clock behind. */
  now(): number {
    return this.#clock.now();
  }

  /** Stops both timers; nothing armed fires any more. */
  close(): void {
    this.#fine.close();
    this.#coarse.close();
  }
}
