import type { JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt, numberAt, textAt } from '../kube/fields.ts';
import { JUDGED_KINDS } from '../kube/kinds.ts';
import { sameJson } from '../local/json-patch.ts';

/** What the mesh makes of an applied object so far. */
export type Verdict =
  /** Not in force yet, or not judged. */
  | { readonly kind: 'pending' }
  /** Accepted; proxies that use it have yet to acknowledge it. */
  | { readonly kind: 'spreading'; readonly message: string }
  | { readonly kind: 'accepted' }
  | { readonly kind: 'refused'; readonly message: string };

const PENDING: Verdict = { kind: 'pending' };

/** Reads the verdict from the object as the control plane shows it; `wanted` is what was applied. */
export function verdictOf(found: KubeObject | undefined, wanted: KubeObject): Verdict {
  if (found === undefined) return PENDING;
  if (!JUDGED_KINDS.includes(wanted.kind)) return isTaken(found, wanted) ? { kind: 'accepted' } : PENDING;
  if (!sameJson(found.spec, wanted.spec)) return PENDING;
  const conditions = conditionsOf(found.status);
  const { generation } = found.metadata;
  const stale = (condition: JsonValue) => {
    const observed = numberAt(condition, 'observedGeneration');
    return observed !== undefined && observed !== generation;
  };
  if (conditions.length === 0 || conditions.some(stale)) return PENDING;
  const refusals = conditions.filter((condition) => textAt(condition, 'status') === 'False');
  if (refusals.length > 0) return { kind: 'refused', message: refusals.map(conditionText).join('; ') };
  const waiting = conditions.find((condition) => textAt(condition, 'status') === 'Unknown');
  return waiting === undefined
    ? { kind: 'accepted' }
    : { kind: 'spreading', message: textAt(waiting, 'message') ?? '' };
}

/** Every condition at every parent or ancestor. */
export function conditionsOf(status: JsonValue | undefined): readonly JsonValue[] {
  return [status, ...listAt(status, 'parents'), ...listAt(status, 'ancestors')].flatMap((holder) =>
    listAt(holder, 'conditions'),
  );
}

/** `Accepted is False (NoMatchingParent): …`. */
export function conditionText(condition: JsonValue): string {
  const [type, status] = [textAt(condition, 'type') ?? '', textAt(condition, 'status') ?? ''];
  return `${type} is ${status} (${textAt(condition, 'reason') ?? 'no reason'}): ${textAt(condition, 'message') ?? ''}`;
}

/** Controllers and admission add to an object: what was applied must be there, and more may be. */
function isTaken(found: KubeObject, wanted: KubeObject): boolean {
  return covers(found.spec, wanted.spec) && covers(found.data, wanted.data);
}

function covers(found: JsonValue | undefined, wanted: JsonValue | undefined): boolean {
  if (wanted === undefined || wanted === null) return true;
  if (typeof wanted === 'object' && !Array.isArray(wanted))
    return Object.entries(wanted).every(([key, value]) => covers(at(found, key), value));
  return sameJson(found, wanted);
}
