import type { Random } from '../common/random.ts';
import { pickEndpoint } from './balance/pick.ts';
import type { DecisionState, MirrorTarget, ReasonSink, RequestView } from './decision-types.ts';
import { tellMirror } from './reasons.ts';
import type { Mirror, Snapshot } from './snapshot.ts';

/**
 * Where copies of one request go: each mirror draws for itself, and one that can't be reached now is left out, since the
 * request itself must not suffer from it.
 */
export function pickMirrors(
  mirrors: readonly Mirror[],
  snapshot: Snapshot,
  request: RequestView,
  sourceAddress: string | undefined,
  state: DecisionState,
  now: number,
  random: Random,
  reasons: ReasonSink | undefined,
): readonly MirrorTarget[] {
  const targets: MirrorTarget[] = [];
  for (const mirror of mirrors) {
    const target = targetOf(mirror, snapshot, request, sourceAddress, state, now, random);
    if (typeof target !== 'string') targets.push(target);
    if (reasons === undefined) continue;
    if (typeof target !== 'string')
      tellMirror(reasons, mirror, 'chosen', `this one to ${target.endpoint.key}`);
    else tellMirror(reasons, mirror, target === NOT_DRAWN ? 'skipped' : 'rejected', target);
  }
  return targets;
}

const NOT_DRAWN = 'not this one';

/** The target, or why there is none. */
function targetOf(
  mirror: Mirror,
  snapshot: Snapshot,
  request: RequestView,
  sourceAddress: string | undefined,
  state: DecisionState,
  now: number,
  random: Random,
): MirrorTarget | string {
  if (mirror.invalid !== undefined) return mirror.invalid;
  const { numerator, denominator } = mirror;
  if (numerator < denominator && random.next() * denominator >= numerator) return NOT_DRAWN;
  const cluster = snapshot.cluster(mirror.cluster);
  if (cluster === undefined) return 'not configured yet';
  const { circuitBreaker, limits } = cluster.policy;
  if (circuitBreaker !== undefined && state.breaker(cluster.name) === 'open') return 'its breaker is open';
  if (state.requestsInFlight(cluster.name) >= limits.maxRequests) {
    return `it has ${limits.maxRequests} requests in flight`;
  }
  const endpoint = pickEndpoint(cluster, request, sourceAddress, state, now, random);
  return typeof endpoint === 'string' ? endpoint : { cluster, endpoint };
}
