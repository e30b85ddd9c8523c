import { isJsonObject, type JsonObject, type JsonValue } from '../../../common/json.ts';
import type { KubeObject } from '../../../model/objects.ts';

/** What a write would make of an object: the next version of it, nothing, or why not. */
export type Written = { readonly next: KubeObject | undefined } | { readonly refused: 404 | 409 | 415 };

export interface Write {
  readonly method: string;
  readonly name: string | undefined;
  readonly namespace: string | undefined;
  readonly subresource: string | undefined;
  readonly contentType: string | undefined;
  readonly body: JsonObject;
}

const MERGED: ReadonlySet<string | undefined> = new Set([
  'application/merge-patch+json',
  // As one manager's whole intent it is more than a merge; a fake with one writer sees no difference.
  'application/apply-patch+yaml',
]);

/** Writes as an API server without schemas and admission has them. A status is written by its subresource alone. */
export function written(before: KubeObject | undefined, write: Write): Written {
  const { method, body, subresource } = write;
  if (method === 'POST') return before === undefined ? { next: asObject(body, write) } : { refused: 409 };
  if (method === 'DELETE') return before === undefined ? { refused: 404 } : { next: undefined };
  const isApply = write.contentType === 'application/apply-patch+yaml';
  if (before === undefined) return isApply ? { next: asObject(body, write) } : { refused: 404 };
  if (isStale(before, body)) return { refused: 409 };
  if (method === 'PATCH' && !MERGED.has(write.contentType)) return { refused: 415 };
  const wanted = method === 'PATCH' ? merge(before, body) : body;
  const { status, ...rest } = asObject(wanted, write);
  const next = subresource === 'status' ? { ...before, status } : { ...rest, status: before.status };
  return { next: { ...next, metadata: { ...next.metadata, uid: before.metadata.uid } } as KubeObject };
}

function isStale(before: KubeObject, { metadata }: JsonObject): boolean {
  const wanted = isJsonObject(metadata) ? metadata.resourceVersion : undefined;
  return wanted !== undefined && wanted !== before.metadata.resourceVersion;
}

function asObject(value: JsonObject, { name, namespace }: Write): KubeObject {
  const metadata = isJsonObject(value.metadata) ? value.metadata : {};
  const generated = `${String(metadata.generateName)}${Math.floor(performance.now() * 1_000)}`;
  return {
    ...value,
    metadata: {
      ...(namespace === undefined ? {} : { namespace }),
      ...metadata,
      name: name ?? metadata.name ?? generated,
    },
  } as KubeObject;
}

/** RFC 7386. */
function merge(before: JsonObject, patch: JsonObject): JsonObject {
  const next: Record<string, JsonValue | undefined> = { ...before };
  for (const [name, value] of Object.entries(patch)) {
    const known = next[name];
    if (value === null) delete next[name];
    else next[name] = isJsonObject(value) ? merge(isJsonObject(known) ? known : {}, value) : value;
  }
  return next;
}
