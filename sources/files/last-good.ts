import { namespacedName, type Problem, type SourcedObject } from '../../model/objects.ts';
import type { DocumentResult } from './parse.ts';

/** What a file contributes: its documents by position, each at its newest version that parsed. */
export interface FileContent {
  readonly documents: readonly (readonly SourcedObject[])[];
  readonly problems: readonly Problem[];
}

export const NO_CONTENT: FileContent = { documents: [], problems: [] };

export function objectKey({ object }: SourcedObject): string {
  const group = object.apiVersion.includes('/')
    ? object.apiVersion.slice(0, object.apiVersion.lastIndexOf('/'))
    : '';
  return `${group}|${object.kind}|${namespacedName(object)}`;
}

/**
 * Puts a newly read file over what it held: documents that parse are taken; one that doesn't keeps the last good version
 * of the document that stood at its place, unless that object has moved to another document.
 */
export function mergeContent(previous: FileContent, results: readonly DocumentResult[]): FileContent {
  const present = new Set(results.flatMap((result) => result.objects.map(objectKey)));
  const offset = previous.documents.length - results.length;
  const problems: Problem[] = [];
  const documents = results.map((result, index) => {
    problems.push(...result.problems);
    if (result.problems.length === 0) return result.objects;
    const kept = (at: number) => (previous.documents[at] ?? []).filter((one) => !present.has(objectKey(one)));
    let rest = kept(index);
    // Documents were added or removed before it: counted from the end, it may still stand at its place.
    if (rest.length === 0 && offset !== 0) rest = kept(index + offset);
    for (const one of rest) present.add(objectKey(one));
    return [...result.objects, ...rest];
  });
  return { documents, problems };
}

/** The whole file can't be read: all it held stays. */
export function keepContent(previous: FileContent, problem: Problem): FileContent {
  return { documents: previous.documents, problems: [problem] };
}
