import { type Clock, systemClock } from '../../common/clock.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { badAnswer, deadline, parseObject, refusal, textOf } from './answers.ts';
import { type Environment, kubeconfigCredentials, podCredentials } from './credentials.ts';
import { hasReason } from './errors.ts';
import { type KubeKind, pathOf } from './kinds.ts';
import {
  EVENT_BYTES_MAX,
  LIST_TIMEOUT_MS,
  REQUEST_TIMEOUT_MS,
  RESPONSE_BYTES_MAX,
  WATCH_SILENCE_GRACE_MS,
} from './limits.ts';
import { EventLines, type WatchEvent } from './lines.ts';
import { type ApiResponse, type ApiTransport, httpTransport, type Method } from './transport.ts';

/** One object by its name. */
export interface ObjectRef {
  /** Of kinds that have one. */
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** The server checks and admits, and stores nothing. */
  readonly dryRun?: boolean;
  readonly timeoutMs?: number;
}

export interface ListOptions extends CallOptions {
  /** All namespaces where none is given. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Objects in one answer; all of them where it isn't given. */
  readonly limit?: number | undefined;
  /** Of the page before. */
  readonly continue?: string | undefined;
}

export interface ObjectList {
  readonly items: readonly KubeObject[];
  /** Of the whole list: a watch goes on from here. */
  readonly resourceVersion: string;
  /** Where there are more. */
  readonly continue: string | undefined;
}

export interface WatchOptions extends Pick<ListOptions, 'namespace' | 'labelSelector' | 'fieldSelector'> {
  readonly resourceVersion: string;
  /** How long the server is asked to keep the watch. A stream that is silent a little longer than that is dropped. */
  readonly lastsMs: number;
  readonly signal?: AbortSignal;
}

/** RFC 7386; RFC 6902; or server-side apply, by which fields belong to `fieldManager`. */
export type Patch =
  | { readonly type: 'merge'; readonly body: JsonObject }
  | { readonly type: 'json'; readonly body: readonly JsonObject[] }
  | {
      readonly type: 'apply';
      readonly body: JsonObject;
      readonly fieldManager: string;
      /** Takes fields that belong to others. */
      readonly force?: boolean;
    };

export interface DeleteOptions extends CallOptions {
  /** Only this very object, and only as it was read. */
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
  readonly gracePeriodSeconds?: number;
}

/**
 * An API server's objects. Every call rejects with `KubernetesError` (code `kubernetes`) where the server refuses, and with
 * codes `kubernetes-unreachable`, `kubernetes-timeout`, `kubernetes-answer` or `kubernetes-credentials` where it couldn't be
 * asked. Nothing is tried again but a request whose credentials had run out: callers know what may be done twice.
 */
export interface KubernetesClient {
  /** Our own namespace, as pod or by the kubeconfig's context. */
  readonly namespace: string | undefined;
  get(kind: KubeKind, ref: ObjectRef, options?: CallOptions): Promise<KubeObject>;
  /** One page. Items say what they are, as single objects do. */
  list(kind: KubeKind, options?: ListOptions): Promise<ObjectList>;
  /** `metadata.namespace` says where. A review (TokenReview) has no name, and comes back with its status. */
  create(kind: KubeKind, object: JsonObject, options?: CallOptions): Promise<KubeObject>;
  /** With `metadata.resourceVersion`, only where it is still as it was read. */
  replace(kind: KubeKind, object: KubeObject, options?: CallOptions): Promise<KubeObject>;
  replaceStatus(kind: KubeKind, object: KubeObject, options?: CallOptions): Promise<KubeObject>;
  patch(kind: KubeKind, ref: ObjectRef, patch: Patch, options?: CallOptions): Promise<KubeObject>;
  patchStatus(kind: KubeKind, ref: ObjectRef, patch: Patch, options?: CallOptions): Promise<KubeObject>;
  delete(kind: KubeKind, ref: ObjectRef, options?: DeleteOptions): Promise<void>;
  /** An empty batch once the server has taken it up, then events as they come. Ends when the server ends it. */
  watch(kind: KubeKind, options: WatchOptions): AsyncGenerator<readonly WatchEvent[], void, void>;
  /** Any other path, such as `/version`: the JSON object that it answers with. */
  read(path: string, options?: CallOptions): Promise<JsonObject>;
  close(): void;
}

/** How a program was told to reach its API server. */
export interface KubernetesAccess {
  /** Undefined: as the pod that it is. */
  readonly kubeconfig: string | undefined;
  /** Undefined: the kubeconfig's current one. */
  readonly context: string | undefined;
  /** Of the pod that it is, where there is no kubeconfig. */
  readonly env?: Environment;
}

/** Rejects with code `kubernetes-credentials`; the server isn't asked anything yet. */
export async function connectKubernetes(
  { kubeconfig, context, env = {} }: KubernetesAccess,
  clock: Clock = systemClock,
): Promise<KubernetesClient> {
  const credentials =
    kubeconfig === undefined
      ? podCredentials(clock, env)
      : await kubeconfigCredentials(clock, kubeconfig, context);
  return kubernetesClient({ transport: httpTransport(credentials), clock, namespace: credentials.namespace });
}

export interface ClientDeps {
  readonly transport: ApiTransport;
  readonly clock: Clock;
  readonly namespace?: string | undefined;
  readonly responseBytesMax?: number;
}

export function kubernetesClient(deps: ClientDeps): KubernetesClient {
  return new Client(deps);
}

interface Call extends CallOptions {
  readonly method: Method;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: JsonValue;
  readonly contentType?: string;
}

const CONTENT_TYPES = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
} as const satisfies Record<Patch['type'], string>;

class Client implements KubernetesClient {
  readonly namespace: string | undefined;
  readonly #transport: ApiTransport;
  readonly #clock: Clock;
  readonly #responseBytesMax: number;

  constructor({ transport, clock, namespace, responseBytesMax }: ClientDeps) {
    this.namespace = namespace;
    this.#transport = transport;
    this.#clock = clock;
    this.#responseBytesMax = responseBytesMax ?? RESPONSE_BYTES_MAX;
  }

  get(kind: KubeKind, { namespace, name }: ObjectRef, options?: CallOptions): Promise<KubeObject> {
    return this.#object({ method: 'GET', path: pathOf(kind, namespace, name), ...options });
  }

  async list(kind: KubeKind, options: ListOptions = {}): Promise<ObjectList> {
    const { limit, namespace, continue: from } = options;
    const answer = await this.#json({
      ...{ method: 'GET', path: pathOf(kind, namespace), timeoutMs: LIST_TIMEOUT_MS, ...options },
      query: { ...selectors(options), limit: limit?.toString(), continue: from },
    });
    const { items, metadata } = answer;
    if (!Array.isArray(items) || !isJsonObject(metadata)) throw badAnswer(`it is no list of ${kind.kind}`);
    const { resourceVersion, continue: next } = metadata;
    if (typeof resourceVersion !== 'string')
      throw badAnswer(`the list of ${kind.kind} has no resourceVersion`);
    const { apiVersion } = kind;
    return {
      // Items of a typed list need not say again what they are.
      items: items.map((item: unknown) => asObject({ apiVersion, kind: kind.kind, ...asRecord(item) })),
      resourceVersion,
      continue: typeof next === 'string' && next !== '' ? next : undefined,
    };
  }

  create(kind: KubeKind, object: JsonObject, options?: CallOptions): Promise<KubeObject> {
    const { namespace } = asRecord(object.metadata);
    const path = pathOf(kind, typeof namespace === 'string' ? namespace : undefined);
    return this.#object({ method: 'POST', path, body: object, ...options });
  }

  replace(kind: KubeKind, object: KubeObject, options?: CallOptions): Promise<KubeObject> {
    const { namespace, name } = object.metadata;
    return this.#object({ method: 'PUT', path: pathOf(kind, namespace, name), body: object, ...options });
  }

  replaceStatus(kind: KubeKind, object: KubeObject, options?: CallOptions): Promise<KubeObject> {
    const { namespace, name } = object.metadata;
    const path = pathOf(kind, namespace, name, 'status');
    return this.#object({ method: 'PUT', path, body: object, ...options });
  }

  patch(kind: KubeKind, ref: ObjectRef, patch: Patch, options?: CallOptions): Promise<KubeObject> {
    return this.#patch(pathOf(kind, ref.namespace, ref.name), patch, options);
  }

  patchStatus(kind: KubeKind, ref: ObjectRef, patch: Patch, options?: CallOptions): Promise<KubeObject> {
    return this.#patch(pathOf(kind, ref.namespace, ref.name, 'status'), patch, options);
  }

  async delete(kind: KubeKind, { namespace, name }: ObjectRef, options: DeleteOptions = {}): Promise<void> {
    const { preconditions, propagationPolicy, gracePeriodSeconds, ...call } = options;
    await this.#json({
      ...{ method: 'DELETE', path: pathOf(kind, namespace, name), ...call },
      body: {
        ...{ apiVersion: 'v1', kind: 'DeleteOptions', preconditions },
        ...{ propagationPolicy, gracePeriodSeconds },
      },
    });
  }

  async *watch(kind: KubeKind, options: WatchOptions): AsyncGenerator<readonly WatchEvent[], void, void> {
    const { namespace, resourceVersion, lastsMs, signal } = options;
    const call: Call = {
      ...{ method: 'GET', path: pathOf(kind, namespace) },
      query: {
        ...{ ...selectors(options), watch: 'true', allowWatchBookmarks: 'true', resourceVersion },
        timeoutSeconds: String(Math.ceil(lastsMs / 1_000)),
      },
    };
    const what = `watch ${call.path}`;
    // Headers come at once, also where nothing happens for a long time.
    const limit = deadline(this.#clock, REQUEST_TIMEOUT_MS, what, signal);
    try {
      const response = await this.#send(call, limit.signal);
      if (response.status !== 200)
        throw refusal(what, response, await textOf(response, this.#responseBytesMax));
      limit.again(lastsMs + WATCH_SILENCE_GRACE_MS);
      yield [];
      const lines = new EventLines(EVENT_BYTES_MAX);
      for await (const chunk of response.body) {
        limit.again(lastsMs + WATCH_SILENCE_GRACE_MS);
        const events = lines.push(chunk);
        if (events.length > 0) yield events;
      }
    } catch (thrown) {
      throw limit.signal.aborted ? limit.signal.reason : thrown;
    } finally {
      limit.cancel();
    }
  }

  read(path: string, options?: CallOptions): Promise<JsonObject> {
    return this.#json({ method: 'GET', path, ...options });
  }

  close(): void {
    this.#transport.close();
  }

  #patch(path: string, patch: Patch, options?: CallOptions): Promise<KubeObject> {
    const { type, body } = patch;
    return this.#object({
      ...{ method: 'PATCH', path, body, contentType: CONTENT_TYPES[type], ...options },
      query:
        type === 'apply'
          ? { fieldManager: patch.fieldManager, force: patch.force === true ? 'true' : undefined }
          : {},
    });
  }

  async #object(call: Call): Promise<KubeObject> {
    return asObject(await this.#json(call));
  }

  async #json(call: Call): Promise<JsonObject> {
    const what = `${call.method} ${call.path}`;
    const limit = deadline(this.#clock, call.timeoutMs ?? REQUEST_TIMEOUT_MS, what, call.signal);
    try {
      const response = await this.#send(call, limit.signal);
      const text = await textOf(response, this.#responseBytesMax);
      if (response.status < 200 || response.status > 299) throw refusal(what, response, text);
      return parseObject(text);
    } catch (thrown) {
      throw limit.signal.aborted ? limit.signal.reason : thrown;
    } finally {
      limit.cancel();
    }
  }

  /** Once more with credentials that are read anew, where the server no longer knows the ones we had. */
  async #send(call: Call, signal: AbortSignal): Promise<ApiResponse> {
    const response = await this.#once(call, signal);
    if (response.status !== 401) return response;
    await textOf(response, this.#responseBytesMax);
    this.#transport.renew();
    return this.#once(call, signal);
  }

  #once({ method, path, query, body, contentType, dryRun }: Call, signal: AbortSignal): Promise<ApiResponse> {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...query, dryRun: dryRun === true ? 'All' : undefined }))
      if (value !== undefined) search.set(name, value);
    const text = search.toString();
    return this.#transport.send({
      ...{ method, path: text === '' ? path : `${path}?${text}`, signal },
      headers: {
        ...{ accept: 'application/json', 'user-agent': 'heddle' },
        ...(body === undefined ? {} : { 'content-type': contentType ?? 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }
}

function selectors({ labelSelector, fieldSelector }: Pick<ListOptions, 'labelSelector' | 'fieldSelector'>) {
  return { labelSelector, fieldSelector };
}

function asRecord(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {};
}

/** Whatever the server sends, what is used of it here is there. */
function asObject(value: JsonObject): KubeObject {
  const { apiVersion, kind, metadata } = value;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string')
    throw badAnswer('it is no Kubernetes object');
  return {
    ...value,
    apiVersion,
    kind,
    metadata: (isJsonObject(metadata) ? metadata : {}) as KubeObject['metadata'],
  };
}

/** What `call` gives; undefined where there is no such object. */
export async function orMissing<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (thrown) {
    if (hasReason(thrown, 'NotFound')) return undefined;
    throw thrown;
  }
}
