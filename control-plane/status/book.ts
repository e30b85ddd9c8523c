import type { Clock } from '../../common/clock.ts';
import { CONTROLLER_NAME } from '../../common/contracts.ts';
import type { JsonObject } from '../../common/json.ts';
import type { ObjectStatus, StatusCondition } from '../../model/mesh.ts';
import type { ProgrammedTeller } from './programmed.ts';
import { referenceOf } from './reference.ts';

/** A condition, and since when its status has been what it is. */
interface Dated {
  readonly status: StatusCondition['status'];
  /** RFC 3339. */
  readonly since: string;
}

/** Statuses with everything the API shows beside the verdict: `Programmed`, generations and times of change. */
export class StatusBook {
  readonly #clock: Clock;
  #dates = new Map<string, Dated>();
  #statuses: readonly ObjectStatus[] = [];
  #byObject: ReadonlyMap<string, ObjectStatus> = new Map();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes the mesh's verdicts and adds what its proxies say. */
  update(statuses: readonly ObjectStatus[], programming: ProgrammedTeller): void {
    const now = new Date(this.#clock.wallMs()).toISOString();
    const dates = new Map<string, Dated>();
    this.#statuses = statuses.map((status) => ({
      ...status,
      parents: status.parents.map((parent) => {
        const programmed = programming.condition(status, parent);
        const conditions = programmed === undefined ? parent.conditions : [...parent.conditions, programmed];
        for (const condition of conditions) {
          const key = dateKey(status, parent.ref, condition.type);
          const known = this.#dates.get(key);
          dates.set(
            key,
            known?.status === condition.status ? known : { status: condition.status, since: now },
          );
        }
        return { ref: parent.ref, conditions };
      }),
    }));
    this.#dates = dates;
    this.#byObject = new Map(
      this.#statuses.map((status) => [objectKey(status.kind, status.namespace, status.name), status]),
    );
  }

  find(kind: string, namespace: string, name: string): ObjectStatus | undefined {
    return this.#byObject.get(objectKey(kind, namespace, name));
  }

  statuses(): readonly ObjectStatus[] {
    return this.#statuses;
  }

  /** `status` as Kubernetes shows it: Gateway API `RouteStatus` for routes, `PolicyStatus` for policies. */
  shape(status: ObjectStatus): JsonObject {
    const policy = !status.kind.endsWith('Route');
    const entries = status.parents.map((parent) => ({
      [policy ? 'ancestorRef' : 'parentRef']: referenceOf(parent.ref),
      controllerName: CONTROLLER_NAME,
      conditions: parent.conditions.map((condition) => ({
        ...condition,
        observedGeneration: status.generation,
        lastTransitionTime: this.#dates.get(dateKey(status, parent.ref, condition.type))?.since ?? '',
      })),
    }));
    return policy ? { ancestors: entries } : { parents: entries };
  }
}

function objectKey(kind: string, namespace: string, name: string): string {
  return `${kind} ${namespace}/${name}`;
}

function dateKey(status: ObjectStatus, ref: string, type: string): string {
  return `${objectKey(status.kind, status.namespace, status.name)} ${ref} ${type}`;
}
