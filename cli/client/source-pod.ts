import { ANNOTATIONS } from '../../common/contracts.ts';
import { HeddleError } from '../../common/errors.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, textAt } from '../kube/fields.ts';
import { nearest } from '../suggest.ts';

/** Names listed in a message at most. */
const namesShownMax = 12;

/** Where a request to be explained would start. */
export interface SourcePod {
  readonly namespace: string;
  /** The pod, where the question names one. */
  readonly pod: string | undefined;
}

/**
 * What `--from` means: `shop/web-6c8f-x2v4z` a pod, `shop/web` a pod of that Deployment or with that `app` label, `shop`
 * any pod of the namespace. Fails with what is known and may have been meant.
 */
export function sourcePod(text: string, objects: readonly KubeObject[]): SourcePod {
  const [namespace = '', name, ...rest] = text.replace(/^pods?\//, '').split('/');
  if (namespace === '' || name === '' || rest.length > 0)
    throw new HeddleError('usage', `--from takes NAMESPACE/POD or NAMESPACE, not "${text}"`);
  const pods = objects.filter((object) => object.kind === 'Pod');
  const namespaces = [...new Set(objects.flatMap((object) => object.metadata.namespace ?? []))].toSorted();
  if (!namespaces.includes(namespace)) throw unknownNamespace(text, namespace, namespaces, pods);
  if (name === undefined) return { namespace, pod: undefined };
  const here = pods.filter((pod) => pod.metadata.namespace === namespace);
  const matches = here.filter((pod) => isMeant(pod, name));
  const pod = matches.toSorted((a, b) => fitness(b, name) - fitness(a, name))[0];
  if (pod === undefined) throw unknownPod(namespace, name, here);
  if (pod.metadata.annotations?.[ANNOTATIONS.injected] === undefined)
    throw new HeddleError(
      'not-meshed',
      `pod ${namespace}/${pod.metadata.name} has no sidecar, so nothing of the mesh decides about its requests; "heddle check" says why`,
    );
  return { namespace, pod: pod.metadata.name };
}

function isMeant(pod: KubeObject, name: string): boolean {
  return pod.metadata.name === name || pod.metadata.labels?.app === name || workloadOf(pod) === name;
}

/** The exact name first, then the Deployment's, then a pod that is ready. */
function fitness(pod: KubeObject, name: string): number {
  const conditions = at(pod.status, 'conditions');
  const ready =
    Array.isArray(conditions) &&
    conditions.some((entry) => textAt(entry, 'type') === 'Ready' && textAt(entry, 'status') === 'True');
  return (pod.metadata.name === name ? 4 : 0) + (workloadOf(pod) === name ? 2 : 0) + (ready ? 1 : 0);
}

/** The Deployment or Job that made a pod: its owner's name, without a ReplicaSet's hash. */
function workloadOf(pod: KubeObject): string {
  const owner = textAt(pod, 'metadata', 'ownerReferences', 0, 'name');
  if (owner === undefined) return pod.metadata.name;
  return textAt(pod, 'metadata', 'ownerReferences', 0, 'kind') === 'ReplicaSet'
    ? owner.replace(/-[a-z0-9]+$/, '')
    : owner;
}

function unknownNamespace(
  text: string,
  namespace: string,
  namespaces: readonly string[],
  pods: readonly KubeObject[],
): HeddleError {
  const holder = text.includes('/') ? undefined : pods.find((pod) => isMeant(pod, namespace));
  const meant =
    holder === undefined
      ? nearest(namespace, namespaces)
      : `${holder.metadata.namespace ?? 'default'}/${namespace}`;
  const hint = meant === undefined ? '' : ` (did you mean "${meant}"?)`;
  return new HeddleError(
    'not-found',
    `no namespace "${namespace}"${hint}; there ${namespaces.length === 1 ? 'is' : 'are'} ${listed(namespaces)}`,
  );
}

function unknownPod(namespace: string, name: string, pods: readonly KubeObject[]): HeddleError {
  const workloads = [...new Set(pods.map(workloadOf))].toSorted();
  const meant = nearest(name, [...workloads, ...pods.map((pod) => pod.metadata.name)]);
  const hint = meant === undefined ? '' : ` (did you mean "${meant}"?)`;
  const there = workloads.length === 0 ? 'has no pods' : `has pods of ${listed(workloads)}`;
  return new HeddleError('not-found', `no pod "${name}" in namespace ${namespace}${hint}; it ${there}`);
}

/** Names for a message; many are cut. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, namesShownMax).join(', ');
  return names.length > namesShownMax ? `${shown} and ${names.length - namesShownMax} more` : shown;
}
