import { after, before } from 'node:test';

/** Resources that end on their own soon after their owner was told to stop. */
const SETTLE_MS = 2_000;
const POLL_MS = 20;
const WATCHED = [
  'TCPSocketWrap',
  'TCPServerWrap',
  'TLSWrap',
  'PipeWrap',
  'ProcessWrap',
  'Timeout',
  'FSEventWrap',
  'UDPWrap',
  'Worker',
];

function resources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (WATCHED.includes(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/**
 * Call once at the top of a test file. When all its tests and its own clean-up are done, sockets, servers, timers,
 * watchers and child processes must be back at what there was before the first; otherwise the suite fails and names
 * what is left.
 */
export function leakCheck(): void {
  let baseline = new Map<string, number>();
  before(() => {
    baseline = resources();
  });
  // Hooks run in the order of registration: a microtask later, the file's own `after` hooks stand before this one.
  queueMicrotask(() => after(() => assertNothingLeft(baseline)));
}

async function assertNothingLeft(baseline: ReadonlyMap<string, number>): Promise<void> {
  const endMs = performance.now() + SETTLE_MS;
  for (;;) {
    const left = surplus(resources(), baseline);
    if (left.length === 0) return;
    if (performance.now() > endMs) throw new Error(`left behind after the tests: ${left.join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function surplus(now: ReadonlyMap<string, number>, baseline: ReadonlyMap<string, number>): string[] {
  const left: string[] = [];
  for (const [kind, count] of now) {
    const more = count - (baseline.get(kind) ?? 0);
    if (more > 0) left.push(`${more} × ${kind}`);
  }
  return left;
}
