import type { ObjectStatus, StatusCondition } from './mesh.ts';
import type { Problem, SourcedObject } from './objects.ts';
import { type FieldError, type FieldPath, fieldName } from './read/fields.ts';
import { labelOf, namespaceOf } from './read/meta.ts';

export type AcceptedReason =
  | 'Accepted'
  | 'NoMatchingParent'
  | 'UnsupportedValue'
  | 'IncompatibleFilters'
  | 'Unsupported'
  | 'Conflicted'
  | 'TargetNotFound';
export type ResolvedReason =
  | 'ResolvedRefs'
  | 'BackendNotFound'
  | 'InvalidKind'
  | 'RefNotPermitted'
  | 'UnsupportedProtocol';

export function accepted(reason: AcceptedReason, message: string): StatusCondition {
  return { type: 'Accepted', status: reason === 'Accepted' ? 'True' : 'False', reason, message };
}

export function resolved(reason: ResolvedReason, message: string): StatusCondition {
  return { type: 'ResolvedRefs', status: reason === 'ResolvedRefs' ? 'True' : 'False', reason, message };
}

/** Collects statuses and problems while a mesh is built. */
export class Findings {
  readonly statuses: ObjectStatus[] = [];
  readonly problems: Problem[] = [];
  readonly #told = new Set<string>();

  /** What is said of an object first counts: what holds in the place of a refused one has no status of its own. */
  status(sourced: SourcedObject, parents: ObjectStatus['parents']): void {
    const { object, origin } = sourced;
    const label = labelOf(object);
    if (this.#told.has(label)) return;
    this.#told.add(label);
    const { generation } = object.metadata;
    this.statuses.push({
      apiVersion: object.apiVersion,
      kind: object.kind,
      namespace: namespaceOf(object),
      name: object.metadata.name,
      generation: typeof generation === 'number' ? generation : 0,
      origin,
      parents,
    });
  }

  problem(sourced: SourcedObject, severity: Problem['severity'], path: FieldPath, message: string): void {
    const { object, origin } = sourced;
    this.problems.push({
      severity,
      source: origin.source,
      line: lineOf(sourced, path),
      object: labelOf(object),
      ...(path.length === 0 ? {} : { field: fieldName(path) }),
      message,
    });
  }

  errors(sourced: SourcedObject, errors: readonly FieldError[]): void {
    for (const { path, message } of errors) {
      this.problem(sourced, 'error', path, `${fieldName(path)} ${message}`);
    }
  }
}

function lineOf(sourced: SourcedObject, path: FieldPath): number {
  return sourced.origin.lineOf?.(path) ?? sourced.origin.line;
}

/** An object as it was when it was last sound, in the place of one that isn't; undefined where nobody remembers. */
export function lastGoodOf({ lastGood, origin }: SourcedObject): SourcedObject | undefined {
  return lastGood === undefined ? undefined : { object: lastGood, origin };
}

/**
 * Why an object with errors isn't accepted: `IncompatibleFilters` (Gateway API, RouteConditionReason) where its filters can't
 * stand together and nothing else is wrong.
 */
export function refusal(errors: readonly FieldError[]): 'UnsupportedValue' | 'IncompatibleFilters' {
  const onlyFilters = errors.every(({ reason }) => reason === 'IncompatibleFilters');
  return errors.length > 0 && onlyFilters ? 'IncompatibleFilters' : 'UnsupportedValue';
}

export const LAST_GOOD_STAYS = 'its last good version stays in force';

/** One message for all errors of an object, each with field and line, and on what holds in its stead. */
export function errorText(sourced: SourcedObject, errors: readonly FieldError[]): string {
  const shownMax = 8;
  const texts = errors
    .slice(0, shownMax)
    .map(
      ({ path, message }) =>
        `${fieldName(path)} ${message} (${sourced.origin.source}:${lineOf(sourced, path)})`,
    );
  if (errors.length > shownMax) texts.push(`and ${errors.length - shownMax} more`);
  if (sourced.lastGood !== undefined) texts.push(LAST_GOOD_STAYS);
  return texts.join('; ');
}
