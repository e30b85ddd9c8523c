import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';

/** Reading fields of objects that are only known to be JSON. An absent or differently typed field reads as absent. */

export function at(
  value: JsonValue | undefined,
  ...path: readonly (string | number)[]
): JsonValue | undefined {
  let current: JsonValue | undefined = value;
  for (const step of path) {
    if (Array.isArray(current) && typeof step === 'number') current = current[step];
    else if (isJsonObject(current) && typeof step === 'string') current = current[step];
    else return undefined;
  }
  return current;
}

export function textAt(
  value: JsonValue | undefined,
  ...path: readonly (string | number)[]
): string | undefined {
  const found = at(value, ...path);
  return typeof found === 'string' ? found : undefined;
}

export function numberAt(
  value: JsonValue | undefined,
  ...path: readonly (string | number)[]
): number | undefined {
  const found = at(value, ...path);
  return typeof found === 'number' ? found : undefined;
}

export function listAt(
  value: JsonValue | undefined,
  ...path: readonly (string | number)[]
): readonly JsonValue[] {
  const found = at(value, ...path);
  return Array.isArray(found) ? found : [];
}

export function objectAt(value: JsonValue | undefined, ...path: readonly (string | number)[]): JsonObject {
  const found = at(value, ...path);
  return isJsonObject(found) ? found : {};
}

/** A map of texts, such as labels; numbers and booleans are taken as their text. */
export function textsAt(
  value: JsonValue | undefined,
  ...path: readonly (string | number)[]
): Readonly<Record<string, string>> {
  const texts: Record<string, string> = {};
  for (const [key, entry] of Object.entries(objectAt(value, ...path))) {
    if (typeof entry === 'string') texts[key] = entry;
    else if (typeof entry === 'number' || typeof entry === 'boolean') texts[key] = String(entry);
  }
  return texts;
}
