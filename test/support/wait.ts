export interface EventuallyOptions {
  readonly deadlineMs: number;
  /** What is waited for, as the failure says it: `the sidecar is ready`. */
  readonly what: string;
}

const POLL_MS = 10;

/** Polls `check` until it is true; rejects with `what` once the deadline has passed. An error thrown by `check` ends it. */
export async function eventually(
  check: () => boolean | Promise<boolean>,
  options: EventuallyOptions,
): Promise<void> {
  const endMs = performance.now() + options.deadlineMs;
  for (;;) {
    if (await check()) return;
    if (performance.now() > endMs) throw new Error(`not within ${options.deadlineMs} ms: ${options.what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
