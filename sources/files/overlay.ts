import type { Problem, SourcedObject } from '../../model/objects.ts';
import { objectKey } from '../object-key.ts';

/** In a later folder, hides an object of an earlier one. */
export const DELETED_ANNOTATION = 'heddle.dev/deleted';

/**
 * The objects of several folders as one set: within a folder an object may stand once (the first by path wins, and both
 * places are named); a later folder's version replaces an earlier one's.
 */
export function overlay(folders: readonly (readonly SourcedObject[])[]): {
  objects: SourcedObject[];
  problems: Problem[];
} {
  const merged = new Map<string, SourcedObject>();
  const problems: Problem[] = [];
  for (const objects of folders) {
    const own = new Map<string, SourcedObject>();
    for (const one of objects) {
      const key = objectKey(one);
      const first = own.get(key);
      if (first === undefined) own.set(key, one);
      else problems.push(duplicate(one, first));
    }
    for (const [key, one] of own) {
      if (one.object.metadata.annotations?.[DELETED_ANNOTATION] === 'true') merged.delete(key);
      else merged.set(key, one);
    }
  }
  return { objects: [...merged.values()], problems };
}

function duplicate(second: SourcedObject, first: SourcedObject): Problem {
  const { kind, metadata } = second.object;
  const object = `${kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`;
  return {
    severity: 'error',
    source: second.origin.source,
    line: second.origin.line,
    object,
    message: `${object} is already defined at ${first.origin.source}:${first.origin.line}, which is used; remove one`,
  };
}
