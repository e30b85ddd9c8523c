import { backoffMs } from '../../common/backoff.ts';
import { type Clock, sleep } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { Random } from '../../common/random.ts';
import type { SourcedObject } from '../../model/objects.ts';
import type { LastSound } from '../last-sound.ts';
import { statusError } from './answers.ts';
import type { KubernetesClient } from './client.ts';
import { hasReason, KubernetesError } from './errors.ts';
import { isOlder, KindStore } from './kind-store.ts';
import {
  ABSENT_ANSWERS,
  ABSENT_RETRY_MS,
  FAILURE_LOG_MS,
  FORBIDDEN_RETRY_MS,
  LIST_PAGE_OBJECTS,
  RELIST_MS,
  RETRY_BACKOFF,
  RETRY_TOLD_AFTER,
  WATCH_LASTS_MS,
  WATCH_STEADY_MS,
} from './limits.ts';
import type { WatchEvent } from './lines.ts';
import type { KindCondition, KindState, WatchedKind } from './watch.ts';

export interface KindWatchDeps {
  readonly client: KubernetesClient;
  readonly watched: WatchedKind;
  readonly lastSound: LastSound;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Objects or condition are others than before. */
  changed(): void;
  /** After each list, or once it is known that the kind isn't installed. */
  listed(): void;
}

/**
 * Follows one kind:
 *
 *   starting ─ list ─► listed ─ watch ends, breaks off or falls silent ─► listed: watched from the last version
 *                        │ 410, disorder, anything not understood, an hour has passed ─► list anew
 *                        │ not reached, three times in a row ─► disconnected ─ watch or list ─► listed
 *   404 ─► absent (three times where objects are held), 403 ─► forbidden: listed anew every ten seconds
 */
export class KindWatch {
  readonly #deps: KindWatchDeps;
  readonly #store: KindStore;
  readonly #ending = new AbortController();
  readonly #what: string;
  #condition: KindCondition = 'starting';
  #message: string | undefined;
  /** False where the next step is a list. */
  #isListed = false;
  /** The server may be another one than before, which must not be asked for what comes after a version of the old one. */
  #isDoubtful = false;
  #relistAtMs = 0;
  #failures = 0;
  #absences = 0;
  /** A list in pages took longer than the server keeps a page's version. */
  #inOnePiece = false;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: KindWatchDeps) {
    this.#deps = deps;
    const { kind, namespace } = deps.watched;
    this.#what = namespace === undefined ? kind.plural : `${kind.plural} of ${namespace}`;
    this.#store = new KindStore(deps.lastSound, deps.watched.trim);
  }

  objects(): readonly SourcedObject[] {
    return this.#store.objects();
  }

  state(): KindState {
    const { kind } = this.#deps.watched.kind;
    return { kind, condition: this.#condition, objects: this.#store.size, message: this.#message };
  }

  /** Runs until `close`. */
  async run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        if (this.#isDoubtful && this.#isListed) await this.#confirm();
        if (!this.#isListed || this.#deps.clock.now() >= this.#relistAtMs) await this.#list();
        await this.#watch();
      } catch (thrown) {
        if (signal.aborted) return;
        await sleep(this.#deps.clock, this.#failed(thrown), signal).catch(() => undefined);
      }
    }
  }

  close(): void {
    this.#ending.abort();
  }

  async #list(): Promise<void> {
    const { client, watched, clock, random } = this.#deps;
    const { kind, trim: _trim, ...which } = watched;
    const limit = this.#inOnePiece ? undefined : LIST_PAGE_OBJECTS;
    this.#store.beginList();
    let from: string | undefined;
    let version: string;
    do {
      const options = { ...which, limit, continue: from, signal: this.#ending.signal };
      const page = await client.list(kind, options).catch((thrown: unknown) => {
        if (from !== undefined && hasReason(thrown, 'Expired')) this.#inOnePiece = true;
        throw thrown;
      });
      this.#store.addPage(page.items);
      from = page.continue;
      version = page.resourceVersion;
    } while (from !== undefined);
    const changed = this.#store.endList(version);
    this.#isListed = true;
    this.#isDoubtful = false;
    this.#inOnePiece = false;
    this.#relistAtMs = clock.now() + RELIST_MS * (1 + random.next() / 2);
    if (changed) this.#deps.changed();
    this.#reached();
    this.#deps.listed();
  }

  /**
   * After etcd was restored from a copy, versions begin again below ours. An API server takes a watch from a version that is
   * still to come, and stays silent until then; the version of any list gives it away.
   */
  async #confirm(): Promise<void> {
    const { client, watched } = this.#deps;
    const { kind, trim: _trim, ...which } = watched;
    const options = { ...which, limit: 1, signal: this.#ending.signal };
    const { resourceVersion } = await client.list(kind, options);
    if (isOlder(resourceVersion, this.#store.version)) this.#isListed = false;
    this.#isDoubtful = false;
  }

  /** One watch, until it ends. It counts as a success once it told of something. */
  async #watch(): Promise<void> {
    const { client, watched, clock, random } = this.#deps;
    const { kind, trim: _trim, ...which } = watched;
    const events = client.watch(kind, {
      ...{ ...which, resourceVersion: this.#store.version, signal: this.#ending.signal },
      lastsMs: WATCH_LASTS_MS * (1 + random.next() / 2),
    });
    const startMs = clock.now();
    let isFruitful = false;
    try {
      for await (const batch of events) {
        this.#reached(batch.length > 0);
        isFruitful ||= batch.length > 0;
        this.#apply(batch);
      }
    } finally {
      if (clock.now() - startMs >= WATCH_STEADY_MS) this.#failures = 0;
    }
    // A server that ends every watch at once must not be asked without end.
    if (!isFruitful && !this.#ending.signal.aborted) await this.#pause();
  }

  #apply(batch: readonly WatchEvent[]): void {
    let changed = false;
    try {
      for (const event of batch) {
        if (event.type === 'ERROR') throw statusError(`watch ${this.#what}`, event.object);
        const effect = this.#store.apply(event);
        if (effect === 'disorder') throw new Disorder(`events of ${this.#what} came out of order`);
        changed ||= effect === 'changed';
      }
    } finally {
      if (changed) this.#deps.changed();
    }
  }

  async #pause(): Promise<void> {
    const { clock, random } = this.#deps;
    this.#isDoubtful = true;
    const waitMs = backoffMs(RETRY_BACKOFF, this.#failures++, random);
    await sleep(clock, waitMs, this.#ending.signal).catch(() => undefined);
  }

  #reached(isProof = true): void {
    if (isProof) this.#failures = 0;
    this.#absences = 0;
    if (this.#message !== undefined)
      this.#deps.log.info('the API server is followed again', { what: this.#what });
    this.#toldAtMs = Number.NEGATIVE_INFINITY;
    this.#become('listed', undefined);
  }

  /** How long to wait after this failure. Milliseconds. */
  #failed(thrown: unknown): number {
    const { clock, random, log } = this.#deps;
    const message = messageOf(thrown);
    // What has been understood of a watch up to its last event holds on, unless the server says otherwise.
    if (isInterruption(thrown)) this.#isDoubtful = true;
    else this.#isListed = false;
    if (hasReason(thrown, 'NotFound')) return this.#missed();
    this.#absences = 0;
    this.#failures++;
    const isForbidden = hasReason(thrown, 'Forbidden');
    if (isForbidden) this.#become('forbidden', message);
    else if (this.#failures >= RETRY_TOLD_AFTER) this.#become('disconnected', message);
    if (this.#message !== undefined && clock.now() - this.#toldAtMs >= FAILURE_LOG_MS) {
      this.#toldAtMs = clock.now();
      log.warn('objects stay as they were: the API server does not tell of them', {
        ...{ what: this.#what, error: message },
      });
    } else log.debug('the API server is asked again', { what: this.#what, error: message });
    if (isForbidden) return FORBIDDEN_RETRY_MS * (1 + random.next() / 2);
    const asked = thrown instanceof KubernetesError ? (thrown.retryAfterMs ?? 0) : 0;
    return Math.min(asked, RETRY_BACKOFF.maxMs) + backoffMs(RETRY_BACKOFF, this.#failures - 1, random);
  }

  #missed(): number {
    const { random, log } = this.#deps;
    this.#absences++;
    const waitMs = ABSENT_RETRY_MS * (1 + random.next() / 2);
    // An API server that has just begun may not know all of its kinds yet.
    if (this.#store.size > 0 && this.#absences < ABSENT_ANSWERS) return waitMs;
    const changed = this.#store.clear();
    if (this.#condition !== 'absent')
      log.info('a kind is not installed; it is looked for from time to time', { kind: this.#what });
    this.#become('absent', undefined);
    if (changed) this.#deps.changed();
    this.#deps.listed();
    return waitMs;
  }

  #become(condition: KindCondition, message: string | undefined): void {
    const isNew = this.#condition !== condition;
    this.#condition = condition;
    this.#message = message;
    if (isNew) this.#deps.changed();
  }
}

/** Events whose order contradicts their versions. */
class Disorder extends Error {}

/** The connection, or the server as a whole, is to blame: what the last version says goes on holding. */
function isInterruption(thrown: unknown): boolean {
  if (thrown instanceof Disorder) return false;
  if (thrown instanceof KubernetesError) return [401, 429, 502, 503].includes(thrown.status);
  return !(thrown instanceof Error && 'code' in thrown && thrown.code === 'kubernetes-answer');
}
