import type { Endpoint } from '../snapshot.ts';
import { hashText } from './hash.ts';

/** A prime well above the endpoints of a Service; larger pools get the larger one. */
const TABLE_SIZE = 4099;
const LARGE_TABLE_SIZE = 65_537;
const LARGE_POOL = 500;

/**
 * Maglev's lookup table (Eisenbud and others, NSDI 2016, section 3.4): endpoints by key, so that the same pool gives the
 * same table on every client, and losing one endpoint moves few keys. A heavier endpoint takes more turns.
 */
export function maglevTable(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const size = endpoints.length > LARGE_POOL ? LARGE_TABLE_SIZE : TABLE_SIZE;
  const fillers = endpoints
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .map((endpoint) => ({
      endpoint,
      next: hashText(endpoint.key, 1) % size,
      skip: (hashText(endpoint.key, 2) % (size - 1)) + 1,
      credit: 0,
    }));
  const heaviest = Math.max(1, ...endpoints.map((endpoint) => endpoint.weight));
  const table: (Endpoint | undefined)[] = new Array(size).fill(undefined);
  let filled = 0;
  while (filled < size && fillers.length > 0) {
    for (const filler of fillers) {
      filler.credit += Math.max(1, filler.endpoint.weight);
      if (filler.credit < heaviest) continue;
      filler.credit -= heaviest;
      while (table[filler.next] !== undefined) filler.next = (filler.next + filler.skip) % size;
      table[filler.next] = filler.endpoint;
      filled += 1;
      if (filled === size) break;
    }
  }
  return table.filter((endpoint) => endpoint !== undefined);
}
