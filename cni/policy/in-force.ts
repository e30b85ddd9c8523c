import type { KubeObject, Problem, SourcedObject } from '../../model/objects.ts';
import { fieldName } from '../../model/read/fields.ts';
import { labelOf } from '../../model/read/meta.ts';
import { type Policy, type ReadPolicy, readPolicy } from './policy.ts';

export interface PoliciesInForce {
  /** By `namespace/name`, in order. */
  readonly policies: ReadonlyMap<string, Policy>;
  /** The last version of each in which every field could be used. */
  readonly sound: ReadonlyMap<string, Policy>;
  readonly problems: readonly Problem[];
}

/** Objects don't change; a new version is a new object. */
const alreadyRead = new WeakMap<KubeObject, ReadPolicy>();

/**
 * The policies in force. Of one with fields that can't be used the last sound version stays, as it does for routes; where there was
 * none it isolates, and allows only what of it is sound. Either way each such field is a problem.
 */
export function policiesInForce(
  objects: readonly SourcedObject[],
  soundBefore: ReadonlyMap<string, Policy>,
): PoliciesInForce {
  const policies = new Map<string, Policy>();
  const sound = new Map<string, Policy>();
  const problems: Problem[] = [];
  const read = objects.map((sourced) => ({ sourced, ...readOnce(sourced.object) }));
  for (const { sourced, policy, errors } of read.toSorted((a, b) =>
    a.policy.name < b.policy.name ? -1 : 1,
  )) {
    const lastSound = errors.length === 0 ? policy : lastSoundOf(sourced, soundBefore.get(policy.name));
    policies.set(policy.name, lastSound ?? policy);
    if (lastSound !== undefined) sound.set(policy.name, lastSound);
    const outcome =
      lastSound === undefined
        ? 'it isolates its pods and allows only what of it is sound'
        : 'its last sound version stays in force';
    for (const { path, message } of errors) {
      problems.push({
        severity: 'error',
        source: sourced.origin.source,
        line: sourced.origin.lineOf?.(path) ?? sourced.origin.line,
        object: labelOf(sourced.object),
        field: fieldName(path),
        message: `${fieldName(path)} ${message}; ${outcome}`,
      });
    }
  }
  return { policies, sound, problems };
}

function lastSoundOf(sourced: SourcedObject, before: Policy | undefined): Policy | undefined {
  if (before !== undefined || sourced.lastGood === undefined) return before;
  const { policy, errors } = readOnce(sourced.lastGood);
  return errors.length === 0 ? policy : undefined;
}

function readOnce(object: KubeObject): ReadPolicy {
  const known = alreadyRead.get(object);
  if (known !== undefined) return known;
  const read = readPolicy(object);
  alreadyRead.set(object, read);
  return read;
}
