import { namespacedName, type SourcedObject } from '../model/objects.ts';

/** What tells an object from all others, whatever version of its API it is written in. */
export function objectKey({ object }: SourcedObject): string {
  const group = object.apiVersion.includes('/')
    ? object.apiVersion.slice(0, object.apiVersion.lastIndexOf('/'))
    : '';
  return `${group}|${object.kind}|${namespacedName(object)}`;
}
