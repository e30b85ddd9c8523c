import type { Problem, SourcedObject } from '../../model/objects.ts';
import { objectKey } from '../object-key.ts';
import type { DocumentResult } from './parse.ts';

type Objects = readonly SourcedObject[];

/** What a file contributes: its documents by position, each at its newest version that parsed. */
export interface FileContent {
  readonly documents: readonly Objects[];
  readonly problems: readonly Problem[];
}

export const NO_CONTENT: FileContent = { documents: [], problems: [] };

/**
 * Puts a newly read file over what it held: documents that parse are taken. One that doesn't keeps the last good versions
 * of those that stood between the neighbours it has now, unless they are in another document. So a file that breaks off
 * half-way keeps what followed, and one whose other documents were moved, added or removed is followed in that.
 */
export function mergeContent(previous: FileContent, results: readonly DocumentResult[]): FileContent {
  const present = new Set(results.flatMap((result) => result.objects.map(objectKey)));
  const before = positions(previous.documents);
  const placeOf = (result: DocumentResult) =>
    result.objects.map((one) => before.get(objectKey(one))).filter((place) => place !== undefined);
  const documents = results.map((result, index): Objects => {
    if (result.problems.length === 0) return result.objects;
    const first = Math.max(-1, ...results.slice(0, index).flatMap(placeOf)) + 1;
    const end = Math.min(previous.documents.length, ...results.slice(index + 1).flatMap(placeOf));
    // Where documents changed places there is no between; then what stood at this place is all there is to go by.
    const places = first < end ? previous.documents.slice(first, end) : [previous.documents[index] ?? []];
    // A document that is good in parts may have kept its own place.
    const kept = [...placeOf(result).map((place) => previous.documents[place] ?? []), ...places]
      .flat()
      .filter((one) => !present.has(objectKey(one)));
    const unique = new Map(kept.map((one) => [objectKey(one), one]));
    for (const key of unique.keys()) present.add(key);
    return [...result.objects, ...unique.values()];
  });
  return { documents, problems: results.flatMap((result) => result.problems) };
}

/** In which document each object stands. */
function positions(documents: readonly Objects[]): ReadonlyMap<string, number> {
  return new Map(
    documents.flatMap((objects, place) => objects.map((one) => [objectKey(one), place] as const)),
  );
}

/** The whole file can't be read: all it held stays. */
export function keepContent(previous: FileContent, problem: Problem): FileContent {
  return { documents: previous.documents, problems: [problem] };
}
