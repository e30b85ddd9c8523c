import type { Clock } from '../../common/clock.ts';
import type { DeltaDiscoveryResponse } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import {
  isResourceType,
  RESOURCE,
  type ResourceType,
  TYPE,
  TYPES_IN_ORDER,
} from '../../common/wire/types.ts';
import type { InboundConfig, Snapshot } from '../../model/snapshot.ts';
import type { ConfigStage, FoundDestination } from '../stage.ts';
import type { ConfigLimits } from './limits.ts';
import { NamesLately } from './names-lately.ts';
import { askInParts, type HeldFor, inParts } from './requests.ts';
import { Resources } from './resources.ts';
import { SnapshotBuilder, type SnapshotContents } from './snapshots.ts';
import { Subscriptions } from './subscriptions.ts';

/** A request about the names to be subscribed to: what changed, or on a new stream all of it. */
export interface Wish {
  readonly type: ResourceType;
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  /** On a new stream: versions held already, by name. */
  readonly versions: Readonly<Record<string, string>>;
}

export interface ConfigStoreOptions {
  /** The pod's own namespace, where short names start. */
  readonly namespace: string;
  readonly limits: ConfigLimits;
  readonly clock: Clock;
  /** The names wanted may have changed: ask `wishes()` and send them. */
  readonly onWishes: () => void;
  readonly onSnapshot: (snapshot: Snapshot) => void;
  readonly onInbound: (inbound: InboundConfig) => void;
  readonly onTrustBundle: (pem: string) => void;
}

/**
 * Configuration as this sidecar has it: knows which names it wants, takes responses in, and offers the snapshot in force.
 * It doesn't know the transport: connected or not, what it holds stays in force.
 */
export class ConfigStore implements ConfigStage {
  readonly #options: ConfigStoreOptions;
  readonly #resources = new Resources((type, name) => this.#askedOf(type).has(name));
  readonly #builder = new SnapshotBuilder(this.#resources);
  readonly #subscriptions: Subscriptions;
  readonly #names: NamesLately;
  /** Requests that wait for an answer: each looks again, or is told that there won't be one. */
  readonly #waiters = new Set<(closing: boolean) => void>();
  /** Names asked for on the stream of now. */
  readonly #asked = new Map<ResourceType, Set<string>>();
  #snapshot: Snapshot;
  /** Whether resources changed since it was last worked out what else they refer to. */
  #referencesStale = true;
  #closed = false;

  constructor(options: ConfigStoreOptions) {
    this.#options = options;
    this.#subscriptions = new Subscriptions(options.limits, options.clock);
    this.#names = new NamesLately(options.namespace);
    this.#snapshot = this.#builder.build();
  }

  snapshot(): Snapshot {
    return this.#snapshot;
  }

  contents(): SnapshotContents {
    return this.#builder.contents();
  }

  inbound(): InboundConfig | undefined {
    return this.#resources.inbound();
  }

  find(host: string, port: number): FoundDestination | Promise<FoundDestination> {
    if (this.#closed) return { kind: 'unavailable' };
    const names = this.#names.for(host, port);
    if (names.length === 0) return { kind: 'external' };
    const found = this.#look(names);
    if (found !== undefined) return found;
    return this.#waiters.size < this.#options.limits.waitersMax ? this.#wait(names) : { kind: 'unavailable' };
  }

  /** Takes a response in; what comes back is the reason to refuse it with. */
  receive(response: DeltaDiscoveryResponse): string | undefined {
    const before = { inbound: this.inbound(), bundle: this.#resources.secrets.get(RESOURCE.trustBundle) };
    const refusal = this.#resources.take(response);
    if (isResourceType(response.typeUrl)) this.#rebuild();
    const inbound = this.inbound();
    const bundle = this.#resources.secrets.get(RESOURCE.trustBundle);
    if (bundle !== undefined && bundle !== before.bundle) this.#options.onTrustBundle(bundle);
    if (inbound !== undefined && inbound !== before.inbound) this.#options.onInbound(inbound);
    return refusal;
  }

  /** What to ask for in addition, or no more; to be sent at once, since it counts as sent. */
  wishes(): Wish[] {
    const wishes = this.#destinationWish();
    if (this.#referencesStale) {
      this.#referencesStale = false;
      for (const [type, want] of this.#references()) wishes.push(...this.#replaceAsked(type, want));
    }
    return wishes;
  }

  /** On a new stream: everything asked for, with the versions held, so that only what is new is sent. */
  resubscription(): Wish[] {
    this.#subscriptions.takeChanged();
    this.#referencesStale = false;
    const wanted = new Map([...this.#references(), [TYPE.listener, this.#destinations()] as const]);
    const wishes: Wish[] = [];
    for (const type of TYPES_IN_ORDER) {
      const names = wanted.get(type) ?? new Set<string>();
      // What was given up while there was no stream is forgotten as if it had been said.
      this.#replaceAsked(type, names);
      for (const part of askInParts(names, this.#heldFor(type), this.#options.limits.requestBytesMax)) {
        wishes.push({ type, unsubscribe: [], ...part });
      }
    }
    return wishes;
  }

  /** Drops what has been idle for long. Only to be called while connected: what is dropped can't be had again otherwise. */
  dropIdle(): void {
    if (this.#subscriptions.dropIdle()) this.#options.onWishes();
  }

  subscriptionCount(): number {
    return this.#subscriptions.size;
  }

  /** Whoever waits is told at once that there will be no answer, and so is whoever asks later. */
  close(): void {
    this.#closed = true;
    for (const waiter of [...this.#waiters]) waiter(true);
  }

  /** The answer where it is known now; asks for what isn't. */
  #look(names: readonly string[]): FoundDestination | undefined {
    for (const name of names) {
      const added = this.#subscriptions.use(name, (other) => this.#resources.listeners.isAbsent(other));
      if (added === 'full') return { kind: 'unavailable' };
      if (added === 'added') this.#options.onWishes();
      const destination = this.#snapshot.destination(name);
      if (destination !== undefined) return { kind: 'mesh', key: destination.key };
      if (!this.#resources.listeners.isAbsent(name)) return undefined;
    }
    return { kind: 'external' };
  }

  #wait(names: readonly string[]): Promise<FoundDestination> {
    return new Promise((resolve) => {
      const settle = (found: FoundDestination) => {
        this.#waiters.delete(waiter);
        timer.cancel();
        resolve(found);
      };
      const waiter = (closing: boolean) => {
        const found: FoundDestination | undefined = closing ? { kind: 'unavailable' } : this.#look(names);
        if (found !== undefined) settle(found);
      };
      const timer = this.#options.clock.after(this.#options.limits.configWaitMs, () =>
        settle({ kind: 'unavailable' }),
      );
      this.#waiters.add(waiter);
    });
  }

  #askedOf(type: ResourceType): Set<string> {
    let asked = this.#asked.get(type);
    if (asked === undefined) {
      asked = new Set();
      this.#asked.set(type, asked);
    }
    return asked;
  }

  #destinations(): Set<string> {
    return new Set(this.#subscriptions.names()).add(RESOURCE.inbound);
  }

  /** What the destinations, and the sidecar itself, need beside listeners. */
  #references(): [ResourceType, Set<string>][] {
    const routes = new Set<string>();
    for (const [, { value }] of this.#resources.listeners.entries()) {
      if ('routeName' in value) routes.add(value.routeName);
    }
    const clusters = this.#builder.clustersWanted();
    return [
      [TYPE.secret, new Set([RESOURCE.trustBundle])],
      [TYPE.cluster, clusters],
      [TYPE.endpoints, new Set(clusters)],
      [TYPE.route, routes],
    ];
  }

  /** Only of the names that came or went: an app that asks for many costs no more for each of them. */
  #destinationWish(): Wish[] {
    const asked = this.#askedOf(TYPE.listener);
    const changed = [...this.#subscriptions.takeChanged()];
    const subscribe = changed.filter((name) => this.#subscriptions.has(name) && !asked.has(name));
    const unsubscribe = changed.filter((name) => !this.#subscriptions.has(name) && asked.has(name));
    for (const name of subscribe) asked.add(name);
    for (const name of unsubscribe) asked.delete(name);
    this.#forgetAll(TYPE.listener, unsubscribe);
    return this.#wishesOf(TYPE.listener, subscribe, unsubscribe);
  }

  #replaceAsked(type: ResourceType, want: Set<string>): Wish[] {
    const asked = this.#askedOf(type);
    const subscribe = [...want].filter((name) => !asked.has(name));
    const unsubscribe = [...asked].filter((name) => !want.has(name));
    this.#asked.set(type, want);
    this.#forgetAll(type, unsubscribe);
    return this.#wishesOf(type, subscribe, unsubscribe);
  }

  #wishesOf(type: ResourceType, subscribe: readonly string[], unsubscribe: readonly string[]): Wish[] {
    const { requestBytesMax } = this.#options.limits;
    return [
      ...inParts(subscribe, requestBytesMax).map((names) => ({ type, subscribe: names, unsubscribe: [] })),
      ...inParts(unsubscribe, requestBytesMax).map((names) => ({ type, subscribe: [], unsubscribe: names })),
    ].map((wish) => ({ ...wish, versions: {} }));
  }

  /** What is held of a type, by each name that it may have been asked for by. */
  #heldFor(type: ResourceType): Map<string, HeldFor> {
    const held = new Map<string, HeldFor>();
    // The trust bundle is always sent anew: its answer says that the stream was taken in, when nothing else has changed.
    if (type === TYPE.secret) return held;
    if (type === TYPE.listener) {
      for (const [name, { value, version }] of this.#resources.listeners.entries()) {
        for (const alias of 'routeName' in value ? value.aliases : []) held.set(alias, { name, version });
      }
    }
    for (const [name, { version }] of this.#resources.table(type).entries())
      held.set(name, { name, version });
    return held;
  }

  /** A listener asked for by an alias is held under its own name, for as long as one of its names is asked for. */
  #forgetAll(type: ResourceType, names: readonly string[]): void {
    const table = this.#resources.table(type);
    if (type !== TYPE.listener) {
      for (const name of names) table.forget(name);
      return;
    }
    const gone = new Set(names);
    let dropped = false;
    for (const [held, { value }] of this.#resources.listeners.entries()) {
      if (!('routeName' in value)) continue;
      const known = [held, ...value.aliases];
      if (!known.some((name) => gone.has(name)) || known.some((name) => this.#subscriptions.has(name)))
        continue;
      dropped = table.forget(held) || dropped;
    }
    for (const name of names) if (table.isAbsent(name)) table.forget(name);
    if (dropped) this.#swap();
  }

  #swap(): void {
    this.#snapshot = this.#builder.build();
    this.#referencesStale = true;
    this.#options.onSnapshot(this.#snapshot);
  }

  #rebuild(): void {
    this.#swap();
    this.#options.onWishes();
    for (const waiter of [...this.#waiters]) waiter(false);
  }
}
