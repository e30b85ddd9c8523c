import { EventEmitter } from 'node:events';
import CircuitBreaker from 'opossum';
import type { Clock, Timer } from '../../common/clock.ts';
import type { BreakerState } from '../../model/decision-types.ts';
import type { CircuitBreakerPolicy } from '../../model/policy-types.ts';

/** How an attempt counts: `neutral` says nothing about the destination (the client left, the mesh refused). */
export type BreakerVerdict = 'success' | 'failure' | 'neutral';

/** One admitted attempt, to be settled once. */
export interface BreakerTicket {
  settle(verdict: BreakerVerdict): void;
}

/**
 * Turns the buckets of all breakers with the same bucket length by one timer: ten thousand breakers with timers of their
 * own keep a core busy doing nothing.
 */
export class BucketClock {
  readonly #clock: Clock;
  readonly #rotations = new Map<
    number,
    { readonly emitter: EventEmitter; readonly timer: Timer; users: number }
  >();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  join(bucketMs: number): EventEmitter {
    const known = this.#rotations.get(bucketMs);
    if (known !== undefined) {
      known.users++;
      return known.emitter;
    }
    const emitter = new EventEmitter();
    emitter.setMaxListeners(0);
    const timer = this.#clock.every(bucketMs, () => emitter.emit('rotate'));
    this.#rotations.set(bucketMs, { emitter, timer, users: 1 });
    return emitter;
  }

  leave(bucketMs: number): void {
    const rotation = this.#rotations.get(bucketMs);
    if (rotation === undefined) return;
    rotation.users--;
    if (rotation.users > 0) return;
    rotation.timer.cancel();
    this.#rotations.delete(bucketMs);
  }
}

/** Percent; less than any two shares of what a window can hold differ by. */
const SHARE_MARGIN = 1e-6;

const FAILED = new Error('the attempt failed');

/**
 * What opossum's action returns: of a promise it uses `then` and `catch`, once each. The verdict calls what it left there at
 * once, so that an attempt is counted before the next one asks, and three promises less are made for it.
 */
class Ticket implements BreakerTicket {
  readonly #breaker: Breaker;
  readonly #isProbe: boolean;
  #onSuccess: ((value: undefined) => void) | undefined;
  #onFailure: ((reason: Error) => void) | undefined;
  /** What `fire` returned: it rejects with the attempt. */
  fired: Promise<void> | undefined = undefined;

  constructor(breaker: Breaker, isProbe: boolean) {
    this.#breaker = breaker;
    this.#isProbe = isProbe;
  }

  // biome-ignore lint/suspicious/noThenProperty: opossum takes it for the promise of an attempt
  then(onSuccess: (value: undefined) => void): this {
    this.#onSuccess = onSuccess;
    return this;
  }

  catch(onFailure: (reason: Error) => void): this {
    this.#onFailure = onFailure;
    return this;
  }

  settle(verdict: BreakerVerdict): void {
    const onSuccess = this.#onSuccess;
    const onFailure = this.#onFailure;
    this.#onSuccess = undefined;
    this.#onFailure = undefined;
    // An attempt from before the breaker opened must not decide for the probe: opossum never hears of it.
    if (!this.#isProbe && !this.#breaker.closed) return;
    if (verdict === 'success') onSuccess?.(undefined);
    // A probe without a verdict leaves the breaker as it was: open, with another probe after the reset time.
    else if (verdict === 'failure' || this.#isProbe) {
      this.fired?.catch(ignore);
      onFailure?.(FAILED);
    }
  }
}

/** Every end is read from the breaker's state, not from what `fire` returned. */
function ignore(): void {}

/**
 * An opossum breaker around attempts that run elsewhere: `fire` opens a ticket, and the ticket's verdict is what opossum
 * waits for. opossum owns state, window and reset timer; this class adds that exactly one probe decides while
 * half-open, whatever older attempts still come to.
 *
 *   closed ─(error share at or over the threshold, enough volume)─► open ─(resetTimeout)─► half-open
 *     ▲                                                              ▲                        │
 *     └───────────────────────(probe succeeds)───────────────────────┼────────────────────────┤
 *                                                                    └──(probe fails)─────────┘
 */
export class Breaker {
  readonly #breaker: CircuitBreaker<[], void>;
  readonly #buckets: BucketClock;
  readonly #rotation: EventEmitter;
  readonly #bucketMs: number;
  /** Of the attempt that is being fired. */
  #opening: Ticket | undefined;

  constructor(
    policy: CircuitBreakerPolicy,
    buckets: BucketClock,
    onStateChange: (state: BreakerState) => void,
  ) {
    this.#buckets = buckets;
    this.#bucketMs = Math.max(1, Math.floor(policy.rollingCountTimeoutMs / policy.rollingCountBuckets));
    this.#rotation = buckets.join(this.#bucketMs);
    this.#breaker = new CircuitBreaker<[], void>(() => this.#opening as unknown as Promise<void>, {
      timeout: false,
      // opossum opens above its number; a policy says at which share, and 100 must be possible.
      errorThresholdPercentage: policy.errorThresholdPercentage - SHARE_MARGIN,
      volumeThreshold: policy.volumeThreshold,
      rollingCountTimeout: policy.rollingCountTimeoutMs,
      rollingCountBuckets: policy.rollingCountBuckets,
      resetTimeout: policy.resetTimeoutMs,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      rotateBucketController: this.#rotation,
    });
    this.#rotation.on('rotate', this.#forgetLatencies);
    this.#breaker.on('open', () => onStateChange('open'));
    this.#breaker.on('halfOpen', () => onStateChange('half-open'));
    this.#breaker.on('close', () => onStateChange('closed'));
  }

  /** `half-open` while the probe may still be sent; `open` again while it is out. */
  state(): BreakerState {
    if (this.#breaker.closed) return 'closed';
    return this.#breaker.halfOpen && this.#breaker.pendingClose ? 'half-open' : 'open';
  }

  counts(): {
    readonly fires: number;
    readonly failures: number;
    readonly successes: number;
    readonly rejects: number;
  } {
    const { fires, failures, successes, rejects } = this.#breaker.stats;
    return { fires, failures, successes, rejects };
  }

  get closed(): boolean {
    return this.#breaker.closed;
  }

  /** Undefined where the breaker refuses. */
  fire(): BreakerTicket | undefined {
    const state = this.state();
    const ticket = new Ticket(this, state === 'half-open');
    this.#opening = ticket;
    const fired = this.#breaker.fire();
    this.#opening = undefined;
    if (state === 'open') {
      // Fired while open, opossum only counts the refusal.
      fired.catch(ignore);
      return undefined;
    }
    ticket.fired = fired;
    return ticket;
  }

  shutdown(): void {
    this.#breaker.shutdown();
    this.#rotation.off('rotate', this.#forgetLatencies);
    this.#buckets.leave(this.#bucketMs);
  }

  /** opossum keeps the latency of every attempt in the window although nobody asked for percentiles: megabytes under load. */
  readonly #forgetLatencies = (): void => {
    for (const bucket of this.#breaker.status.window) bucket.latencyTimes.length = 0;
  };
}
