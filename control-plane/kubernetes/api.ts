import { isJsonObject, type JsonObject } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import type { KubernetesClient, ObjectRef } from '../../sources/kubernetes/client.ts';
import { KubernetesError } from '../../sources/kubernetes/errors.ts';
import type { KubeKind } from '../../sources/kubernetes/kinds.ts';

/** What the control plane asks of an API server, to be faked in tests. */
export type ClusterApi = Pick<
  KubernetesClient,
  'get' | 'list' | 'create' | 'patch' | 'patchStatus' | 'delete'
>;

/** Which object of which kind. */
export interface ObjectKey extends ObjectRef {
  readonly kind: KubeKind;
}

/**
 * Changes an object on the condition that nobody writes it in between: sources keep no resource versions. Nothing is
 * written where `change` gives undefined.
 */
export async function changeObject(
  api: ClusterApi,
  key: ObjectKey,
  change: (fresh: KubeObject) => JsonObject | undefined,
  subresource?: 'status',
): Promise<void> {
  const fresh = await api.get(key.kind, key);
  const patch = change(fresh);
  if (patch === undefined) return;
  const { resourceVersion } = fresh.metadata;
  const metadata = { ...(isJsonObject(patch.metadata) ? patch.metadata : {}), resourceVersion };
  const merge = { type: 'merge', body: { ...patch, metadata } } as const;
  await (subresource === 'status' ? api.patchStatus(key.kind, key, merge) : api.patch(key.kind, key, merge));
}

/** What a failed call means for whoever made it. `refused`: the same call would fail again. */
export type Failure = 'conflict' | 'exists' | 'gone' | 'refused' | 'unavailable';

const FAILURES: Readonly<Record<string, Failure>> = {
  Conflict: 'conflict',
  AlreadyExists: 'exists',
  NotFound: 'gone',
  Forbidden: 'refused',
  Unauthorized: 'refused',
  Invalid: 'refused',
  BadRequest: 'refused',
};

/** Whatever isn't an answer of the API server counts as unavailable, as does an answer that speaks of a moment. */
export function failureOf(thrown: unknown): Failure {
  return thrown instanceof KubernetesError ? (FAILURES[thrown.reason] ?? 'unavailable') : 'unavailable';
}

/** What the control plane makes bears these labels; an object of one of its names without them is somebody else's. */
export const OWN_LABELS = {
  'app.kubernetes.io/managed-by': 'heddle-control-plane',
  'app.kubernetes.io/part-of': 'heddle',
} as const;

export function isOwn(object: KubeObject): boolean {
  const label = 'app.kubernetes.io/managed-by';
  return object.metadata.labels?.[label] === OWN_LABELS[label];
}
