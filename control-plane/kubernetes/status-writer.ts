import type { Clock } from '../../common/clock.ts';
import type { JsonObject } from '../../common/json.ts';
import type { ObjectStatus } from '../../model/mesh.ts';
import type { KubeObject, SourcedObject } from '../../model/objects.ts';
import { KINDS, type KubeKind } from '../../sources/kubernetes/kinds.ts';
import { type ClusterApi, changeObject } from './api.ts';
import type { Work } from './reconciler.ts';
import { type Difference, mergeStatus } from './status-merge.ts';

/** Proxies take a change within moments: only those that don't are worth a write and another one after it. */
export const awaitedHoldMs = 5_000;
/** A new version is taken by proxies, and told by the other replicas, within about a second: one write instead of two. */
export const unsettledHoldMs = 1_500;
/** How many proxies have acknowledged a version changes with each of them. */
export const wordsHoldMs = 30_000;

const HOLD_MS: Readonly<Record<Difference, number>> = {
  none: 0,
  verdict: 0,
  unsettled: unsettledHoldMs,
  awaited: awaitedHoldMs,
  words: wordsHoldMs,
};

const KINDS_WITH_STATUS: ReadonlyMap<string, KubeKind> = new Map(
  [
    KINDS.httpRoute,
    KINDS.grpcRoute,
    KINDS.tlsRoute,
    KINDS.tcpRoute,
    KINDS.udpRoute,
    KINDS.trafficPolicy,
    KINDS.mtlsPolicy,
    KINDS.authorizationPolicy,
  ].map((kind) => [kind.kind, kind]),
);

export interface StatusFacts {
  readonly objects: readonly SourcedObject[];
  readonly statusOf: (object: KubeObject) => ObjectStatus | undefined;
}

/** Plans what is to be written of statuses. Remembers which objects were as they should be, and for which verdict. */
export class StatusPlanner {
  readonly #api: ClusterApi;
  readonly #clock: Clock;
  readonly #settled = new WeakMap<KubeObject, string>();

  constructor(api: ClusterApi, clock: Clock) {
    this.#api = api;
    this.#clock = clock;
  }

  /**
   * Every route and policy whose status isn't what the mesh says of it, to be patched on the condition that nobody wrote it
   * in between. Nothing is wanted of an object whose newest generation the mesh has not taken in.
   */
  plan({ objects, statusOf }: StatusFacts): readonly Work[] {
    const now = new Date(this.#clock.wallMs()).toISOString().replace(/\.\d+Z$/, 'Z');
    return objects.flatMap(({ object }): Work[] => {
      const kind = KINDS_WITH_STATUS.get(object.kind);
      if (kind === undefined) return [];
      const wanted = statusOf(object);
      if (wanted !== undefined && wanted.generation !== (object.metadata.generation ?? 0)) return [];
      const verdict = JSON.stringify(wanted?.parents ?? null);
      if (this.#settled.get(object) === verdict) return [];
      const { difference, print } = mergeStatus(object, wanted, now);
      if (difference === 'none') {
        this.#settled.set(object, verdict);
        return [];
      }
      const { namespace = '', name } = object.metadata;
      return [
        {
          ...{
            key: `${object.kind} ${namespace}/${name}`,
            print,
            version: JSON.stringify(object.status ?? null),
          },
          holdMs: HOLD_MS[difference],
          run: () => changeObject(this.#api, { kind, namespace, name }, patchOf(wanted, now), 'status'),
        },
      ];
    });
  }
}

function patchOf(wanted: ObjectStatus | undefined, now: string) {
  return (fresh: KubeObject): JsonObject | undefined => {
    // Written anew meanwhile: the watch is about to say so, and then it is judged anew.
    if (wanted !== undefined && wanted.generation !== (fresh.metadata.generation ?? 0)) return undefined;
    const merged = mergeStatus(fresh, wanted, now);
    return merged.difference === 'none' ? undefined : { status: merged.status };
  };
}
