import type { SourcedObject } from '../../model/objects.ts';
import { objectKey } from './last-good.ts';

/**
 * Counts `metadata.generation` up when an object's spec changes, as the API server does; files have no such number. An
 * object that brings its own keeps it.
 */
export class Generations {
  #known = new Map<string, { readonly spec: string; readonly generation: number }>();

  apply(objects: readonly SourcedObject[]): SourcedObject[] {
    const next = new Map<string, { readonly spec: string; readonly generation: number }>();
    const counted = objects.map((one) => {
      const key = objectKey(one);
      const spec = JSON.stringify(one.object.spec ?? null);
      const before = this.#known.get(key);
      const generation =
        before === undefined ? 1 : before.spec === spec ? before.generation : before.generation + 1;
      next.set(key, { spec, generation });
      if (one.object.metadata.generation !== undefined) return one;
      return { ...one, object: { ...one.object, metadata: { ...one.object.metadata, generation } } };
    });
    this.#known = next;
    return counted;
  }
}
