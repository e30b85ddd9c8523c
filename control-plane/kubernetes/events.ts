import { createHash } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { CONTROLLER_NAME } from '../../common/contracts.ts';
import { messageOf } from '../../common/errors.ts';
import type { JsonObject } from '../../common/json.ts';
import type { Logger } from '../../common/log.ts';
import type { ObjectStatus } from '../../model/mesh.ts';
import type { KubeObject, Problem, SourcedObject } from '../../model/objects.ts';
import { labelOf } from '../../model/read/meta.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { type ClusterApi, failureOf } from './api.ts';
import { microTime } from './lease.ts';

/** events.k8s.io/v1: `note`. */
export const noteBytesMax = 1_024;
/** A mesh full of bad objects fills etcd with events no faster than this; the rest come later. */
export const eventsPerMinuteMax = 60;
/** What was told is remembered, so that it isn't told again; of more objects the oldest are forgotten. */
export const eventsRememberedMax = 5_000;

export interface EventFacts {
  readonly objects: readonly SourcedObject[];
  readonly statusOf: (object: KubeObject) => ObjectStatus | undefined;
  readonly problems: readonly Problem[];
}

export interface EventsOptions {
  readonly api: ClusterApi;
  readonly clock: Clock;
  readonly log: Logger;
  /** The pod's name. */
  readonly identity: string;
}

interface Complaint {
  readonly reason: string;
  readonly note: string;
}

/**
 * A Warning on each bad object: once for its generation and reason, whichever replica tells it, as the event's name says
 * which it is.
 */
export class Events {
  readonly #options: EventsOptions;
  readonly #told = new Set<string>();
  #allowed = eventsPerMinuteMax;
  #minuteSinceMs: number;
  #running = false;

  constructor(options: EventsOptions) {
    this.#options = options;
    this.#minuteSinceMs = options.clock.now();
  }

  /** Tells what isn't told yet, as far as the rate allows; the rest is for the next round. */
  async round(facts: EventFacts, leads: () => boolean): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      for (const event of this.#untold(facts)) {
        if (!leads() || !this.#take()) break;
        await this.#tell(event);
      }
    } catch (thrown) {
      this.#options.log.debug('an event could not be told yet', { error: messageOf(thrown) });
    } finally {
      this.#running = false;
    }
  }

  *#untold({
    objects,
    statusOf,
    problems,
  }: EventFacts): Generator<JsonObject & { metadata: { name: string } }> {
    const errors = errorsByObject(problems);
    for (const { object } of objects) {
      // Most objects of a mesh have no status of it: only errors tell of them.
      if (errors.size === 0 && !/(Route|Policy)$/.test(object.kind)) continue;
      const complaints = complaintsOf(object, statusOf(object), errors);
      for (const complaint of complaints) {
        const name = eventName(object, complaint.reason);
        if (!this.#told.has(name)) yield this.#event(object, complaint, name);
      }
    }
  }

  #event(object: KubeObject, { reason, note }: Complaint, name: string) {
    const { namespace = 'default', name: objectName, uid } = object.metadata;
    const { apiVersion, kind } = object;
    const regarding = { apiVersion, kind, name: objectName, uid };
    const { clock, identity } = this.#options;
    return {
      ...{ apiVersion: 'events.k8s.io/v1', kind: 'Event' },
      metadata: { namespace, name },
      ...{ eventTime: microTime(clock.wallMs()), type: 'Warning', reason, note: cut(note) },
      ...{ action: 'Validate', reportingController: CONTROLLER_NAME, reportingInstance: identity },
      regarding: object.metadata.namespace === undefined ? regarding : { ...regarding, namespace },
    };
  }

  async #tell(event: JsonObject & { metadata: { name: string } }): Promise<void> {
    try {
      await this.#options.api.create(KINDS.event, event);
    } catch (thrown) {
      const failure = failureOf(thrown);
      if (failure === 'unavailable') throw thrown;
      // Told already by the replica that wrote before; or never to be told, as in a namespace that is being deleted.
      if (failure !== 'exists')
        this.#options.log.warn('an event can not be told', { error: messageOf(thrown) });
    }
    this.#told.add(event.metadata.name);
    for (const oldest of this.#told) {
      if (this.#told.size <= eventsRememberedMax) break;
      this.#told.delete(oldest);
    }
  }

  #take(): boolean {
    const nowMs = this.#options.clock.now();
    if (nowMs - this.#minuteSinceMs >= 60_000) {
      this.#minuteSinceMs = nowMs;
      this.#allowed = eventsPerMinuteMax;
    }
    if (this.#allowed === 0) return false;
    this.#allowed--;
    return true;
  }
}

/** By condition that doesn't hold; errors of objects that have no conditions are told as `Invalid`. */
function complaintsOf(
  object: KubeObject,
  status: ObjectStatus | undefined,
  errors: ReadonlyMap<string, string>,
): readonly Complaint[] {
  const byReason = new Map<string, string>();
  for (const { conditions } of status?.parents ?? []) {
    for (const condition of conditions) {
      if (condition.status === 'False' && !byReason.has(condition.reason))
        byReason.set(condition.reason, condition.message);
    }
  }
  const error = errors.get(labelOf(object));
  if (error !== undefined && status === undefined) byReason.set('Invalid', error);
  return [...byReason].map(([reason, note]) => ({ reason, note }));
}

function errorsByObject(problems: readonly Problem[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { severity, object, message } of problems) {
    if (severity === 'error' && object !== undefined && !found.has(object)) found.set(object, message);
  }
  return found;
}

/** The same for the same object, generation and reason. */
function eventName({ kind, metadata }: KubeObject, reason: string): string {
  const { namespace = '', name, uid = '', generation = 0 } = metadata;
  const hash = createHash('sha256').update(`${kind} ${namespace}/${name} ${uid} ${generation} ${reason}`);
  return `${name.slice(0, 200)}.${hash.digest('hex').slice(0, 16)}`;
}

/** At a character, not within one. */
function cut(note: string): string {
  const bytes = Buffer.from(note);
  if (bytes.byteLength <= noteBytesMax) return note;
  return `${bytes
    .subarray(0, noteBytesMax - 4)
    .toString('utf8')
    .replace(/\uFFFD+$/, '')}…`;
}
