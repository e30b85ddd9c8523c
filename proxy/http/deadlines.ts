import type { Clock, Timer } from '../../common/clock.ts';

const SLOTS = 512;

/** Something that may expire. Embed or extend it; arming again moves it, which costs nothing but list links. */
export class Deadline {
  atMs = 0;
  armed = false;
  next: Deadline | undefined;
  previous: Deadline | undefined;
  wheel: Wheel | undefined;
  readonly onExpire: () => void;

  constructor(onExpire: () => void) {
    this.onExpire = onExpire;
  }

  cancel(): void {
    this.wheel?.remove(this);
  }
}

/** One ring of slots turned by one timer, which runs only while something is armed. */
class Wheel {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #slots: (Deadline | undefined)[] = new Array(SLOTS).fill(undefined);
  #tick = 0;
  #armed = 0;
  #timer: Timer | undefined;

  constructor(clock: Clock, tickMs: number) {
    this.#clock = clock;
    this.#tickMs = tickMs;
  }

  arm(deadline: Deadline, atMs: number): void {
    deadline.atMs = atMs;
    if (this.#armed === 0 && this.#timer === undefined) {
      this.#tick = Math.floor(this.#clock.now() / this.#tickMs);
      this.#timer = this.#clock.every(this.#tickMs, () => this.#turn());
    }
    this.#armed++;
    deadline.armed = true;
    deadline.wheel = this;
    this.#link(deadline);
  }

  remove(deadline: Deadline): void {
    if (!deadline.armed) return;
    deadline.armed = false;
    this.#unlink(deadline);
    this.#armed--;
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#armed = 0;
    this.#slots.fill(undefined);
  }

  #slotOf(atMs: number): number {
    return Math.max(this.#tick + 1, Math.ceil(atMs / this.#tickMs)) % SLOTS;
  }

  #link(deadline: Deadline): void {
    const slot = this.#slotOf(deadline.atMs);
    const head = this.#slots[slot];
    deadline.previous = undefined;
    deadline.next = head;
    if (head !== undefined) head.previous = deadline;
    this.#slots[slot] = deadline;
  }

  #unlink(deadline: Deadline): void {
    if (deadline.previous !== undefined) deadline.previous.next = deadline.next;
    else this.#slots[this.#slotHolding(deadline)] = deadline.next;
    if (deadline.next !== undefined) deadline.next.previous = deadline.previous;
    deadline.next = undefined;
    deadline.previous = undefined;
  }

  /** The slot whose list begins with `deadline`. Nearly always the computed one; the ring may have turned past it. */
  #slotHolding(deadline: Deadline): number {
    const slot = Math.ceil(deadline.atMs / this.#tickMs) % SLOTS;
    return this.#slots[slot] === deadline ? slot : this.#slots.indexOf(deadline);
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
    if (this.#armed === 0) {
      this.#timer?.cancel();
      this.#timer = undefined;
    }
  }

  #sweep(slot: number, now: number): void {
    let deadline = this.#slots[slot];
    const due: Deadline[] = [];
    while (deadline !== undefined) {
      if (deadline.atMs <= now) due.push(deadline);
      deadline = deadline.next;
    }
    for (const expired of due) {
      // One that ran before may have cancelled or moved this one.
      if (!expired.armed || expired.atMs > now) continue;
      this.remove(expired);
      expired.onExpire();
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
    deadline.cancel();
    (delayMs > FINE_DELAY_MS_MAX ? this.#coarse : this.#fine).arm(deadline, this.#clock.now() + delayMs);
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
