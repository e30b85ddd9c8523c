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
import { Resources } from './resources.ts';
import { SnapshotBuilder, type SnapshotContents } from './snapshots.ts';
import { namesFor, Subscriptions } from './subscriptions.ts';

/** What changed about the names to be subscribed to. */
export interface Wish {
  readonly type: ResourceType;
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
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
  readonly #resources = new Resources();
  readonly #builder = new SnapshotBuilder(this.#resources);
  readonly #subscriptions: Subscriptions;
  readonly #waiters = new Set<() => void>();
  readonly #subscribed = new Map<ResourceType, Set<string>>();
  #snapshot: Snapshot;

  constructor(options: ConfigStoreOptions) {
    this.#options = options;
    this.#subscriptions = new Subscriptions(options.limits, options.clock);
    for (const type of TYPES_IN_ORDER) this.#subscribed.set(type, new Set());
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
    const names = namesFor(host, port, this.#options.namespace);
    if (names.length === 0) return { kind: 'external' };
    const found = this.#look(names);
    return found ?? this.#wait(names);
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
    const wishes: Wish[] = [];
    const wanted = this.#wanted();
    for (const type of TYPES_IN_ORDER) {
      const have = this.#subscribed.get(type) ?? new Set();
      const want = wanted.get(type) ?? new Set();
      const subscribe = [...want].filter((name) => !have.has(name));
      const unsubscribe = [...have].filter((name) => !want.has(name));
      if (subscribe.length === 0 && unsubscribe.length === 0) continue;
      for (const name of unsubscribe) this.#forget(type, name);
      this.#subscribed.set(type, want);
      wishes.push({ type, subscribe, unsubscribe });
    }
    return wishes;
  }

  /** On a new stream: everything subscribed to, with the versions held, so that only what is new is sent. */
  resubscription(): { type: ResourceType; subscribe: string[]; versions: Record<string, string> }[] {
    const wanted = this.#wanted();
    return TYPES_IN_ORDER.map((type) => {
      const names = wanted.get(type) ?? new Set<string>();
      this.#subscribed.set(type, names);
      return { type, subscribe: [...names], versions: this.#resources.table(type).versions() };
    }).filter(({ subscribe }) => subscribe.length > 0);
  }

  /** Drops what has been idle for long. Only to be called while connected: what is dropped can't be had again otherwise. */
  dropIdle(): void {
    if (!this.#subscriptions.dropIdle()) return;
    this.#options.onWishes();
    this.#rebuild();
  }

  subscriptionCount(): number {
    return [...this.#subscriptions.names()].length;
  }

  close(): void {
    for (const waiter of [...this.#waiters]) waiter();
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
      const waiter = () => {
        const found = this.#look(names);
        if (found !== undefined) settle(found);
      };
      const timer = this.#options.clock.after(this.#options.limits.configWaitMs, () =>
        settle({ kind: 'unavailable' }),
      );
      this.#waiters.add(waiter);
    });
  }

  #wanted(): Map<ResourceType, Set<string>> {
    const names = new Set(this.#subscriptions.names());
    const routes = new Set<string>();
    for (const [, { value }] of this.#resources.listeners.entries()) {
      if ('routeName' in value) routes.add(value.routeName);
    }
    const clusters = this.#builder.clustersWanted();
    return new Map([
      [TYPE.secret, new Set<string>([RESOURCE.trustBundle])],
      [TYPE.listener, names.add(RESOURCE.inbound)],
      [TYPE.route, routes],
      [TYPE.cluster, clusters],
      [TYPE.endpoints, new Set(clusters)],
    ] as const);
  }

  /** A listener asked for by an alias is held under its own name. */
  #forget(type: ResourceType, name: string): void {
    this.#resources.table(type).forget(name);
    if (type !== TYPE.listener) return;
    for (const [held, { value }] of this.#resources.listeners.entries()) {
      if (!('routeName' in value) || !value.aliases.includes(name)) continue;
      const stillAsked =
        this.#subscriptions.has(held) || value.aliases.some((alias) => this.#subscriptions.has(alias));
      if (!stillAsked) this.#resources.listeners.forget(held);
    }
  }

  #rebuild(): void {
    this.#snapshot = this.#builder.build();
    this.#options.onSnapshot(this.#snapshot);
    this.#options.onWishes();
    for (const waiter of [...this.#waiters]) waiter();
  }
}
