import type { Random } from '../../common/random.ts';
import type { DecisionState, RequestView } from '../decision-types.ts';
import type { Cluster, Endpoint } from '../snapshot.ts';
import { hashInput, hashText } from './hash.ts';
import { Pool, poolOf, withoutEjected } from './pool.ts';

/** An endpoint that has work but no latency yet is taken for this slow, so that a new one isn't flooded. */
const UNMEASURED_LATENCY_MS = 1_000;

export type Picked = Endpoint | 'no-endpoints' | 'all-ejected';

/**
 * One endpoint of a cluster by its policy. `tried` are keys that others are preferred to; where all were tried, they
 * count again. With no endpoint ejected and none tried nothing is allocated.
 */
export function pickEndpoint(
  cluster: Cluster,
  request: RequestView | undefined,
  sourceAddress: string | undefined,
  state: DecisionState,
  now: number,
  random: Random,
  tried?: readonly string[],
): Picked {
  const whole = poolOf(cluster);
  if (whole.size === 0) return 'no-endpoints';
  // Taken once: a second look at the pool must not use up another turn.
  const turn = cluster.policy.loadBalancer.policy === 'RoundRobin' ? state.roundRobin(cluster.name) : 0;
  if (tried === undefined || tried.length === 0) {
    const first = pickFrom(cluster, whole, whole, request, sourceAddress, state, now, random, turn, true);
    if (first !== undefined) return first;
  }
  const kept = withoutEjected(cluster, whole, state);
  if (kept.size === 0) return 'all-ejected';
  const pool = tried === undefined ? kept : untried(kept, whole, tried);
  return (
    pickFrom(cluster, whole, pool, request, sourceAddress, state, now, random, turn, false) ?? 'no-endpoints'
  );
}

function untried(kept: Pool, whole: Pool, tried: readonly string[]): Pool {
  const others = kept.endpoints.filter((endpoint) => !tried.includes(endpoint.key));
  if (others.length === 0 || others.length === whole.size) return kept;
  return new Pool(others);
}

/** Undefined where `sound` is asked for and what came up is ejected: the caller then looks at the whole pool. */
function pickFrom(
  cluster: Cluster,
  whole: Pool,
  pool: Pool,
  request: RequestView | undefined,
  sourceAddress: string | undefined,
  state: DecisionState,
  now: number,
  random: Random,
  turn: number,
  sound: boolean,
): Endpoint | undefined {
  const { policy, hash } = cluster.policy.loadBalancer;
  const name = cluster.name;
  let chosen: Endpoint | undefined;
  if (policy === 'PeakEwma' || policy === 'LeastRequest') {
    const [a, b] = twoOf(pool, random);
    if (a === undefined || b === undefined) return a;
    if (sound && (state.ejected(name, a.key) || state.ejected(name, b.key))) return undefined;
    if (a === b) return a;
    return cost(cluster, b, state, now) < cost(cluster, a, state, now) ? b : a;
  }
  if (policy === 'RoundRobin') chosen = pool.endpoints[turn % pool.size];
  else if (policy === 'Random') chosen = pool.random(random);
  else {
    const key = request === undefined || hash === undefined ? sourceAddress : hashInput(hash, request);
    const among = pool === whole ? undefined : pool.endpoints;
    chosen = key === undefined ? pool.random(random) : whole.byHash(hashText(key), among);
  }
  return sound && chosen !== undefined && state.ejected(name, chosen.key) ? undefined : chosen;
}

const pair: [Endpoint | undefined, Endpoint | undefined] = [undefined, undefined];

/** Two endpoints drawn by weight, different where there are two; the pair is reused by the next call. */
function twoOf(pool: Pool, random: Random): readonly [Endpoint | undefined, Endpoint | undefined] {
  const { endpoints } = pool;
  const first = pool.random(random);
  let second = endpoints.length === 1 ? first : pool.random(random);
  if (first !== undefined && first === second && endpoints.length > 1) {
    const step = 1 + Math.floor(random.next() * (endpoints.length - 1));
    second = endpoints[(endpoints.indexOf(first) + step) % endpoints.length];
  }
  pair[0] = first;
  pair[1] = second;
  return pair;
}

function cost(cluster: Cluster, endpoint: Endpoint, state: DecisionState, now: number): number {
  const load = state.inFlight(cluster.name, endpoint.key);
  if (cluster.policy.loadBalancer.policy === 'LeastRequest') return load;
  const latency = state.latencyMs(cluster.name, endpoint.key, now);
  return (latency ?? (load === 0 ? 0 : UNMEASURED_LATENCY_MS)) * (load + 1);
}
