import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { trimNode, trimPod } from '../../sources/kubernetes/trim.ts';
import type { WatchedKind } from '../../sources/kubernetes/watch.ts';

/** What the pod network goes by. */
export const NETWORK_KINDS: readonly WatchedKind[] = [
  { kind: KINDS.node, trim: trimNode },
  { kind: KINDS.namespace },
  { kind: KINDS.pod, trim: trimPod },
  { kind: KINDS.service },
  { kind: KINDS.endpointSlice },
  { kind: KINDS.networkPolicy },
];
