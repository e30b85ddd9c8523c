import type { Random } from '../../common/random.ts';
import type { DecisionState } from '../decision-types.ts';
import type { Cluster, Endpoint } from '../snapshot.ts';
import { maglevTable } from './maglev.ts';

/** Endpoints that may be picked, with what picking needs, computed once. */
export class Pool {
  readonly endpoints: readonly Endpoint[];
  /** Running sums of weights; undefined where all weigh the same. */
  readonly #sums: readonly number[] | undefined;
  #table: readonly Endpoint[] | undefined;

  constructor(endpoints: readonly Endpoint[]) {
    this.endpoints = endpoints;
    const first = endpoints[0]?.weight ?? 1;
    if (endpoints.every((endpoint) => endpoint.weight === first)) return;
    let sum = 0;
    this.#sums = endpoints.map((endpoint) => {
      sum += Math.max(0, endpoint.weight);
      return sum;
    });
  }

  get size(): number {
    return this.endpoints.length;
  }

  /** Endpoint at `share` (0 to 1) of the whole weight. */
  at(share: number): Endpoint | undefined {
    const sums = this.#sums;
    if (sums === undefined) return this.endpoints[Math.floor(share * this.endpoints.length)];
    const target = share * (sums[sums.length - 1] ?? 0);
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((sums[middle] ?? 0) > target) high = middle;
      else low = middle + 1;
    }
    return this.endpoints[low];
  }

  /**
   * The endpoint of a hash. Where only some count, it is the next of them in the table: the keys of those that don't are
   * spread over the others, everybody else's stay, and no new table is made.
   */
  byHash(hash: number, among?: readonly Endpoint[]): Endpoint | undefined {
    this.#table ??= maglevTable(this.endpoints);
    const table = this.#table;
    for (let step = 0; step < table.length; step++) {
      const endpoint = table[(hash + step) % table.length];
      if (endpoint !== undefined && (among === undefined || among.includes(endpoint))) return endpoint;
    }
    return undefined;
  }

  random(random: Random): Endpoint | undefined {
    return this.at(random.next());
  }
}

const cache = new WeakMap<Cluster, Pool>();

/** The ready endpoints of a cluster; the draining ones where none is ready. */
export function poolOf(cluster: Cluster): Pool {
  let pool = cache.get(cluster);
  if (pool === undefined) {
    const ready = cluster.endpoints.filter((endpoint) => endpoint.health === 'ready');
    pool = new Pool(ready.length > 0 ? ready : cluster.endpoints);
    cache.set(cluster, pool);
  }
  return pool;
}

/**
 * Of a pool, what ejection leaves. At most `maxEjectionPercent` of it (rounded down) is taken away, the first of the
 * ejected in pool order; the others count as sound: with more failing than that, spreading over all is better than
 * crowding what is left. So a lone endpoint is never ejected below 100 percent.
 */
export function withoutEjected(cluster: Cluster, pool: Pool, state: DecisionState): Pool {
  const ejectable = Math.floor((pool.size * cluster.policy.outlierEjection.maxEjectionPercent) / 100);
  let left = ejectable;
  const kept = pool.endpoints.filter((endpoint) => {
    if (left === 0 || !state.ejected(cluster.name, endpoint.key)) return true;
    left -= 1;
    return false;
  });
  return kept.length === pool.size ? pool : new Pool(kept);
}
