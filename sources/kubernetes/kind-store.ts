import { isDeepStrictEqual } from 'node:util';
import {
  type KubeObject,
  namespacedName,
  type ObjectOrigin,
  type SourcedObject,
} from '../../model/objects.ts';
import type { LastSound } from '../last-sound.ts';
import { badAnswer } from './answers.ts';
import type { WatchEvent } from './lines.ts';
import { trimObject } from './trim.ts';

interface Held {
  readonly sourced: SourcedObject;
  readonly version: string;
}

export type Effect = 'changed' | 'same' | 'disorder';

const ORIGIN: ObjectOrigin = { source: 'kubernetes', line: 0 };

/** The objects of one kind, as the last list and the events after it left them. What didn't change stays the same object. */
export class KindStore {
  readonly #lastSound: LastSound;
  readonly #trim: (object: KubeObject) => KubeObject;
  #held = new Map<string, Held>();
  #listing: Map<string, Held> | undefined;
  /** Of the last list, event or bookmark: a watch goes on from here. */
  #version = '';

  constructor(lastSound: LastSound, trim: ((object: KubeObject) => KubeObject) | undefined) {
    this.#lastSound = lastSound;
    this.#trim = trim === undefined ? trimObject : (object) => trim(trimObject(object));
  }

  get version(): string {
    return this.#version;
  }

  get size(): number {
    return this.#held.size;
  }

  objects(): SourcedObject[] {
    return [...this.#held.values()].map(({ sourced }) => sourced);
  }

  /** A list begins: its pages are put together before any of it holds. */
  beginList(): void {
    // One that broke off is as if it never was.
    for (const [key, { sourced }] of this.#listing ?? [])
      if (!this.#held.has(key)) this.#lastSound.forget(sourced);
    this.#listing = new Map();
  }

  addPage(items: readonly KubeObject[]): void {
    const listing = this.#listing ?? new Map<string, Held>();
    this.#listing = listing;
    for (const item of items) {
      const key = keyIn(item);
      listing.set(key, this.#heldAs(item, this.#held.get(key)));
    }
  }

  /** The list is whole, as of `version`. True where it isn't what was held. */
  endList(version: string): boolean {
    const before = this.#held;
    const now = this.#listing ?? new Map<string, Held>();
    this.#held = now;
    this.#listing = undefined;
    this.#version = version;
    let changed = before.size !== now.size;
    for (const [key, { sourced }] of before) {
      const next = now.get(key);
      if (next === undefined) this.#lastSound.forget(sourced);
      if (next?.sourced !== sourced) changed = true;
    }
    return changed;
  }

  /** The kind is gone, and so are its objects. True where there were any. */
  clear(): boolean {
    this.beginList();
    return this.endList('');
  }

  /**
   * One event. An API server tells of every change once, in order, and versions of one kind grow with the order ("Resource
   * Versions" in the API's concepts); `disorder` says that this stream can't be relied upon.
   */
  apply({ type, object }: WatchEvent): Effect {
    const { resourceVersion: version } = object.metadata;
    if (typeof version !== 'string') throw badAnswer('an event has no resourceVersion');
    const late = version === this.#version || isOlder(version, this.#version);
    if (type === 'BOOKMARK') {
      if (isOlder(version, this.#version)) return 'disorder';
      this.#version = version;
      return 'same';
    }
    const key = keyIn(object);
    const held = this.#held.get(key);
    const isRepeated = type === 'DELETED' ? held === undefined : held?.version === version;
    if (late) return isRepeated ? 'same' : 'disorder';
    this.#version = version;
    return type === 'DELETED' ? this.#delete(key, held) : this.#put(key, object, held);
  }

  #put(key: string, object: KubeObject, held: Held | undefined): Effect {
    const next = this.#heldAs(object, held);
    this.#held.set(key, next);
    return next.sourced === held?.sourced ? 'same' : 'changed';
  }

  #delete(key: string, held: Held | undefined): Effect {
    if (held === undefined) return 'same';
    this.#held.delete(key);
    this.#lastSound.forget(held.sourced);
    return 'changed';
  }

  #heldAs(object: KubeObject, held: Held | undefined): Held {
    const version = object.metadata.resourceVersion ?? '';
    if (held !== undefined && held.version === version && version !== '') return held;
    const trimmed = this.#trim(object);
    if (held !== undefined && isDeepStrictEqual(held.sourced.object, trimmed))
      return { sourced: held.sourced, version };
    return { sourced: this.#lastSound.judge({ object: trimmed, origin: ORIGIN }), version };
  }
}

function keyIn(object: KubeObject): string {
  const { name, namespace } = object.metadata;
  if (typeof name !== 'string' || name === '' || (namespace !== undefined && typeof namespace !== 'string'))
    throw badAnswer(`a ${object.kind} has no name`);
  return namespacedName(object);
}

const DECIMAL = /^\d+$/;

/** Whether one version is older than another; false where they can't be compared. */
export function isOlder(version: string, other: string): boolean {
  if (version === other || !DECIMAL.test(version) || !DECIMAL.test(other)) return false;
  return version.length === other.length ? version < other : version.length < other.length;
}
