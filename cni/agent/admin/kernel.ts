import type { KernelState, MapStatus } from '../../../common/pod-network.ts';
import { type Entry, keyText } from '../../maps/entries.ts';
import { FILL_ORDER, type PlannedMap } from '../../maps/reconcile.ts';
import { TABLES } from '../../maps/tables.ts';
import type { AgentView } from './view.ts';

/** A map as it is wanted beside the kernel's. */
export interface Comparison {
  /** Of a wanted entry, by the text of its key. */
  stateOf(key: string): KernelState;
  /** Entries that the kernel's map holds and nobody wants. */
  readonly stale: readonly Entry[];
  readonly held: number;
}

/** Reads the kernel's map: a call for each entry, or for each few thousand of a hash map. */
export function comparison(view: AgentView, map: PlannedMap): Comparison {
  const wanted = view.plan()?.wanted[map];
  const held = new Map<string, Buffer>();
  const stale: Entry[] = [];
  for (const [key, value] of view.readMap(map)) {
    const text = keyText(key);
    if (held.has(text)) continue;
    held.set(text, Buffer.from(value));
    // A slot of an array can't be taken out.
    if (map !== 'node' && wanted?.has(text) !== true)
      stale.push({ key: Buffer.from(key), value: Buffer.from(value) });
  }
  return {
    stale,
    held: held.size,
    stateOf(key) {
      const there = held.get(key);
      if (there === undefined) return 'missing';
      return wanted?.get(key)?.value.equals(there) === true ? 'same' : 'differs';
    },
  };
}

/** Every planned map in numbers. */
export function mapStatuses(view: AgentView): readonly MapStatus[] {
  return FILL_ORDER.map((map) => {
    const wanted = view.plan()?.wanted[map] ?? new Map<string, Entry>();
    const { stateOf, stale, held } = comparison(view, map);
    const states = [...wanted.keys()].map(stateOf);
    return {
      ...{ map: TABLES[map].name, wanted: wanted.size, held, stale: stale.length },
      missing: states.filter((state) => state === 'missing').length,
      differing: states.filter((state) => state === 'differs').length,
      entriesMax: TABLES[map].entriesMax,
    };
  });
}
