import type { JsonObject } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { KubernetesError } from '../../sources/kubernetes/errors.ts';
import type { KubeKind } from '../../sources/kubernetes/kinds.ts';

/** One object. `namespace` is undefined for cluster-scoped kinds. */
export interface ObjectKey {
  readonly kind: KubeKind;
  readonly namespace: string | undefined;
  readonly name: string;
}

export interface ListScope {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** What the control plane asks of an API server, to be faked in tests. Rejects as `sources/kubernetes/client.ts` does. */
export interface ClusterApi {
  /** Undefined where there is none. */
  get(key: ObjectKey): Promise<KubeObject | undefined>;
  list(kind: KubeKind, scope: ListScope): Promise<readonly KubeObject[]>;
  /** For kinds that are questions as well (TokenReview): resolves with the answer. */
  create(kind: KubeKind, object: JsonObject, namespace?: string): Promise<KubeObject>;
  /** A JSON merge patch (RFC 7396). A `metadata.resourceVersion` in it makes it conditional. */
  patch(key: ObjectKey, patch: JsonObject, subresource?: 'status'): Promise<KubeObject>;
  /** With `uid` only that very object. Resolves where there is none. */
  remove(key: ObjectKey, uid?: string): Promise<void>;
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
