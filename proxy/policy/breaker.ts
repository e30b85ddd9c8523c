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

/** What the action of a breaker waits for: the outcome of the attempt it was fired for. */
interface Pending {
  resolve(): void;
  reject(reason: Error): void;
}

/** Percent; less than any two shares of what a window can hold differ by. */
const SHARE_MARGIN = 1e-6;

const FAILED = new Error('the attempt failed');

/**
 * An opossum breaker around attempts that run elsewhere: `fire` opens a ticket, the ticket's verdict ends the promise that
 * opossum waits for. opossum owns state, window and reset timer; this class adds that exactly one probe decides while
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
  readonly #bucketMs: number;
  #pending: Pending | undefined;

  constructor(
    policy: CircuitBreakerPolicy,
    buckets: BucketClock,
    onStateChange: (state: BreakerState) => void,
  ) {
    this.#buckets = buckets;
    this.#bucketMs = Math.max(1, Math.floor(policy.rollingCountTimeoutMs / policy.rollingCountBuckets));
    this.#breaker = new CircuitBreaker(
      () =>
        new Promise<void>((resolve, reject) => {
          this.#pending = { resolve, reject };
        }),
      {
        timeout: false,
        // opossum opens above its number; a policy says at which share, and 100 must be possible.
        errorThresholdPercentage: policy.errorThresholdPercentage - SHARE_MARGIN,
        volumeThreshold: policy.volumeThreshold,
        rollingCountTimeout: policy.rollingCountTimeoutMs,
        rollingCountBuckets: policy.rollingCountBuckets,
        resetTimeout: policy.resetTimeoutMs,
        rollingPercentilesEnabled: false,
        enableSnapshots: false,
        rotateBucketController: buckets.join(this.#bucketMs),
      },
    );
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

  /** Undefined where the breaker refuses. */
  fire(): BreakerTicket | undefined {
    const state = this.state();
    const isProbe = state === 'half-open';
    // Fired while open, opossum only counts the refusal.
    const done = this.#breaker.fire();
    // Every end is read from the breaker's state, not from this promise.
    done.catch(() => undefined);
    const pending = this.#pending;
    this.#pending = undefined;
    if (state === 'open' || pending === undefined) return undefined;
    return { settle: (verdict) => this.#settle(pending, verdict, isProbe) };
  }

  #settle(pending: Pending, verdict: BreakerVerdict, isProbe: boolean): void {
    // An attempt from before the breaker opened must not decide for the probe. Its promise is dropped unsettled.
    if (!isProbe && !this.#breaker.closed) return;
    if (verdict === 'success') pending.resolve();
    // A probe without a verdict leaves the breaker as it was: open, with another probe after the reset time.
    else if (verdict === 'failure' || isProbe) pending.reject(FAILED);
  }

  shutdown(): void {
    this.#breaker.shutdown();
    this.#buckets.leave(this.#bucketMs);
  }
}
