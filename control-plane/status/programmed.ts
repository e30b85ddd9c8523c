import { RESOURCE, type ResourceType, TYPE } from '../../common/wire/types.ts';
import type { Mesh, ObjectStatus, StatusCondition } from '../../model/mesh.ts';
import type { Translation } from '../translate/translator.ts';
import type { DeliveryTracker } from '../xds/tracker.ts';

/** One resource that an object shapes. */
interface Shaped {
  readonly type: ResourceType;
  readonly name: string;
}

/** A stock Envoy holds all destinations in one route configuration. */
const ALL_ROUTES: Shaped = { type: TYPE.route, name: RESOURCE.outbound };

/** Which resources, of which proxies, carry what an object says to one of its parents. */
interface Reach {
  readonly resources: readonly Shaped[];
  /** The namespace whose Services' endpoints carry it; `*`: every one. */
  readonly endpoints: string | undefined;
  /** Namespaces whose own pods carry it as well in what they serve; `*`: every one. */
  readonly inbound: ReadonlySet<string>;
}

/** How many refusals a message quotes. */
export const refusalsShownMax = 3;

/** How what an object says to one of its parents stands with the proxies that it concerns. */
export interface Tally {
  readonly concerned: number;
  /** Those that have not answered yet. */
  readonly waiting: number;
  readonly refused: number;
  /** The first refusals, in the proxies' words. */
  readonly refusals: readonly string[];
}

export type ParentStatus = ObjectStatus['parents'][number];

/** Tells `Programmed` of a parent; undefined where there is nothing to tell. */
export interface ProgrammedTeller {
  condition(status: ObjectStatus, parent: ParentStatus): StatusCondition | undefined;
}

/**
 * `Programmed` of every accepted parent: True once each connected proxy that holds a resource shaped by the object has
 * acknowledged its version in force, False where one refused it, Unknown while answers are awaited.
 */
export class Programming implements ProgrammedTeller {
  readonly #translation: Translation;
  readonly #trackers: readonly DeliveryTracker[];
  readonly #destinationsOf: ReadonlyMap<string, readonly string[]>;
  readonly #tallies = new WeakMap<ParentStatus, Tally>();
  /** Made when a policy asks. */
  #clustersOf: ReadonlyMap<string, readonly string[]> | undefined;
  #holders: ReadonlyMap<string, readonly DeliveryTracker[]> | undefined;

  constructor(translation: Translation, trackers: readonly DeliveryTracker[]) {
    this.#translation = translation;
    this.#trackers = trackers;
    this.#destinationsOf = destinationsByRoute(translation.mesh, trackers);
  }

  condition(status: ObjectStatus, parent: ParentStatus): StatusCondition | undefined {
    const tally = this.tally(status, parent);
    return tally === undefined ? undefined : verdict(tally);
  }

  /** Undefined where the parent has not accepted it: then no proxy is concerned. */
  tally(status: ObjectStatus, parent: ParentStatus): Tally | undefined {
    const { conditions } = parent;
    if (!conditions.some(({ type, status: holds }) => type === 'Accepted' && holds === 'True'))
      return undefined;
    const known = this.#tallies.get(parent);
    if (known !== undefined) return known;
    const tally = this.#count(this.#reach(status, parent.ref));
    this.#tallies.set(parent, tally);
    return tally;
  }

  #count(reach: Reach): Tally {
    let concerned = 0;
    let waiting = 0;
    const refusals: string[] = [];
    for (const tracker of this.#candidates(reach)) {
      const state = this.#stateOf(tracker, reach);
      if (state === undefined) continue;
      concerned++;
      if (state.kind === 'nacked') refusals.push(`${state.pod}: ${state.message}`);
      else if (state.kind === 'pending') waiting++;
    }
    const shown = refusals.slice(0, refusalsShownMax);
    return { concerned, waiting, refused: refusals.length, refusals: shown };
  }

  /** Proxies that may be concerned: few of many, where it is a matter of single resources. */
  #candidates(reach: Reach): Iterable<DeliveryTracker> {
    if (reach.endpoints !== undefined || reach.inbound.size > 0) return this.#trackers;
    this.#holders ??= holdersOf(this.#trackers);
    const found = new Set<DeliveryTracker>();
    for (const resource of reach.resources)
      for (const tracker of this.#holders.get(keyOf(resource)) ?? []) found.add(tracker);
    if (!reach.resources.some(({ type }) => type === TYPE.route)) return found;
    for (const tracker of this.#holders.get(keyOf(ALL_ROUTES)) ?? []) found.add(tracker);
    return found;
  }

  /** Pods of proxies that were told of the trust bundle in force and have not acknowledged it. */
  bundleWaiting(): readonly string[] {
    return this.#trackers.flatMap((tracker) => {
      const { client } = tracker.node;
      const delivery = tracker.delivery(TYPE.secret, RESOURCE.trustBundle);
      const current = this.#translation.view(client).get(TYPE.secret, RESOURCE.trustBundle)?.version;
      const holds = delivery === undefined || (delivery.kind === 'acked' && delivery.version === current);
      return holds ? [] : [`${client.namespace}/${client.pod}`];
    });
  }

  #reach(status: ObjectStatus, ref: string): Reach {
    const none: ReadonlySet<string> = new Set();
    const [kind = '', target = ''] = ref.split(' ');
    const service = target.split(':')[0] ?? '';
    const named = (type: ResourceType, names: readonly string[]): Shaped[] =>
      names.map((name) => ({ type, name }));
    if (status.kind === 'MTLSPolicy') {
      const namespace = kind === 'Mesh' ? '*' : status.namespace;
      return { resources: [], endpoints: namespace, inbound: new Set([namespace]) };
    }
    const routeKey =
      status.kind === 'HTTPRoute' ? `${status.namespace}/${status.name}` : (target.split('#')[0] ?? '');
    if (status.kind === 'HTTPRoute' || kind === 'HTTPRoute') {
      const resources = named(TYPE.route, this.#destinationsOf.get(routeKey) ?? []);
      return { resources, endpoints: undefined, inbound: none };
    }
    this.#clustersOf ??= clustersByService(this.#translation.mesh);
    const clusters = this.#clustersOf.get(service) ?? [];
    const routes = this.#destinationsOf.get(`Service ${service}`) ?? [];
    const resources = [...named(TYPE.cluster, clusters), ...named(TYPE.route, routes)];
    return { resources, endpoints: undefined, inbound: none };
  }

  /** The worst that is known of one proxy; undefined where nothing of the object concerns it. */
  #stateOf(tracker: DeliveryTracker, reach: Reach) {
    const { client } = tracker.node;
    const view = this.#translation.view(client);
    const shaped = [...reach.resources];
    if (reach.inbound.has('*') || reach.inbound.has(client.namespace)) {
      shaped.push({ type: TYPE.listener, name: RESOURCE.inbound });
    }
    if (reach.resources.some(({ type }) => type === TYPE.route)) shaped.push(ALL_ROUTES);
    if (reach.endpoints !== undefined) {
      for (const name of tracker.deliveries(TYPE.endpoints).keys()) {
        const mine = this.#translation.mesh.clusters.get(name)?.namespace;
        if (reach.endpoints === '*' || reach.endpoints === mine) shaped.push({ type: TYPE.endpoints, name });
      }
    }
    let state: { kind: 'acked' | 'pending' | 'nacked'; pod: string; message: string } | undefined;
    const pod = `${client.namespace}/${client.pod}`;
    for (const { type, name } of shaped) {
      const delivery = tracker.delivery(type, name);
      if (delivery === undefined) continue;
      const current = view.get(type, name)?.version;
      if (delivery.kind === 'nacked' && delivery.version === current) {
        return { kind: 'nacked' as const, pod, message: delivery.message };
      }
      const settled = delivery.kind === 'acked' && delivery.version === current;
      if (!settled) state = { kind: 'pending', pod, message: '' };
      else state ??= { kind: 'acked', pod, message: '' };
    }
    return state;
  }
}

export function verdict({ concerned, waiting, refused, refusals }: Tally): StatusCondition {
  if (refused > 0) {
    const message = `refused by ${refused} of ${concerned} proxies, which keep what they had: ${refusals.join('; ')}`;
    return { type: 'Programmed', status: 'False', reason: 'Invalid', message };
  }
  if (waiting > 0) {
    const message = `${waiting} of ${concerned} proxies have not acknowledged it yet`;
    return { type: 'Programmed', status: 'Unknown', reason: 'Pending', message };
  }
  const message =
    concerned === 0
      ? 'no connected proxy uses it: each gets it with its first request'
      : `acknowledged by ${concerned} ${concerned === 1 ? 'proxy' : 'proxies'}`;
  return { type: 'Programmed', status: 'True', reason: 'Programmed', message };
}

function keyOf({ type, name }: Shaped): string {
  return `${type} ${name}`;
}

/** Proxies by the clusters and routes that they were given. */
function holdersOf(trackers: readonly DeliveryTracker[]): ReadonlyMap<string, readonly DeliveryTracker[]> {
  const found = new Map<string, DeliveryTracker[]>();
  for (const tracker of trackers) {
    for (const type of [TYPE.cluster, TYPE.route]) {
      for (const name of tracker.deliveries(type).keys()) {
        const key = keyOf({ type, name });
        const holders = found.get(key);
        if (holders === undefined) found.set(key, [tracker]);
        else holders.push(tracker);
      }
    }
  }
  return found;
}

function clustersByService(mesh: Mesh): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const cluster of mesh.clusters.values()) {
    const key = `${cluster.namespace}/${cluster.service}`;
    found.set(key, [...(found.get(key) ?? []), cluster.name]);
  }
  return found;
}

/** Destinations by the routes that shape them (`namespace/name`), and by Service (`Service namespace/name`). */
function destinationsByRoute(
  mesh: Mesh,
  trackers: readonly DeliveryTracker[],
): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, Set<string>>();
  const note = (key: string, destination: string) => {
    let names = found.get(key);
    if (names === undefined) {
      names = new Set();
      found.set(key, names);
    }
    names.add(destination);
  };
  const namespaces = new Set(trackers.map(({ node }) => node.client.namespace));
  // Namespaces without routes of their own share one view.
  for (const view of new Set([...namespaces].map((namespace) => mesh.destinationsFor(namespace)))) {
    for (const destination of view.values()) {
      note(`Service ${destination.namespace}/${destination.service}`, destination.key);
      for (const { rule } of destination.entries) note(rule.object, destination.key);
    }
  }
  return new Map([...found].map(([key, names]) => [key, [...names]] as const));
}
