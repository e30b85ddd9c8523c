export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue | undefined;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object itself; anything else reads as one without fields. */
export function jsonObjectOf(value: JsonValue | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}
