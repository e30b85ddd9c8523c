import type { Clock, Timer } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { type Random, systemRandom } from '../../common/random.ts';
import type { KubeObject, Problem } from '../../model/objects.ts';
import { LastSound } from '../last-sound.ts';
import type { ObjectSource, ObjectsState } from '../source.ts';
import type { KubernetesClient } from './client.ts';
import { KindWatch } from './kind-watch.ts';
import type { KubeKind } from './kinds.ts';
import { CHANGE_BATCH_MS } from './limits.ts';

/** A kind that is followed, and how much of it. */
export interface WatchedKind {
  readonly kind: KubeKind;
  /** All namespaces where none is given. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Leaves out what its reader doesn't need, beside what nobody needs: an object's memory for as long as it lives. */
  readonly trim?: (object: KubeObject) => KubeObject;
}

/** `listed`: as the API server has it. `absent`: it isn't installed. Else the objects are those of before. */
export type KindCondition = 'starting' | 'listed' | 'absent' | 'forbidden' | 'disconnected';

export interface KindState {
  readonly kind: string;
  readonly condition: KindCondition;
  readonly objects: number;
  /** Why, where it is neither listed nor absent. */
  readonly message: string | undefined;
}

export interface ClusterSource extends ObjectSource {
  /**
   * Resolves once every kind has been listed, or is known not to be installed: from then on `current()` is whole. Stays
   * open while the API server can't be reached or refuses a kind: half of a cluster must not be taken for all of it.
   * Rejects with code `closed` where the source is closed before.
   */
  readonly synced: Promise<void>;
  kinds(): readonly KindState[];
}

export interface WatchClusterOptions {
  readonly client: KubernetesClient;
  readonly kinds: readonly WatchedKind[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: Random;
  /** After each batch of changes, from `synced` on; the first whole state is in `current()` then. */
  onChange(state: ObjectsState): void;
}

/**
 * Follows kinds of an API server. Whatever happens to the connection, what the last good answers said stays in `current()`;
 * whatever happens to the stream of events, the state becomes what lists would say.
 */
export function watchCluster(options: WatchClusterOptions): ClusterSource {
  return new WatchedCluster(options);
}

class WatchedCluster implements ClusterSource {
  readonly synced: Promise<void>;
  readonly #options: WatchClusterOptions;
  readonly #watches: readonly KindWatch[];
  /** Kinds that weren't listed yet. */
  readonly #missing: Set<KindWatch>;
  readonly #syncing = Promise.withResolvers<void>();
  #state: ObjectsState | undefined;
  #pending: Timer | undefined;
  /** How long the last change took whoever was told of it: the next one waits as long, so that half of the time is free. */
  #tookMs = 0;
  #closed = false;

  constructor(options: WatchClusterOptions) {
    this.#options = options;
    const { client, clock, log, random = systemRandom } = options;
    const lastSound = new LastSound();
    this.#watches = options.kinds.map((watched): KindWatch => {
      const watch: KindWatch = new KindWatch({
        ...{ client, watched, lastSound, clock, random, log },
        changed: () => this.#changed(),
        listed: () => this.#listed(watch),
      });
      return watch;
    });
    this.#missing = new Set(this.#watches);
    this.synced = this.#syncing.promise;
    this.synced.catch(() => undefined);
    for (const watch of this.#watches) void watch.run();
  }

  current(): ObjectsState {
    this.#state ??= {
      objects: this.#watches.flatMap((watch) => watch.objects()),
      problems: this.#watches.flatMap((watch) => problemOf(watch.state())),
    };
    return this.#state;
  }

  kinds(): readonly KindState[] {
    return this.#watches.map((watch) => watch.state());
  }

  close(): void {
    this.#closed = true;
    this.#pending?.cancel();
    for (const watch of this.#watches) watch.close();
    this.#syncing.reject(new HeddleError('closed', 'the objects are no longer followed'));
  }

  #listed(watch: KindWatch): void {
    if (this.#missing.delete(watch) && this.#missing.size === 0) this.#syncing.resolve();
  }

  #changed(): void {
    this.#state = undefined;
    if (this.#closed || this.#missing.size > 0 || this.#pending !== undefined) return;
    const { clock, onChange } = this.#options;
    this.#pending = clock.after(
      Math.max(CHANGE_BATCH_MS, this.#tookMs),
      () => {
        this.#pending = undefined;
        const startMs = clock.now();
        onChange(this.current());
        this.#tookMs = clock.now() - startMs;
      },
      { background: true },
    );
  }
}

function problemOf({ kind, condition, message }: KindState): readonly Problem[] {
  if (condition !== 'forbidden' && condition !== 'disconnected') return [];
  const told =
    condition === 'forbidden'
      ? `${kind} objects can't be read, so they stay as they were: give the service account the rights get, list and watch`
      : `${kind} objects stay as they were: the API server does not tell of them`;
  const severity = condition === 'forbidden' ? 'error' : 'warning';
  return [{ severity, source: 'kubernetes', line: 0, message: `${told} (${message})` }];
}
