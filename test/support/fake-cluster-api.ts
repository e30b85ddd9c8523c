import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import type { ClusterApi, ListScope, ObjectKey } from '../../control-plane/kubernetes/api.ts';
import type { KubeObject } from '../../model/objects.ts';
import { KubernetesError } from '../../sources/kubernetes/errors.ts';
import type { KubeKind } from '../../sources/kubernetes/kinds.ts';

export interface ApiCall {
  readonly verb: 'get' | 'list' | 'create' | 'patch' | 'delete';
  /** `Lease heddle-system/heddle-control-plane`. */
  readonly object: string;
  readonly body: JsonObject | undefined;
}

const STATUS: Readonly<Record<string, number>> = {
  NotFound: 404,
  AlreadyExists: 409,
  Conflict: 409,
  Forbidden: 403,
};

export function refusal(reason: string): KubernetesError {
  return new KubernetesError(`refused: ${reason}`, {
    ...{ status: STATUS[reason] ?? 500, reason, causes: [], retryAfterMs: undefined },
  });
}

/** An API server in memory: resource versions, merge patches with preconditions, and answers that tests choose. */
export class FakeClusterApi implements ClusterApi {
  readonly calls: ApiCall[] = [];
  readonly objects = new Map<string, KubeObject>();
  /** Runs before each call; what it throws or rejects with is the answer. */
  before: (call: ApiCall) => void | Promise<void> = () => undefined;
  /** What a created object becomes, for kinds that are questions. */
  answer: (object: KubeObject) => KubeObject = (object) => object;
  #version = 0;

  /** Puts an object there as somebody else would. */
  put(object: JsonObject): KubeObject {
    const { metadata } = object as KubeObject;
    const before = this.objects.get(nameOf(object.kind, metadata.namespace, metadata.name));
    const uid = metadata.uid ?? before?.metadata.uid ?? `uid-${this.#version + 1}`;
    const stored = {
      ...object,
      metadata: { ...metadata, uid, resourceVersion: String(++this.#version) },
    } as unknown as KubeObject;
    this.objects.set(nameOf(object.kind, metadata.namespace, metadata.name), stored);
    return stored;
  }

  find(kind: string, namespace: string | undefined, name: string): KubeObject | undefined {
    return this.objects.get(nameOf(kind, namespace, name));
  }

  drop(kind: string, namespace: string | undefined, name: string): void {
    this.objects.delete(nameOf(kind, namespace, name));
  }

  /** Calls that change something. */
  writes(): readonly ApiCall[] {
    return this.calls.filter(({ verb }) => verb !== 'get' && verb !== 'list');
  }

  async get(key: ObjectKey): Promise<KubeObject | undefined> {
    await this.#called('get', nameOf(key.kind.kind, key.namespace, key.name));
    return this.objects.get(nameOf(key.kind.kind, key.namespace, key.name));
  }

  async list(kind: KubeKind, { namespace, labelSelector, fieldSelector }: ListScope) {
    await this.#called('list', `${kind.kind} ${namespace ?? ''}`);
    const wanted = (labelSelector ?? '').split(',').filter((part) => part !== '');
    const name = fieldSelector?.replace('metadata.name=', '');
    return [...this.objects.values()].filter(
      (object) =>
        object.kind === kind.kind &&
        (namespace === undefined || object.metadata.namespace === namespace) &&
        (name === undefined || object.metadata.name === name) &&
        wanted.every((part) => {
          const [label = '', value] = part.split('=');
          return object.metadata.labels?.[label] === value;
        }),
    );
  }

  async create(kind: KubeKind, object: JsonObject, namespace?: string): Promise<KubeObject> {
    const metadata = isJsonObject(object.metadata) ? object.metadata : {};
    const name = nameOf(kind.kind, namespace, String(metadata.name ?? ''));
    await this.#called('create', name, object);
    if (metadata.name === undefined) return this.answer(object as KubeObject);
    if (this.objects.has(name)) throw refusal('AlreadyExists');
    return this.put({ ...object, metadata: { ...metadata, namespace } });
  }

  async patch(key: ObjectKey, patch: JsonObject): Promise<KubeObject> {
    const name = nameOf(key.kind.kind, key.namespace, key.name);
    await this.#called('patch', name, patch);
    const before = this.objects.get(name);
    if (before === undefined) throw refusal('NotFound');
    const version = isJsonObject(patch.metadata) ? patch.metadata.resourceVersion : undefined;
    if (version !== undefined && version !== before.metadata.resourceVersion) throw refusal('Conflict');
    return this.put(merged(before, patch) as JsonObject);
  }

  async remove(key: ObjectKey, uid?: string): Promise<void> {
    const name = nameOf(key.kind.kind, key.namespace, key.name);
    await this.#called('delete', name);
    if (uid === undefined || this.objects.get(name)?.metadata.uid === uid) this.objects.delete(name);
  }

  async #called(verb: ApiCall['verb'], object: string, body?: JsonObject): Promise<void> {
    const call = { verb, object, body };
    this.calls.push(call);
    await this.before(call);
  }
}

function nameOf(kind: JsonValue | undefined, namespace: string | undefined, name: string): string {
  return `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;
}

/** RFC 7396. */
function merged(target: JsonValue | undefined, patch: JsonValue): JsonValue {
  if (!isJsonObject(patch)) return patch;
  const result: { [key: string]: JsonValue | undefined } = { ...(isJsonObject(target) ? target : {}) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === undefined) continue;
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}
