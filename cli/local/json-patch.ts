import { HeddleError, type Result } from '../../common/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import { textAt } from '../kube/fields.ts';

/** More operations than a webhook needs to inject a sidecar; a longer patch is refused. */
export const patchOperationsMax = 1_000;

/**
 * Applies a JSON Patch (RFC 6902: `add`, `replace`, `remove`, `test`) and returns the patched copy. The input is left as
 * it is, also when an operation fails: the patch applies whole or not at all (section 5).
 */
export function applyJsonPatch(document: JsonValue, patch: readonly JsonValue[]): Result<JsonValue> {
  if (patch.length > patchOperationsMax) return failed(`more than ${patchOperationsMax} operations`);
  let current = document;
  for (const [index, operation] of patch.entries()) {
    const kind = textAt(operation, 'op');
    const pointer = textAt(operation, 'path');
    const where = `operation ${index} (${kind ?? 'no op'} ${pointer ?? 'no path'})`;
    if (!isJsonObject(operation) || kind === undefined || pointer === undefined)
      return failed(`${where}: needs op and path`);
    const path = parsePointer(pointer);
    if (path === undefined) return failed(`${where}: the path is not a JSON pointer`);
    if (kind !== 'remove' && operation.value === undefined) return failed(`${where}: needs a value`);
    const next = applyOne(current, kind, path, operation.value);
    if (!next.ok) return failed(`${where}: ${next.error.message}`);
    current = next.value;
  }
  return { ok: true, value: current };
}

/** The reference tokens of a JSON pointer (RFC 6901), or undefined where the text isn't one. */
export function parsePointer(pointer: string): readonly string[] | undefined {
  if (pointer === '') return [];
  if (!pointer.startsWith('/') || /~(?![01])/.test(pointer)) return undefined;
  return pointer
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function applyOne(
  node: JsonValue,
  kind: string,
  path: readonly string[],
  value: JsonValue | undefined,
): Result<JsonValue> {
  const [token, ...rest] = path;
  if (token === undefined) return applyAtRoot(node, kind, value);
  if (Array.isArray(node)) return applyInList(node, kind, token, rest, value);
  if (!isJsonObject(node)) return failed(`"${token}" is looked for in a plain value`);
  const child = Object.hasOwn(node, token) ? node[token] : undefined;
  if (rest.length === 0 && kind === 'add' && value !== undefined)
    return { ok: true, value: { ...node, [token]: value } };
  if (child === undefined) return failed(`there is no "${token}"`);
  if (rest.length === 0 && kind === 'remove') {
    const { [token]: _removed, ...others } = node;
    return { ok: true, value: others };
  }
  const changed = applyOne(child, kind, rest, value);
  return changed.ok ? { ok: true, value: { ...node, [token]: changed.value } as JsonObject } : changed;
}

function applyInList(
  list: readonly JsonValue[],
  kind: string,
  token: string,
  rest: readonly string[],
  value: JsonValue | undefined,
): Result<JsonValue> {
  const inserts = rest.length === 0 && kind === 'add';
  const index = inserts && token === '-' ? list.length : listIndex(token);
  if (index === undefined || index > (inserts ? list.length : list.length - 1))
    return failed(`there is no element ${token}`);
  if (inserts && value !== undefined) return { ok: true, value: list.toSpliced(index, 0, value) };
  if (rest.length === 0 && kind === 'remove') return { ok: true, value: list.toSpliced(index, 1) };
  const changed = applyOne(list[index] ?? null, kind, rest, value);
  return changed.ok ? { ok: true, value: list.with(index, changed.value) } : changed;
}

function applyAtRoot(node: JsonValue, kind: string, value: JsonValue | undefined): Result<JsonValue> {
  if (value === undefined) return failed('the whole document cannot be removed');
  if (kind === 'add' || kind === 'replace') return { ok: true, value };
  if (kind === 'test') return sameJson(node, value) ? { ok: true, value: node } : failed('the value differs');
  return failed('only add, replace, remove and test are supported');
}

/** No leading zeros, no sign (RFC 6901, section 4). */
function listIndex(token: string): number | undefined {
  return /^(0|[1-9][0-9]{0,6})$/.test(token) ? Number(token) : undefined;
}

/** Equality of JSON values; members of objects in any order. */
export function sameJson(left: JsonValue | undefined, right: JsonValue | undefined): boolean {
  return stableJson(left ?? null) === stableJson(right ?? null);
}

/** JSON text with sorted members, so that equal values give equal text. */
export function stableJson(value: JsonValue): string {
  return JSON.stringify(value, (_key, entry: unknown) => {
    if (!isJsonObject(entry)) return entry;
    return Object.fromEntries(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  });
}

function failed(message: string): { readonly ok: false; readonly error: HeddleError } {
  return { ok: false, error: new HeddleError('json-patch', message) };
}
