import type { BpfMap } from '../kernel/libbpf.ts';
import { differenceOf, type Entry, type MapStore } from '../maps/entries.ts';
import { MirroredMap } from '../maps/mirror.ts';
import { FILL_ORDER, type MapPlan, type PlannedMap, type Stores } from '../maps/reconcile.ts';
import { decode, encode } from '../maps/struct.ts';
import { TABLES } from '../maps/tables.ts';
import { recoverNumbers } from '../services/numbers.ts';
import type { ServiceNumbers } from '../services/plan.ts';

/** `pod_map` is written by whoever confirms sidecars as well: it isn't remembered but looked at each time. */
const SHARED: readonly PlannedMap[] = ['pod'];

export interface MapDifference {
  readonly missing: number;
  readonly changed: number;
  readonly stale: number;
}

/** The maps of a node that follow from objects, remembered where this process alone writes them. */
export class NodeMaps {
  readonly stores: Stores;
  readonly #maps: ReadonlyMap<PlannedMap, BpfMap>;
  readonly #mirrors: readonly MirroredMap[];

  constructor(map: (name: string) => BpfMap) {
    this.#maps = new Map(FILL_ORDER.map((name) => [name, map(TABLES[name].name)]));
    const stores = FILL_ORDER.map((name): [PlannedMap, MapStore] => {
      const store = this.map(name);
      return [name, SHARED.includes(name) ? store : new MirroredMap(store)];
    });
    this.stores = Object.fromEntries(stores) as Record<PlannedMap, MapStore>;
    this.#mirrors = stores.map(([, store]) => store).filter((store) => store instanceof MirroredMap);
  }

  map(name: PlannedMap): BpfMap {
    const map = this.#maps.get(name);
    if (map === undefined) throw new TypeError(`no map ${name}`);
    return map;
  }

  /** The next round reads all maps from the kernel: what others did to them is mended. */
  reread(): void {
    for (const mirror of this.#mirrors) mirror.reread();
  }

  /**
   * Entries of each map that are not as a plan has them; maps that are aren't named. Which sidecar of a pod is confirmed is no
   * plan's affair.
   */
  *differences(plan: MapPlan): Generator<[PlannedMap, MapDifference]> {
    for (const name of FILL_ORDER) {
      const { missing, changed, stale } = differenceOf(this.stores[name], plan.wanted[name]);
      const other = name === 'pod' ? changed.filter((entry) => !this.#isConfirmed(entry)) : changed;
      // An array's slots are always there.
      const found = {
        missing: missing.length,
        changed: other.length,
        stale: name === 'node' ? 0 : stale.length,
      };
      if (found.missing + found.changed + found.stale > 0) yield [name, found];
    }
  }

  /** Whether a pod's entry differs from the map's in its sidecar alone. */
  #isConfirmed({ key, value }: Entry): boolean {
    const held = this.map('pod').lookup(key);
    if (held === undefined) return false;
    const { sidecarCgroup } = decode(TABLES.pod.value, held);
    return encode(TABLES.pod.value, { ...decode(TABLES.pod.value, value), sidecarCgroup }).equals(held);
  }

  /** Numbers of backend lists that the maps of an earlier agent hold. */
  serviceNumbers(): ServiceNumbers {
    const services = this.map('service')
      .entries()
      .map(([, value]) => decode(TABLES.service.value, value));
    const backends = this.map('backend')
      .entries()
      .map(([key, value]) => ({
        key: decode(TABLES.backend.key, key),
        value: decode(TABLES.backend.value, value),
      }));
    return recoverNumbers(services, backends);
  }
}
