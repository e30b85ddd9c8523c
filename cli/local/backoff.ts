/** How long to wait before the next start of what keeps ending: doubling from `baseMs` to `maxMs`. */
export interface BackoffSettings {
  readonly baseMs: number;
  readonly maxMs: number;
  /** A run of at least this long starts the series again. */
  readonly resetAfterMs: number;
}

/** kubelet's series for containers, started earlier because a local start pulls no image. */
export const CONTAINER_BACKOFF: BackoffSettings = { baseMs: 1_000, maxMs: 300_000, resetAfterMs: 600_000 };
/** For pods that the webhook could not be asked about. */
export const ADMISSION_BACKOFF: BackoffSettings = { baseMs: 250, maxMs: 10_000, resetAfterMs: 60_000 };
/** For the mesh's own processes, which must come back soon. */
export const COMPONENT_BACKOFF: BackoffSettings = { baseMs: 100, maxMs: 5_000, resetAfterMs: 30_000 };

export class Backoff {
  readonly #settings: BackoffSettings;
  #failures = 0;

  constructor(settings: BackoffSettings) {
    this.#settings = settings;
  }

  /** The delay before the next start, in milliseconds, after a run of `ranMs`. */
  next(ranMs: number): number {
    if (ranMs >= this.#settings.resetAfterMs) this.#failures = 0;
    const delayMs = Math.min(this.#settings.maxMs, this.#settings.baseMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return delayMs;
  }

  reset(): void {
    this.#failures = 0;
  }
}
