import type { Cluster, Destination, Snapshot } from '../../model/snapshot.ts';
import type { Resources } from './resources.ts';

/** The clusters that requests of a destination, or copies of them, may be sent to: references that are invalid lead nowhere. */
function clustersOf(destination: Destination): Set<string> {
  const names = new Set<string>();
  if (destination.entries.length === 0) names.add(destination.defaultCluster);
  for (const { rule } of destination.entries) {
    for (const { cluster, invalid } of [...rule.backends, ...rule.mirrors]) {
      if (invalid === undefined) names.add(cluster);
    }
  }
  return names;
}

/** A snapshot as lists, for people and for tidying up. */
export interface SnapshotContents {
  readonly destinations: readonly Destination[];
  readonly clusters: readonly Cluster[];
}

interface BuiltCluster {
  readonly cluster: Cluster;
  readonly from: readonly [unknown, unknown];
}

/**
 * Makes snapshots out of resources: a destination, or its new version, is taken in only once everything that it refers to
 * is there, so that no request meets half a configuration (make before break).
 */
export class SnapshotBuilder {
  readonly #resources: Resources;
  #inForce = new Map<string, Destination>();
  #clusters = new Map<string, BuiltCluster>();

  constructor(resources: Resources) {
    this.#resources = resources;
  }

  /** Everything in force at this moment. */
  contents(): SnapshotContents {
    return {
      destinations: [...this.#inForce.values()],
      clusters: [...this.#clusters.values()].map(({ cluster }) => cluster),
    };
  }

  /** Clusters wanted: those in force, and those that a new version waits for. */
  clustersWanted(): Set<string> {
    const wanted = new Set<string>();
    for (const destination of this.#inForce.values())
      for (const name of clustersOf(destination)) wanted.add(name);
    for (const [, { value }] of this.#resources.listeners.entries()) {
      const route = 'routeName' in value ? this.#resources.routes.get(value.routeName) : undefined;
      if (route !== undefined) for (const name of clustersOf(route)) wanted.add(name);
    }
    return wanted;
  }

  build(): Snapshot {
    const inForce = new Map<string, Destination>();
    for (const [name, { value }] of this.#resources.listeners.entries()) {
      if (!('routeName' in value)) continue;
      const route = this.#resources.routes.get(value.routeName);
      const taken = route !== undefined && this.#complete(route) ? route : this.#inForce.get(name);
      if (taken !== undefined) inForce.set(name, taken);
    }
    this.#inForce = inForce;
    this.#buildClusters();
    return snapshotOf(inForce, this.#clusters);
  }

  #complete(destination: Destination): boolean {
    const { clusters, endpoints } = this.#resources;
    for (const name of clustersOf(destination)) {
      const answered =
        clusters.isAbsent(name) ||
        (clusters.get(name) !== undefined && (endpoints.get(name) !== undefined || endpoints.isAbsent(name)));
      if (!answered) return false;
    }
    return true;
  }

  #buildClusters(): void {
    const built = new Map<string, BuiltCluster>();
    for (const destination of this.#inForce.values()) {
      for (const name of clustersOf(destination)) {
        if (built.has(name)) continue;
        const made = this.#buildCluster(name);
        if (made !== undefined) built.set(name, made);
      }
    }
    this.#clusters = built;
  }

  /** The same object for as long as its parts stay the same: what is compiled for it is kept. */
  #buildCluster(name: string): BuiltCluster | undefined {
    const cluster = this.#resources.clusters.get(name);
    const endpoints = this.#resources.endpoints.get(name);
    if (cluster === undefined) return undefined;
    const known = this.#clusters.get(name);
    if (known !== undefined && known.from[0] === cluster && known.from[1] === endpoints) return known;
    return { cluster: Object.freeze({ ...cluster, endpoints: endpoints ?? [] }), from: [cluster, endpoints] };
  }
}

function snapshotOf(
  destinations: ReadonlyMap<string, Destination>,
  clusters: ReadonlyMap<string, BuiltCluster>,
): Snapshot {
  const byName = new Map(destinations);
  for (const destination of destinations.values()) {
    for (const name of [destination.key, ...destination.addresses])
      if (!byName.has(name)) byName.set(name, destination);
  }
  return Object.freeze({
    destination: (key: string) => byName.get(key),
    cluster: (name: string) => clusters.get(name)?.cluster,
  });
}
