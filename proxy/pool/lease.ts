import type { ClientConnection } from '../upstream/client-connection.ts';
import type { FailedAttempt } from '../upstream/connect.ts';
import type { PoolTarget } from './pool.ts';

export type LeaseResult = ClientConnection | FailedAttempt;

/** Which idle connection will do: any, one that was in use a moment ago, or none but a new one. */
export type Reuse = 'any' | 'recent' | 'none';

/** One request's wait for a connection. */
export class Lease {
  readonly target: PoolTarget;
  readonly reuse: Reuse;
  readonly done: (result: LeaseResult) => void;
  cancelled = false;
  #onCancel: (() => void) | undefined;

  constructor(target: PoolTarget, reuse: Reuse, done: (result: LeaseResult) => void) {
    this.target = target;
    this.reuse = reuse;
    this.done = done;
  }

  /** Set while something has to be put right when the wait is given up. */
  whenCancelled(action: (() => void) | undefined): void {
    this.#onCancel = action;
  }

  cancel(): void {
    if (this.cancelled) return;
    this.cancelled = true;
    this.#onCancel?.();
  }
}
