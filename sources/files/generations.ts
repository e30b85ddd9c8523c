import type { SourcedObject } from '../../model/objects.ts';
import { objectKey } from '../object-key.ts';

interface Counted {
  /** As it was read, and as it was given on. */
  readonly read: SourcedObject;
  readonly given: SourcedObject;
  readonly generation: number;
}

/**
 * Counts `metadata.generation` up when an object's spec changes, as the API server does; files have no such number. An
 * object that brings its own keeps it. What was read before and not again is given on as the same object.
 */
export class Generations {
  #known = new Map<string, Counted>();

  apply(objects: readonly SourcedObject[]): SourcedObject[] {
    const next = new Map<string, Counted>();
    for (const one of objects) {
      const key = objectKey(one);
      const before = this.#known.get(key);
      next.set(key, before?.read === one ? before : count(one, before));
    }
    this.#known = next;
    return [...next.values()].map(({ given }) => given);
  }
}

function count(read: SourcedObject, before: Counted | undefined): Counted {
  const changed = before !== undefined && specOf(before.read) !== specOf(read);
  const generation = (before?.generation ?? 1) + (changed ? 1 : 0);
  const { object } = read;
  if (object.metadata.generation !== undefined) return { read, given: read, generation };
  const given = { ...read, object: { ...object, metadata: { ...object.metadata, generation } } };
  return { read, given, generation };
}

function specOf({ object }: SourcedObject): string {
  return JSON.stringify(object.spec ?? null);
}
