import { isJsonObject } from '../../common/json.ts';
import type { KubeObject, Problem, SourcedObject } from '../../model/objects.ts';
import { fieldName } from '../../model/read/fields.ts';
import { type Chunk, firstLine, lineOfPath, parseChunk, splitDocuments } from './documents.ts';
import { DEFAULT_FILE_LIMITS, type FileLimits } from './limits.ts';
import { checkObject } from './object-check.ts';

/** What became of one document of a file. */
export interface DocumentResult {
  readonly objects: readonly SourcedObject[];
  /** Set where the document, or a part of it, could not be taken. */
  readonly problems: readonly Problem[];
}

type Path = readonly (string | number)[];

/** Each document of a file by itself, in order. */
export function parseDocuments(
  text: string,
  source: string,
  limits: FileLimits = DEFAULT_FILE_LIMITS,
): DocumentResult[] {
  const chunks = splitDocuments(text);
  const results = chunks.slice(0, limits.documentsPerFileMax).map((chunk) => parseOne(chunk, source, limits));
  if (chunks.length > limits.documentsPerFileMax) {
    const line = chunks[limits.documentsPerFileMax]?.line ?? 1;
    const message = `more than ${limits.documentsPerFileMax} documents in one file: the rest is not read`;
    results.push({ objects: [], problems: [{ severity: 'error', source, line, message }] });
  }
  return results;
}

/**
 * The objects of manifests (YAML with any number of documents, or JSON; lists opened), and what is wrong with the rest.
 * Namespaced objects without a namespace get `default`. Never throws.
 */
export function parseManifests(text: string, source: string): DocumentResult {
  const results = parseDocuments(text, source);
  return { objects: results.flatMap((one) => one.objects), problems: results.flatMap((one) => one.problems) };
}

function parseOne(chunk: Chunk, source: string, limits: FileLimits): DocumentResult {
  const parsed = parseChunk(chunk, limits);
  if (!parsed.ok) {
    const { line, message } = parsed;
    return { objects: [], problems: [{ severity: 'error', source, line, message }] };
  }
  if (parsed.value === null || parsed.value === undefined) return { objects: [], problems: [] };
  const objects: SourcedObject[] = [];
  const problems: Problem[] = [];
  const report = (path: Path, message: string, object?: string) =>
    problems.push({
      severity: 'error',
      source,
      line: lineOfPath(chunk, path),
      message,
      ...(object === undefined ? {} : { object }),
      ...(path.length === 0 ? {} : { field: fieldName(path) }),
    });
  for (const { value, path } of opened(parsed.value, [], limits, report)) {
    const checked = checkObject(value);
    if (checked.ok) objects.push(sourced(checked.value, chunk, source, path));
    else report([...path, ...checked.error.path], checked.error.message, checked.error.object);
  }
  return { objects, problems };
}

interface Listed {
  readonly value: unknown;
  readonly path: Path;
}

/** `kind: List`, or `kind: ServiceList` and its like, holds objects; everything else is one. */
function opened(
  value: unknown,
  path: Path,
  limits: FileLimits,
  report: (path: Path, message: string) => void,
): readonly Listed[] {
  if (!isJsonObject(value) || typeof value.kind !== 'string' || !isList(value.kind, value)) {
    return [{ value, path }];
  }
  const { items } = value;
  if (!Array.isArray(items)) {
    report([...path, 'items'], `${value.kind}: items must be a list of objects`);
    return [];
  }
  if (items.length > limits.objectsPerListMax) {
    const message = `more than ${limits.objectsPerListMax} objects in one list: the rest is not read`;
    report([...path, 'items', limits.objectsPerListMax], message);
  }
  // Items of a typed list need not say again what they are.
  const typed =
    value.kind === 'List' ? {} : { apiVersion: value.apiVersion, kind: value.kind.slice(0, -'List'.length) };
  return items
    .slice(0, limits.objectsPerListMax)
    .flatMap((item: unknown, index) =>
      opened(isJsonObject(item) ? { ...typed, ...item } : item, [...path, 'items', index], limits, report),
    );
}

/** A kind may end in List and be no list: then it has a name, as every object has. */
function isList(kind: string, { metadata, items }: { metadata?: unknown; items?: unknown }): boolean {
  if (kind === 'List') return true;
  return (
    kind.endsWith('List') && items !== undefined && !(isJsonObject(metadata) && metadata.name !== undefined)
  );
}

/** Lines inside a list are found when somebody asks. */
function sourced(object: KubeObject, chunk: Chunk, source: string, prefix: Path): SourcedObject {
  const lineOf = (path: Path) => lineOfPath(chunk, [...prefix, ...path]);
  if (prefix.length === 0) return { object, origin: { source, line: firstLine(chunk), lineOf } };
  const origin = {
    source,
    get line() {
      return lineOf([]);
    },
    lineOf,
  };
  return { object, origin };
}
