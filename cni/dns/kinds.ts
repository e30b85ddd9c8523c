import { isJsonObject } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { pick } from '../../sources/kubernetes/trim.ts';
import type { WatchedKind } from '../../sources/kubernetes/watch.ts';

/** What the names of a cluster are made of. */
export const DNS_KINDS: readonly WatchedKind[] = [
  { kind: KINDS.namespace },
  { kind: KINDS.service },
  { kind: KINDS.endpointSlice },
  { kind: KINDS.pod, trim: nameOfPod },
];

/** Of a Pod, what its names are made of: most of it changes without them, and would be held by every node. */
function nameOfPod({ apiVersion, kind, metadata, spec, status }: KubeObject): KubeObject {
  return {
    ...{ apiVersion, kind, metadata: { name: metadata.name, ...pick(metadata, ['namespace', 'uid']) } },
    spec: pick(isJsonObject(spec) ? spec : {}, ['hostname', 'subdomain']),
    status: pick(isJsonObject(status) ? status : {}, ['phase', 'podIP', 'podIPs']),
  };
}
