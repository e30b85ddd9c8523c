import { isJsonObject, type JsonObject } from '../../../common/json.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { type KubeKind, pathOf } from '../../../sources/kubernetes/kinds.ts';
import type { ApiRequest, ApiResponse, ApiTransport } from '../../../sources/kubernetes/transport.ts';
import { ByteStream } from './byte-stream.ts';
import { type Faults, NO_FAULTS, type RequestFault } from './faults.ts';
import { WatchStream } from './watch-stream.ts';
import { written } from './writes.ts';

type FakeRequest = Pick<ApiRequest, 'method' | 'path' | 'signal'> &
  Partial<Pick<ApiRequest, 'body' | 'headers'>>;

export interface ApiEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly version: number;
  readonly kind: KubeKind;
  readonly object: KubeObject;
}

interface Installed {
  readonly kind: KubeKind;
  readonly objects: Map<string, KubeObject>;
  access: 'allowed' | 'forbidden';
}

const EPOCH_STEP = 1_000_000;

/**
 * An API server in memory: lists in pages, watches with bookmarks, versions that count over all kinds, and every fault that
 * its `faults` draw. It refuses paths of kinds that it wasn't given. Writes meet no schema and no admission.
 */
export class FakeApi {
  faults: Faults = NO_FAULTS;
  /** Requests that came in, faults included. */
  lists = 0;
  /** Lists of one object, for their version. */
  looks = 0;
  watches = 0;
  readonly #kinds = new Map<string, Installed>();
  readonly #streams = new Set<WatchStream>();
  #history: ApiEvent[] = [];
  #version = 10 * EPOCH_STEP;
  /** Watches from before this version are told that it is gone. */
  #oldest = this.#version;
  #uids = 0;

  constructor(kinds: readonly KubeKind[]) {
    for (const kind of kinds) this.install(kind);
  }

  get openWatches(): number {
    return this.#streams.size;
  }

  install(kind: KubeKind): void {
    const key = pathOf(kind, undefined);
    if (!this.#kinds.has(key)) this.#kinds.set(key, { kind, objects: new Map(), access: 'allowed' });
  }

  /** As when its CustomResourceDefinition is deleted. */
  uninstall(kind: KubeKind): void {
    const installed = this.#kinds.get(pathOf(kind, undefined));
    if (installed === undefined) return;
    for (const object of [...installed.objects.values()]) this.delete(kind, object.metadata);
    this.#kinds.delete(pathOf(kind, undefined));
    for (const stream of this.#streams) if (stream.kind === kind) stream.end();
  }

  allow(kind: KubeKind, access: Installed['access']): void {
    this.#of(kind).access = access;
    for (const stream of this.#streams) if (stream.kind === kind) stream.end();
  }

  /** Creates or replaces; `resourceVersion` and `uid` are the server's. */
  put(kind: KubeKind, object: Pick<KubeObject, 'metadata' | 'spec' | 'status' | 'data'>): KubeObject {
    const { objects } = this.#of(kind);
    const key = keyOf(object.metadata);
    const before = objects.get(key);
    const version = ++this.#version;
    const uid = before?.metadata.uid ?? `uid-${++this.#uids}`;
    const metadata = { ...object.metadata, uid, resourceVersion: String(version) };
    const next: KubeObject = { ...object, apiVersion: kind.apiVersion, kind: kind.kind, metadata };
    objects.set(key, next);
    this.#tell({ type: before === undefined ? 'ADDED' : 'MODIFIED', version, kind, object: next });
    return next;
  }

  delete(kind: KubeKind, metadata: { readonly namespace?: string; readonly name: string }): void {
    const { objects } = this.#of(kind);
    const before = objects.get(keyOf(metadata));
    if (before === undefined) return;
    objects.delete(keyOf(metadata));
    const version = ++this.#version;
    const object = { ...before, metadata: { ...before.metadata, resourceVersion: String(version) } };
    this.#tell({ type: 'DELETED', version, kind, object });
  }

  objects(): readonly KubeObject[] {
    return [...this.#kinds.values()].flatMap(({ objects }) => [...objects.values()]);
  }

  /** Forgets what happened before: whoever was away has to list anew. */
  compact(): void {
    this.#history = [];
    this.#oldest = this.#version;
  }

  /** Tells every watch how far it is. */
  bookmark(): void {
    for (const stream of this.#streams) stream.bookmark(this.#version);
  }

  /** Breaks all connections. With another `epoch`, as after etcd was restored, versions begin elsewhere. */
  restart(epoch?: 'lower' | 'higher'): void {
    for (const stream of [...this.#streams]) stream.fail(new Error('socket hang up'));
    if (epoch === undefined) return;
    this.#version += epoch === 'lower' ? -EPOCH_STEP : EPOCH_STEP;
    this.compact();
    for (const { objects } of this.#kinds.values()) {
      for (const [key, object] of objects) {
        const resourceVersion = String(++this.#version);
        objects.set(key, { ...object, metadata: { ...object.metadata, resourceVersion } });
      }
    }
    this.#oldest = this.#version;
  }

  /** Every watch that is open ends at once. */
  endWatches(): void {
    for (const stream of [...this.#streams]) stream.end();
  }

  transport(): ApiTransport {
    return { send: (request) => this.handle(request), renew: () => undefined, close: () => undefined };
  }

  async handle(request: FakeRequest): Promise<ApiResponse> {
    const { method, path, signal } = request;
    const { pathname, searchParams } = new URL(path, 'http://fake');
    const isWatch = searchParams.get('watch') === 'true';
    if (isWatch) this.watches++;
    else if (searchParams.get('limit') === '1') this.looks++;
    else this.lists++;
    const fault = this.faults.request(isWatch);
    if (fault === 'unreachable') throw new Error('connect ECONNREFUSED');
    if (fault === 'hanging') return hang(signal);
    const refused = refusalOf(fault, isWatch, searchParams);
    if (refused !== undefined) return refused;
    const place = placeOf(pathname);
    const installed = this.#kinds.get(place.collection);
    if (installed === undefined) return status(404, 'NotFound', `no ${method} ${pathname}`);
    const { plural } = installed.kind;
    if (installed.access === 'forbidden') return status(403, 'Forbidden', `may not list ${plural}`);
    if (method !== 'GET') return this.#write(installed, place, request);
    if (place.name !== undefined) {
      const found = installed.objects.get(keyOf({ ...place, name: place.name }));
      return found === undefined ? status(404, 'NotFound', `no ${pathname}`) : answer(found, 200);
    }
    const select = selection(place.namespace, searchParams);
    return isWatch
      ? this.#watch(installed.kind, select, searchParams, signal)
      : this.#list(installed, select, searchParams, signal);
  }

  #write({ kind, objects }: Installed, place: Place, { method, body, headers }: FakeRequest): ApiResponse {
    const sent = JSON.parse(body === undefined || body === '' ? '{}' : body) as JsonObject;
    const named = place.name ?? (isJsonObject(sent.metadata) ? sent.metadata.name : undefined);
    const before = typeof named === 'string' ? objects.get(keyOf({ ...place, name: named })) : undefined;
    const contentType = headers?.['content-type'];
    const result = written(before, { ...place, method, body: sent, contentType });
    if ('refused' in result) {
      const reason = method === 'POST' ? 'AlreadyExists' : REASONS[result.refused];
      return status(result.refused, reason, `${method} ${kind.kind} ${String(named)}`);
    }
    if (result.next !== undefined) return answer(this.put(kind, result.next), method === 'POST' ? 201 : 200);
    if (before !== undefined) this.delete(kind, before.metadata);
    return answer({ apiVersion: 'v1', kind: 'Status', status: 'Success' }, 200);
  }

  #list(
    { kind, objects }: Installed,
    select: Select,
    query: URLSearchParams,
    signal: AbortSignal,
  ): ApiResponse {
    const from = query.get('continue')?.split(':') ?? [];
    const [startText = '0', versionText] = from;
    const version = versionText === undefined ? this.#version : Number(versionText);
    // A page is of the moment of the first one, which this server keeps for as long as nothing happens.
    if (version !== this.#version) return status(410, 'Expired', 'the continue token is too old');
    const start = Number(startText);
    const all = [...objects.values()].filter(select);
    const end = Math.min(all.length, start + Number(query.get('limit') ?? all.length));
    // Items of a list don't say what they are.
    const items = all.slice(start, end).map(({ apiVersion: _version, kind: _kind, ...item }) => item);
    const next = end < all.length ? `${end}:${version}` : '';
    const body = new ByteStream(signal);
    body.push(
      JSON.stringify({
        ...{ apiVersion: kind.apiVersion, kind: `${kind.kind}List`, items },
        metadata: { resourceVersion: String(version), continue: next },
      }),
    );
    body.end();
    return { status: 200, headers: {}, body };
  }

  #watch(kind: KubeKind, select: Select, query: URLSearchParams, signal: AbortSignal): ApiResponse {
    const version = Number(query.get('resourceVersion'));
    if (version < this.#oldest) return status(410, 'Expired', `too old resource version: ${version}`);
    const stream = new WatchStream({
      ...{ kind, select, signal, after: version, faults: () => this.faults },
      onClose: () => this.#streams.delete(stream),
    });
    this.#streams.add(stream);
    for (const event of this.#history) stream.tell(event);
    return { status: 200, headers: {}, body: stream.body };
  }

  #tell(event: ApiEvent): void {
    this.#history.push(event);
    for (const stream of [...this.#streams]) stream.tell(event);
  }

  #of(kind: KubeKind): Installed {
    const installed = this.#kinds.get(pathOf(kind, undefined));
    if (installed === undefined) throw new Error(`${kind.kind} is not installed in this fake`);
    return installed;
  }
}

interface Place {
  readonly collection: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

/** `/apis/apps/v1/namespaces/shop/deployments/cart/status`, taken apart. */
function placeOf(pathname: string): Place {
  const [, root = '', rest = ''] = /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)\/(.+)$/.exec(pathname) ?? [];
  const parts = rest.split('/').map(decodeURIComponent);
  const isWithin = parts[0] === 'namespaces' && parts.length > 2;
  const [plural = '', name, subresource] = isWithin ? parts.slice(2) : parts;
  return { collection: `${root}/${plural}`, namespace: isWithin ? parts[1] : undefined, name, subresource };
}

const REASONS = { 404: 'NotFound', 409: 'Conflict', 415: 'UnsupportedMediaType' } as const;

function answer(object: JsonObject, code: number): ApiResponse {
  const body = new ByteStream(new AbortController().signal);
  body.push(JSON.stringify(object));
  body.end();
  return { status: code, headers: {}, body };
}

export type Select = (object: KubeObject) => boolean;

/** By one name, and by labels that are equal to something: whoever asks in another way is told here. */
function selection(namespace: string | undefined, query: URLSearchParams): Select {
  const fieldSelector = query.get('fieldSelector');
  const name = /^metadata\.name=(.+)$/.exec(fieldSelector ?? '')?.[1];
  if (fieldSelector !== null && name === undefined) throw new Error(`the fake doesn't know ${fieldSelector}`);
  const labels = (query.get('labelSelector') ?? '').split(',').filter((term) => term !== '');
  const wanted = labels.map((term) => {
    const [, key = '', value] = /^([^=!]+)=([^=]*)$/.exec(term) ?? [];
    if (value === undefined) throw new Error(`the fake doesn't know ${term}`);
    return { key, value };
  });
  return ({ metadata }) =>
    (namespace === undefined || metadata.namespace === namespace) &&
    (name === undefined || metadata.name === name) &&
    wanted.every(({ key, value }) => metadata.labels?.[key] === value);
}

function keyOf({
  namespace,
  name,
}: {
  readonly namespace?: string | undefined;
  readonly name: string;
}): string {
  return `${namespace ?? ''}/${name}`;
}

function refusalOf(
  fault: RequestFault | undefined,
  isWatch: boolean,
  query: URLSearchParams,
): ApiResponse | undefined {
  switch (fault) {
    case 'busy':
      return status(429, 'TooManyRequests', 'too many requests', { 'retry-after': '1' });
    case 'broken':
      return status(500, 'InternalError', 'etcdserver: request timed out');
    case 'starting':
      return status(503, 'ServiceUnavailable', 'the server is starting');
    case 'gone':
      return isWatch ? status(410, 'Expired', 'too old resource version') : undefined;
    case 'page-expired':
      return query.has('continue') ? status(410, 'Expired', 'the continue token is too old') : undefined;
    default:
      return undefined;
  }
}

/** An answer that never comes. */
function hang(signal: AbortSignal): Promise<ApiResponse> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** A Status object (meta/v1) as an answer. */
export function status(
  code: number,
  reason: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): ApiResponse {
  const body = new ByteStream(new AbortController().signal);
  body.push(
    JSON.stringify({
      kind: 'Status',
      apiVersion: 'v1',
      status: 'Failure',
      code,
      reason,
      message,
    }),
  );
  body.end();
  return { status: code, headers, body };
}
