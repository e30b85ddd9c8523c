import type { KubeObject, SourcedObject } from '../../model/objects.ts';
import { isSound } from '../../model/soundness.ts';
import { objectKey } from './last-good.ts';

/**
 * Remembers of each object the last version whose fields could all be used. An API server would refuse most of the others
 * and keep that one; a directory of manifests takes what it is given, and says both.
 */
export class LastSound {
  #known = new Map<string, KubeObject>();
  /** Of objects that were looked at before, and are the same ones still. */
  readonly #judged = new WeakMap<SourcedObject, boolean>();

  apply(objects: readonly SourcedObject[]): readonly SourcedObject[] {
    const next = new Map<string, KubeObject>();
    const result = objects.map((one) => {
      const key = objectKey(one);
      const sound = this.#isSound(one) ? one.object : this.#known.get(key);
      if (sound !== undefined) next.set(key, sound);
      return sound === undefined || sound === one.object ? one : { ...one, lastGood: sound };
    });
    this.#known = next;
    return result;
  }

  #isSound(one: SourcedObject): boolean {
    const known = this.#judged.get(one);
    if (known !== undefined) return known;
    const sound = isSound(one);
    this.#judged.set(one, sound);
    return sound;
  }
}
