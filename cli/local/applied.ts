import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readIfThere, writeAtomically } from '../../common/atomic-file.ts';
import type { KubeObject } from '../../model/objects.ts';
import { yamlText } from '../../sources/files/dialect.ts';
import { DELETED_ANNOTATION } from '../../sources/files/overlay.ts';
import { parseManifests } from '../../sources/files/parse.ts';
import { objectKey } from '../kube/kinds.ts';
import { sameJson } from './json-patch.ts';

export type Applied = 'created' | 'configured' | 'unchanged';

/**
 * The objects given by `heddle apply`: one file each, over those of the manifests' folder, which is never written. A
 * deleted object of that folder is hidden by one with the annotation `heddle.dev/deleted`.
 */
export class AppliedObjects {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * `inForce` is the object of that name as the mesh has it now, if any. A new object is stamped with its time of
   * creation, as the API server would, because between equal routes the older one wins; a changed one stays as old as
   * it is.
   */
  put(object: KubeObject, inForce: KubeObject | undefined, nowMs: number): Applied {
    const file = this.fileOf(object);
    const [before] = parseManifests(readIfThere(file) ?? '', file).objects;
    const hidden = before !== undefined && isHiding(before.object);
    const known = before !== undefined && !hidden ? before.object : inForce;
    if (known !== undefined && !hidden && sameIntent(known, object)) return 'unchanged';
    const created = known === undefined ? new Date(nowMs).toISOString() : known.metadata.creationTimestamp;
    const age = created === undefined ? {} : { creationTimestamp: created };
    const stamped = { ...object, metadata: { ...age, ...object.metadata } };
    writeAtomically(file, yamlText(stamped));
    return known === undefined || hidden ? 'created' : 'configured';
  }

  /** Takes an object out of force. Where the manifests' folder holds it, it is hidden; the file there stays. */
  remove(object: KubeObject, inManifests: boolean): void {
    const file = this.fileOf(object);
    if (!inManifests) {
      rmSync(file, { force: true });
      return;
    }
    const { apiVersion, kind, metadata } = object;
    const { name, namespace } = metadata;
    const hiding = {
      ...{ apiVersion, kind },
      metadata: {
        ...{ name, ...(namespace === undefined ? {} : { namespace }) },
        annotations: { [DELETED_ANNOTATION]: 'true' },
      },
    };
    writeAtomically(file, yamlText(hiding));
  }

  /** Whether the object was given by `apply`. */
  has(object: KubeObject): boolean {
    return readIfThere(this.fileOf(object)) !== undefined;
  }

  fileOf(object: KubeObject): string {
    return join(this.#directory, `${objectKey(object).toLowerCase().replaceAll('/', '_')}.yaml`);
  }
}

/** What earlier runs left in force over the manifests, in lines for a person: nobody should wonder where it comes from. */
export function carriedOver(directory: string): readonly string[] {
  const objects = readdirSync(directory)
    .filter((name) => name.endsWith('.yaml') && !name.startsWith('.'))
    .flatMap((name) => parseManifests(readIfThere(join(directory, name)) ?? '', name).objects)
    .map((sourced) => sourced.object);
  const names = (wanted: boolean) =>
    objects
      .filter((object) => isHiding(object) === wanted)
      .map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`)
      .toSorted();
  const line = (what: string, found: readonly string[]) =>
    found.length === 0 ? [] : [`${what}: ${found.join(', ')} (rm -r ${directory} forgets all of them)`];
  return [
    ...line('still in force from an earlier "heddle apply"', names(false)),
    ...line('still hidden by an earlier "heddle delete"', names(true)),
  ];
}

function isHiding(object: KubeObject): boolean {
  return object.metadata.annotations?.[DELETED_ANNOTATION] === 'true';
}

/** Equal in what a person writes: labels, annotations and everything beside status and what the mesh fills in. */
function sameIntent(left: KubeObject, right: KubeObject): boolean {
  const intent = (object: KubeObject) => {
    const { status: _status, metadata, ...rest } = object;
    return { ...rest, labels: metadata.labels ?? {}, annotations: metadata.annotations ?? {} };
  };
  return sameJson(intent(left), intent(right));
}
