import type { SourcedObject } from '../../model/objects.ts';
import { keyOf } from '../../model/read/meta.ts';

/** The objects of a cluster that the pod network goes by, by kind. */
export interface ClusterObjects {
  readonly nodes: readonly SourcedObject[];
  readonly namespaces: readonly SourcedObject[];
  readonly pods: readonly SourcedObject[];
  readonly services: readonly SourcedObject[];
  readonly endpointSlices: readonly SourcedObject[];
  readonly policies: readonly SourcedObject[];
}

const KINDS: Readonly<Record<string, keyof ClusterObjects>> = {
  'v1/Node': 'nodes',
  'v1/Namespace': 'namespaces',
  'v1/Pod': 'pods',
  'v1/Service': 'services',
  'discovery.k8s.io/v1/EndpointSlice': 'endpointSlices',
  'networking.k8s.io/v1/NetworkPolicy': 'policies',
};

/**
 * Sorts objects by kind; those of other kinds are somebody else's. A list that holds what it held `before` is that list, so that
 * whoever works with it sees at once that nothing changed.
 */
export function clusterObjects(objects: readonly SourcedObject[], before?: ClusterObjects): ClusterObjects {
  const found: Record<keyof ClusterObjects, SourcedObject[]> = {
    ...{ nodes: [], namespaces: [], pods: [], services: [], endpointSlices: [], policies: [] },
  };
  for (const one of objects) {
    const kind = KINDS[`${one.object.apiVersion}/${one.object.kind}`];
    if (kind !== undefined) found[kind].push(one);
  }
  if (before === undefined) return found;
  const kept = Object.entries(found).map(([kind, list]) => {
    const known = before[kind as keyof ClusterObjects];
    return [kind, sameList(known, list) ? known : list];
  });
  return Object.fromEntries(kept) as Record<keyof ClusterObjects, SourcedObject[]>;
}

/**
 * With the Node object of this node as it was `before`, where it is gone: a kubelet that registers anew deletes it first, and
 * pods that run meanwhile keep their network.
 */
export function withOwnNode(
  now: ClusterObjects,
  before: ClusterObjects | undefined,
  name: string,
): ClusterObjects {
  const isOwn = ({ object }: SourcedObject) => object.metadata.name === name;
  const own = before?.nodes.find(isOwn);
  if (own === undefined || now.nodes.some(isOwn)) return now;
  return { ...now, nodes: [...now.nodes, own] };
}

function sameList(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length === other.length && one.every((element, index) => element === other[index]);
}

/** The Pod of this name; with the uid, where that is known: one made anew is another pod. */
export function findPod(
  { pods }: ClusterObjects,
  namespace: string,
  name: string,
  uid: string | undefined,
): SourcedObject['object'] | undefined {
  const key = `${namespace}/${name}`;
  return pods.find(
    ({ object }) =>
      keyOf(object) === key &&
      (uid === undefined || uid === '' || object.metadata.uid === undefined || object.metadata.uid === uid),
  )?.object;
}
