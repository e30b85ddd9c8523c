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

/**
 * Every route and policy whose status isn't what the mesh says of it, to be patched on the condition that nobody wrote it
 * in between. Nothing is wanted of an object whose newest generation the mesh has not taken in.
 */
export function planStatuses(
  { objects, statusOf }: StatusFacts,
  api: ClusterApi,
  clock: Clock,
): readonly Work[] {
  const now = new Date(clock.wallMs()).toISOString().replace(/\.\d+Z$/, 'Z');
  return objects.flatMap(({ object }): Work[] => {
    const kind = KINDS_WITH_STATUS.get(object.kind);
    if (kind === undefined) return [];
    const wanted = statusOf(object);
    if (wanted !== undefined && wanted.generation !== (object.metadata.generation ?? 0)) return [];
    const { difference, print } = mergeStatus(object, wanted, now);
    if (difference === 'none') return [];
    const { namespace = '', name } = object.metadata;
    const write = (fresh: KubeObject): JsonObject | undefined => {
      // Written anew meanwhile: the watch is about to say so, and then it is judged anew.
      if (wanted !== undefined && wanted.generation !== (fresh.metadata.generation ?? 0)) return undefined;
      const merged = mergeStatus(fresh, wanted, now);
      return merged.difference === 'none' ? undefined : { status: merged.status };
    };
    return [
      {
        ...{
          key: `${object.kind} ${namespace}/${name}`,
          print,
          version: JSON.stringify(object.status ?? null),
        },
        holdMs: HOLD_MS[difference],
        run: () => changeObject(api, { kind, namespace, name }, write, 'status'),
      },
    ];
  });
}
