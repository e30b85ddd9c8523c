import { createHash } from 'node:crypto';
import type { JsonObject } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, numberAt, objectAt, textsAt } from '../kube/fields.ts';
import { objectKey } from '../kube/kinds.ts';
import { stableJson } from './json-patch.ts';
import { nodeName } from './services.ts';

/** Who wants pods: a Deployment, a Job, or a bare Pod of the manifests. */
export interface Owner {
  readonly key: string;
  readonly object: KubeObject;
}

const OWNER_KINDS: readonly string[] = ['Deployment', 'Job', 'Pod'];

export function ownersOf(objects: ReadonlyMap<string, KubeObject>): readonly Owner[] {
  return [...objects]
    .filter(([, object]) => OWNER_KINDS.includes(object.kind))
    .map(([key, object]) => ({ key, object }));
}

export function replicasOf(deployment: KubeObject): number {
  return numberAt(deployment.spec, 'replicas') ?? 1;
}

/** Of what a change of which makes new pods: the template alone, so that scaling or a ConfigMap restarts nothing. */
export function templateHash(owner: KubeObject): string {
  const template =
    owner.kind === 'Pod' ? { spec: owner.spec, labels: owner.metadata.labels } : at(owner.spec, 'template');
  return createHash('sha256')
    .update(stableJson(template ?? null))
    .digest('hex')
    .slice(0, 10);
}

/** What makes one pod of an owner different from the next. */
export interface PodIdentity {
  readonly name: string;
  readonly uid: string;
  readonly hash: string;
  readonly node: number;
  /** RFC 3339. */
  readonly createdAt: string;
}

/** A pod as its controller would create it, before admission. */
export function podOf(owner: KubeObject, pod: PodIdentity): KubeObject {
  const bare = owner.kind === 'Pod';
  const template = bare ? owner : objectAt(owner.spec, 'template');
  const hashLabel = owner.kind === 'Deployment' ? { 'pod-template-hash': pod.hash } : {};
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: pod.name,
      namespace: owner.metadata.namespace ?? 'default',
      uid: pod.uid,
      creationTimestamp: pod.createdAt,
      labels: { ...textsAt(template, 'metadata', 'labels'), ...hashLabel },
      annotations: textsAt(template, 'metadata', 'annotations'),
      ...(bare ? {} : { ownerReferences: [ownerReference(owner, pod.hash)] }),
    },
    spec: { serviceAccountName: 'default', ...objectAt(template, 'spec'), nodeName: nodeName(pod.node) },
  };
}

function ownerReference(owner: KubeObject, hash: string): JsonObject {
  const common = { controller: true, uid: owner.metadata.uid ?? objectKey(owner) };
  return owner.kind === 'Deployment'
    ? { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: `${owner.metadata.name}-${hash}`, ...common }
    : { apiVersion: owner.apiVersion, kind: owner.kind, name: owner.metadata.name, ...common };
}
