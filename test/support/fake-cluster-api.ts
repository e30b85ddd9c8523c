import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import type { ClusterApi } from '../../control-plane/kubernetes/api.ts';
import type { KubeObject } from '../../model/objects.ts';
import type {
  DeleteOptions,
  ListOptions,
  ObjectList,
  ObjectRef,
  Patch,
} from '../../sources/kubernetes/client.ts';
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

  async get(kind: KubeKind, { namespace, name }: ObjectRef): Promise<KubeObject> {
    const id = nameOf(kind.kind, namespace, name);
    await this.#called('get', id);
    const found = this.objects.get(id);
    if (found === undefined) throw refusal('NotFound');
    return found;
  }

  async list(kind: KubeKind, options: ListOptions = {}): Promise<ObjectList> {
    const { namespace, labelSelector, fieldSelector } = options;
    await this.#called('list', `${kind.kind} ${namespace ?? ''}`);
    const wanted = (labelSelector ?? '').split(',').filter((part) => part !== '');
    const name = fieldSelector?.replace('metadata.name=', '');
    const items = [...this.objects.values()].filter(
      (object) =>
        object.kind === kind.kind &&
        (namespace === undefined || object.metadata.namespace === namespace) &&
        (name === undefined || object.metadata.name === name) &&
        wanted.every((part) => {
          const [label = '', value] = part.split('=');
          return object.metadata.labels?.[label] === value;
        }),
    );
    return { items, resourceVersion: String(this.#version), continue: undefined };
  }

  async create(kind: KubeKind, object: JsonObject): Promise<KubeObject> {
    const { namespace, name } = object.metadata as KubeObject['metadata'];
    const id = nameOf(kind.kind, namespace, name ?? '');
    await this.#called('create', id, object);
    if (name === undefined) return this.answer(object as KubeObject);
    if (this.objects.has(id)) throw refusal('AlreadyExists');
    return this.put(object);
  }

  async patch(kind: KubeKind, { namespace, name }: ObjectRef, { type, body }: Patch): Promise<KubeObject> {
    if (type !== 'merge') throw new Error(`the fake knows merge patches only, not ${type}`);
    const id = nameOf(kind.kind, namespace, name);
    await this.#called('patch', id, body);
    const before = this.objects.get(id);
    if (before === undefined) throw refusal('NotFound');
    const version = isJsonObject(body.metadata) ? body.metadata.resourceVersion : undefined;
    if (version !== undefined && version !== before.metadata.resourceVersion) throw refusal('Conflict');
    return this.put(merged(before, body) as JsonObject);
  }

  patchStatus(kind: KubeKind, ref: ObjectRef, patch: Patch): Promise<KubeObject> {
    return this.patch(kind, ref, patch);
  }

  async delete(kind: KubeKind, { namespace, name }: ObjectRef, options: DeleteOptions = {}): Promise<void> {
    const id = nameOf(kind.kind, namespace, name);
    await this.#called('delete', id);
    const found = this.objects.get(id);
    if (found === undefined) throw refusal('NotFound');
    const { uid = found.metadata.uid, resourceVersion = found.metadata.resourceVersion } =
      options.preconditions ?? {};
    if (uid !== found.metadata.uid || resourceVersion !== found.metadata.resourceVersion)
      throw refusal('Conflict');
    this.objects.delete(id);
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
