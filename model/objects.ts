import type { JsonObject, JsonValue } from '../common/json.ts';

/** Where an object came from, for messages that a person can act on. `line` counts from 1. */
export interface ObjectOrigin {
  /** A file path, or `kubernetes`. */
  readonly source: string;
  readonly line: number;
  /**
   * The line of a field inside the object (`['spec', 'rules', 0, 'timeouts']`), as near as the source knows; the object's
   * first line where it doesn't.
   */
  lineOf?(path: readonly (string | number)[]): number;
}

export interface ObjectMeta extends JsonObject {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly uid?: string;
  readonly generation?: number;
  /** RFC 3339. */
  readonly creationTimestamp?: string;
  readonly resourceVersion?: string;
}

/** A Kubernetes object as read: checked to have apiVersion, kind and metadata.name, nothing more. */
export interface KubeObject extends JsonObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly spec?: JsonValue;
  readonly status?: JsonValue;
  readonly data?: JsonValue;
}

export interface SourcedObject {
  readonly object: KubeObject;
  readonly origin: ObjectOrigin;
  /**
   * Where `object` has fields that can't be used: its last version that had none, which stays in force. A source that
   * remembers nothing leaves it out, and then nothing of the object is.
   */
  readonly lastGood?: KubeObject;
}

/** Something wrong with a file or an object that a person should mend. */
export interface Problem {
  readonly severity: 'error' | 'warning';
  readonly source: string;
  readonly line: number;
  /** `HTTPRoute shop/catalog`, where the object is known. */
  readonly object?: string;
  /** `spec.rules[0].timeouts.request`, where one field is to blame. */
  readonly field?: string;
  readonly message: string;
}

/** `shop/catalog`; cluster-scoped objects have an empty namespace: `/shop`. */
export function namespacedName(object: { readonly metadata: ObjectMeta }): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}
