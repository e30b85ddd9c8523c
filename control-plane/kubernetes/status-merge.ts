import { CONTROLLER_NAME } from '../../common/contracts.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import type { ObjectStatus, StatusCondition } from '../../model/mesh.ts';
import type { KubeObject } from '../../model/objects.ts';
import { parentText } from '../../model/routes/parents.ts';
import { referenceOf } from '../status/reference.ts';

/** Gateway API: `RouteStatus.parents`, `PolicyStatus.ancestors`. */
export const routeParentsMax = 32;
export const policyAncestorsMax = 16;
/** meta/v1, Condition. */
export const messageCharactersMax = 32_768;

/** What of a status isn't as the API server has it. */
export type Difference =
  | 'none'
  /** Only messages. */
  | 'words'
  /** Only that proxies which held a version in force are awaited again. */
  | 'awaited'
  /** A new verdict, while proxies or replicas are still awaited. */
  | 'unsettled'
  | 'verdict';

export interface MergedStatus {
  readonly difference: Difference;
  /** To be patched in: our entries as they should be, others' as they are. */
  readonly status: JsonObject;
  /** Of our entries: the same again means that the same is wanted. */
  readonly print: string;
}

/**
 * The status that an object should have: entries of other controllers untouched, ours for each parent as the object names
 * it. `wanted` is undefined where the mesh says nothing of the object (any more): then our entries go.
 */
export function mergeStatus(object: KubeObject, wanted: ObjectStatus | undefined, now: string): MergedStatus {
  const route = object.kind.endsWith('Route');
  const [field, refField] = route
    ? (['parents', 'parentRef'] as const)
    : (['ancestors', 'ancestorRef'] as const);
  const max = route ? routeParentsMax : policyAncestorsMax;
  const entries = objectsIn(isJsonObject(object.status) ? object.status[field] : undefined);
  const others = entries.filter(({ controllerName }) => controllerName !== CONTROLLER_NAME);
  const before = entries.filter(({ controllerName }) => controllerName === CONTROLLER_NAME);
  const targets = wanted === undefined ? [] : route ? routeTargets(object, wanted) : ancestorsOf(wanted);
  const ours = targets.slice(0, Math.max(0, max - others.length)).map(({ ref, conditions }): JsonObject => {
    const known = before.find((entry) => same(entry[refField], ref));
    return {
      [refField]: ref,
      controllerName: CONTROLLER_NAME,
      conditions: conditions.map((one) =>
        dated(one, known, object.metadata.generation ?? wanted?.generation ?? 0, now),
      ),
    };
  });
  const status = { [field]: [...others, ...ours] };
  return { difference: differenceOf(before, ours), status, print: canonical(withoutTimes(ours)) };
}

interface Target {
  readonly ref: JsonObject;
  readonly conditions: readonly StatusCondition[];
}

/** A parent as written is one that names a Service: others are other controllers' to speak of. */
function routeTargets({ kind, metadata, spec }: KubeObject, wanted: ObjectStatus): readonly Target[] {
  const own = `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
  return objectsIn(isJsonObject(spec) ? spec.parentRefs : undefined).flatMap((ref): Target[] => {
    if (ref.kind !== 'Service') return [];
    const text = parentText({
      ...{ group: '', kind: ref.kind, path: [] },
      namespace: textOf(ref.namespace) ?? metadata.namespace ?? '',
      name: textOf(ref.name) ?? '',
      port: typeof ref.port === 'number' ? ref.port : undefined,
      sectionName: textOf(ref.sectionName),
    });
    // What is said of the object as a whole is said of each of its parents.
    const said = wanted.parents.find((parent) => parent.ref === text || parent.ref === own);
    return said === undefined ? [] : [{ ref, conditions: said.conditions }];
  });
}

function ancestorsOf({ parents }: ObjectStatus): readonly Target[] {
  return parents.map(({ ref, conditions }) => ({ ref: referenceOf(ref), conditions }));
}

function dated(
  { type, status, reason, message }: StatusCondition,
  entry: JsonObject | undefined,
  observedGeneration: number,
  now: string,
): JsonObject {
  const known = objectsIn(entry?.conditions).find((one) => one.type === type);
  const since = known?.status === status ? textOf(known.lastTransitionTime) : undefined;
  const shown =
    message.length <= messageCharactersMax ? message : `${message.slice(0, messageCharactersMax - 1)}…`;
  return { type, status, reason, message: shown, observedGeneration, lastTransitionTime: since ?? now };
}

function differenceOf(before: readonly JsonObject[], ours: readonly JsonObject[]): Difference {
  if (canonical(before) === canonical(ours)) return 'none';
  if (canonical(before.map(withoutWords)) === canonical(ours.map(withoutWords))) return 'words';
  if (!ours.some(isAwaited)) return 'verdict';
  const held = canonical(before.map(asProgrammed)) === canonical(ours.map(asProgrammed));
  return held && !before.some(isAwaited) ? 'awaited' : 'unsettled';
}

function withoutWords(entry: JsonObject): JsonObject {
  return mapConditions(entry, ({ message: _message, ...rest }) => rest);
}

/** `Programmed` of one generation as if it were held by all. */
function asProgrammed(entry: JsonObject): JsonObject {
  return mapConditions(entry, ({ message: _message, lastTransitionTime: _time, ...rest }) =>
    rest.type === 'Programmed' && rest.status !== 'False' ? { ...rest, status: 'True', reason: '' } : rest,
  );
}

function isAwaited({ conditions }: JsonObject): boolean {
  return objectsIn(conditions).some(({ type, status }) => type === 'Programmed' && status === 'Unknown');
}

function withoutTimes(entries: readonly JsonObject[]): readonly JsonObject[] {
  return entries.map((entry) => mapConditions(entry, ({ lastTransitionTime: _time, ...rest }) => rest));
}

function mapConditions(entry: JsonObject, map: (condition: JsonObject) => JsonObject): JsonObject {
  return { ...entry, conditions: objectsIn(entry.conditions).map(map) };
}

function same(a: JsonValue | undefined, b: JsonValue | undefined): boolean {
  return canonical(a) === canonical(b);
}

/** The same text for the same value, in whatever order its members come. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}

function textOf(value: JsonValue | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function objectsIn(value: JsonValue | undefined): readonly JsonObject[] {
  const list: readonly JsonValue[] = Array.isArray(value) ? value : [];
  return list.filter(isJsonObject);
}
