import { createHash } from 'node:crypto';
import { METADATA_KEY } from '../../common/contracts.ts';
import type { Any } from '../../common/gen/google/protobuf/any.ts';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import type { ResourceType } from '../../common/wire/types.ts';

/** A resource as it goes over the wire. The version is a hash of the content: equal bytes are never sent twice. */
export interface EncodedResource {
  readonly type: ResourceType;
  readonly name: string;
  readonly aliases: readonly string[];
  readonly version: string;
  readonly body: Any;
}

interface Encoder<T> {
  encode(message: T): { finish(): Uint8Array };
}

export function pack<T>(typeUrl: string, codec: Encoder<T>, message: T): Any {
  const bytes = codec.encode(message).finish();
  return { typeUrl, value: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}

export function encodeResource<T>(
  type: ResourceType,
  name: string,
  aliases: readonly string[],
  codec: Encoder<T>,
  message: T,
): EncodedResource {
  const body = pack(type, codec, message);
  const hash = createHash('sha256').update(body.value);
  for (const alias of aliases) hash.update('\0').update(alias);
  return { type, name, aliases, version: hash.digest('base64url').slice(0, 16), body };
}

/** Metadata under Heddle's key, without members that are undefined: the wire has no word for them. */
export function heddleMetadata(members: { readonly [key: string]: JsonValue | undefined }): {
  filterMetadata: { [key: string]: JsonObject };
} {
  return { filterMetadata: { [METADATA_KEY]: compact(members) } };
}

export function compact(members: { readonly [key: string]: JsonValue | undefined }): JsonObject {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
