import type { KubeObject, SourcedObject } from '../model/objects.ts';
import { isSound } from '../model/soundness.ts';
import { objectKey } from './object-key.ts';

/**
 * Remembers of each object the last version whose fields could all be used, so that a slip in an edit changes nothing but
 * the status. An API server with its schemas refuses many of the others; a directory of manifests takes what it is given.
 */
export class LastSound {
  #known = new Map<string, KubeObject>();
  /** Of objects that were looked at before, and are the same ones still. */
  readonly #judged = new WeakMap<SourcedObject, boolean>();

  /** All objects that there are: what isn't among them is forgotten. */
  apply(objects: readonly SourcedObject[]): readonly SourcedObject[] {
    const before = this.#known;
    this.#known = new Map();
    return objects.map((one) => this.#judge(one, before));
  }

  /** One object that is new or changed. */
  judge(one: SourcedObject): SourcedObject {
    return this.#judge(one, this.#known);
  }

  /** One object that is gone. */
  forget(one: SourcedObject): void {
    this.#known.delete(objectKey(one));
  }

  #judge(one: SourcedObject, known: ReadonlyMap<string, KubeObject>): SourcedObject {
    const key = objectKey(one);
    const before = known.get(key);
    // One that was made anew under the name of another has nothing of it.
    const isSame = before?.metadata.uid === one.object.metadata.uid;
    const sound = this.#isSound(one) ? one.object : isSame ? before : undefined;
    if (sound !== undefined) this.#known.set(key, sound);
    return sound === undefined || sound === one.object ? one : { ...one, lastGood: sound };
  }

  #isSound(one: SourcedObject): boolean {
    const known = this.#judged.get(one);
    if (known !== undefined) return known;
    const sound = isSound(one);
    this.#judged.set(one, sound);
    return sound;
  }
}
