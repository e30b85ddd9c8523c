import { HeddleError } from '../../common/errors.ts';
import { type Difference, differenceOf, type Entries, type Entry, type MapStore } from './entries.ts';

/**
 * The order in which maps are filled, written once: what is pointed to stands before what points to it. Emptied in the
 * reverse order. So a packet between two steps meets the old state or the new, never an entry that leads to nothing:
 * policy before the endpoints that name its sets, blocks before endpoints (an address of a block that isn't known yet
 * is held back, without the block it would pass for the world), what capture skips before the pods that are captured,
 * endpoints before the backends that are some of them, backends before the services that count them.
 */
export const FILL_ORDER = [
  'node',
  'policy',
  'cidr',
  'block',
  'skippedPort',
  'skippedPrefix',
  'pod',
  'endpoint',
  'backend',
  'service',
] as const;

export type PlannedMap = (typeof FILL_ORDER)[number];

export type Stores = Readonly<Record<PlannedMap, MapStore>>;

export interface MapPlan {
  readonly wanted: Readonly<Record<PlannedMap, Entries>>;
  /** Entries that are held from before the first change to after the last one, and not longer. */
  readonly transition?: Partial<Readonly<Record<PlannedMap, Entries>>>;
}

export interface MapChanges {
  readonly added: number;
  readonly changed: number;
  readonly removed: number;
}

export type PlanChanges = Readonly<Record<PlannedMap, MapChanges>>;

/** Entries of one system call, and between two turns of the event loop. */
export const batchEntriesMax = 1024;

/** An array's slots can be written, not removed. */
const NEVER_EMPTIED: readonly PlannedMap[] = ['node'];

const NO_ENTRIES: Entries = new Map();

interface Work {
  readonly store: MapStore;
  readonly difference: Difference;
  /** Put there for the transition alone. */
  readonly passing: readonly Entry[];
  readonly emptied: boolean;
}

/**
 * Brings all maps of a node to what `plan` says and tells what that took; of maps that hold it already nothing. Safe to
 * cut off and to repeat at any point. One at a time: calls must not overlap. Throws `map-too-small` before anything is
 * changed, and whatever a map throws; then the rest is undone work for the next call.
 */
export async function reconcileAll(
  stores: Stores,
  plan: MapPlan,
  pause: () => Promise<void> = nextTurn,
): Promise<PlanChanges> {
  const works = FILL_ORDER.map((name): Work => {
    const store = stores[name];
    const wanted = plan.wanted[name];
    requireRoom(store, wanted.size);
    const passing = [...(plan.transition?.[name] ?? NO_ENTRIES)]
      .filter(([text]) => !wanted.has(text))
      .map(([, entry]) => entry);
    return {
      store,
      difference: differenceOf(store, wanted),
      passing,
      emptied: !NEVER_EMPTIED.includes(name),
    };
  });
  for (const work of works) await fill(work, pause);
  // Programs that read a service a moment ago are done with its backends after a turn.
  await pause();
  const changes: [PlannedMap, MapChanges][] = [];
  for (const [index, work] of works.entries().toArray().reverse()) {
    const removed = await empty(work, pause);
    const { missing, changed } = work.difference;
    const name = FILL_ORDER[index];
    if (name !== undefined)
      changes.unshift([name, { added: missing.length, changed: changed.length, removed }]);
  }
  return Object.fromEntries(changes) as Record<PlannedMap, MapChanges>;
}

/** The same for a map that no other points into. */
export async function reconcile(
  store: MapStore,
  wanted: Entries,
  pause: () => Promise<void> = nextTurn,
): Promise<MapChanges> {
  requireRoom(store, wanted.size);
  const difference = differenceOf(store, wanted);
  const work = { store, difference, passing: [], emptied: true };
  await fill(work, pause);
  const removed = await empty(work, pause);
  return { added: difference.missing.length, changed: difference.changed.length, removed };
}

async function fill(
  { store, difference, passing, emptied }: Work,
  pause: () => Promise<void>,
): Promise<void> {
  // Where old and new don't fit side by side, the old has to go first.
  const room = store.maxEntries - difference.held;
  const early = Math.max(0, difference.missing.length - room);
  if (emptied) for (const key of difference.stale.slice(0, early)) store.delete(key);
  const spare = Math.max(0, room - difference.missing.length);
  const entries = [...passing.slice(0, spare), ...difference.missing, ...difference.changed];
  for (let start = 0; start < entries.length; start += batchEntriesMax) {
    if (start > 0) await pause();
    const part = entries.slice(start, start + batchEntriesMax);
    store.updateBatch(part.map(({ key, value }) => [key, value]));
  }
}

/** The number of stale entries that are gone; those of the transition aren't counted. */
async function empty(
  { store, difference, passing, emptied }: Work,
  pause: () => Promise<void>,
): Promise<number> {
  if (!emptied) return 0;
  const keys = [...difference.stale, ...passing.map(({ key }) => key)];
  for (const [index, key] of keys.entries()) {
    if (index > 0 && index % batchEntriesMax === 0) await pause();
    store.delete(key);
  }
  return difference.stale.length;
}

function requireRoom(store: MapStore, wanted: number): void {
  if (wanted <= store.maxEntries) return;
  const message = `${wanted} entries are wanted in ${store.name}, which holds ${store.maxEntries} at most; nothing was changed: fewer Services, policies or pods are needed on this node`;
  throw new HeddleError('map-too-small', message);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
