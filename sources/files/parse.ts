import { isJsonObject } from '../../common/json.ts';
import type { KubeObject, Problem, SourcedObject } from '../../model/objects.ts';
import { type Chunk, firstLine, lineOfPath, parseChunk, splitDocuments } from './documents.ts';
import { DEFAULT_FILE_LIMITS, type FileLimits } from './limits.ts';
import { checkObject } from './object-check.ts';

/** What became of one document of a file. */
export interface DocumentResult {
  readonly objects: readonly SourcedObject[];
  /** Set where the document, or a part of it, could not be taken. */
  readonly problems: readonly Problem[];
}

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
 * The objects of manifests (YAML with any number of documents, or JSON; `kind: List` opened), and what is wrong with the
 * rest. Namespaced objects without a namespace get `default`. Never throws.
 */
export function parseManifests(text: string, source: string): DocumentResult {
  const results = parseDocuments(text, source);
  return { objects: results.flatMap((one) => one.objects), problems: results.flatMap((one) => one.problems) };
}

function parseOne(chunk: Chunk, source: string, limits: FileLimits): DocumentResult {
  const parsed = parseChunk(chunk, limits);
  if (!parsed.ok) {
    return {
      objects: [],
      problems: [{ severity: 'error', source, line: parsed.line, message: parsed.message }],
    };
  }
  if (parsed.value === null || parsed.value === undefined) return { objects: [], problems: [] };
  const objects: SourcedObject[] = [];
  const problems: Problem[] = [];
  for (const { value, path } of expandList(parsed.value, limits)) {
    const checked = checkObject(value);
    if (checked.ok) objects.push(sourced(checked.value, chunk, source, path));
    else {
      const line = lineOfPath(chunk, [...path, ...checked.error.path]);
      problems.push({
        severity: 'error',
        source,
        line,
        message: checked.error.message,
        ...(checked.error.object === undefined ? {} : { object: checked.error.object }),
        ...(checked.error.path.length === 0 ? {} : { field: checked.error.path.join('.') }),
      });
    }
  }
  return { objects, problems };
}

interface Listed {
  readonly value: unknown;
  readonly path: readonly (string | number)[];
}

/** `kind: List` holds objects; everything else is one. */
function expandList(value: unknown, limits: FileLimits): readonly Listed[] {
  if (isJsonObject(value) && value.kind === 'List' && Array.isArray(value.items)) {
    return value.items
      .slice(0, limits.objectsPerListMax)
      .map((item: unknown, index) => ({ value: item, path: ['items', index] }));
  }
  return [{ value, path: [] }];
}

/** Lines inside a list are found when somebody asks: each costs a parse of the whole document. */
function sourced(
  object: KubeObject,
  chunk: Chunk,
  source: string,
  prefix: readonly (string | number)[],
): SourcedObject {
  const lineOf = (path: readonly (string | number)[]) => lineOfPath(chunk, [...prefix, ...path]);
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
