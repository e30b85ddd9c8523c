import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressBytes, noAddress } from '../../common/address.ts';
import { MemoryMap } from '../../test/support/memory-map.ts';
import { type Entries, entriesOf } from './entries.ts';
import { MirroredMap } from './mirror.ts';
import {
  batchEntriesMax,
  FILL_ORDER,
  type MapPlan,
  type PlannedMap,
  reconcile,
  reconcileAll,
} from './reconcile.ts';
import { decode, encode } from './struct.ts';
import { TABLES } from './tables.ts';

const NONE: Entries = new Map();

/** A small node: services `id → backends`, endpoints `last byte → policy set`, sets `number → rules`. */
interface Node {
  readonly services: Readonly<Record<string, number>>;
  readonly endpoints: Readonly<Record<string, number>>;
}

/** Backends and policy sets have numbers that stand for their content, as the compilers give them. */
function planOf(node: Node): MapPlan {
  const services = Object.entries(node.services);
  const idOf = (name: string, count: number) => Number(name) * 100 + count;
  const endpoints = Object.entries(node.endpoints);
  const sets = [...new Set(endpoints.map(([, set]) => set))].filter((set) => set > 0);
  return {
    wanted: {
      ...(Object.fromEntries(FILL_ORDER.map((name) => [name, NONE])) as Record<PlannedMap, Entries>),
      service: entriesOf(
        TABLES.service,
        services.map(([name, count]) => [
          { address: noAddress(), port: Number(name), protocol: 6, scope: 0 },
          { id: idOf(name, count), count, flags: 0, affinityS: 0 },
        ]),
      ),
      backend: entriesOf(
        TABLES.backend,
        services.flatMap(([name, count]) =>
          Array.from(
            { length: count },
            (_, slot) =>
              [
                { serviceId: idOf(name, count), slot },
                { address: addressBytes('10.0.0.1'), port: slot },
              ] as const,
          ),
        ),
      ),
      endpoint: entriesOf(
        TABLES.endpoint,
        endpoints.map(([last, set]) => [
          addressBytes(`10.0.0.${last}`),
          {
            ...decode(TABLES.endpoint.value, Buffer.alloc(TABLES.endpoint.value.sizeBytes)),
            ingressSet: set,
          },
        ]),
      ),
      policy: entriesOf(
        TABLES.policy,
        sets.map((set) => [{ bits: 64, set, peer: 0, protocol: 0, port: 0 }, 1] as const),
      ),
    },
  };
}

class Maps {
  readonly stores: Record<PlannedMap, MemoryMap>;
  readonly broken: string[] = [];

  constructor() {
    const make = (name: PlannedMap) => [name, new MemoryMap(name, 10_000, () => this.#look())];
    this.stores = Object.fromEntries(FILL_ORDER.map(make)) as Record<PlannedMap, MemoryMap>;
  }

  operations(): number {
    return Object.values(this.stores).reduce((sum, { updates, deletes }) => sum + updates + deletes, 0);
  }

  holds(plan: MapPlan): void {
    for (const name of FILL_ORDER) {
      const wanted = new Map([...plan.wanted[name]].map(([key, { value }]) => [key, value]));
      assert.deepEqual(
        new Map([...this.stores[name].content].toSorted()),
        new Map([...wanted].toSorted()),
        name,
      );
    }
  }

  /** What a program would find at this very moment. */
  #look(): void {
    const { service, backend, endpoint, policy } = this.stores;
    for (const value of service.content.values()) {
      const { id, count } = decode(TABLES.service.value, value);
      for (let slot = 0; slot < count; slot++) {
        const key = encode(TABLES.backend.key, { serviceId: id, slot }).toString('latin1');
        if (!backend.content.has(key)) this.broken.push(`service ${id} without backend ${slot}`);
      }
    }
    for (const value of endpoint.content.values()) {
      const set = decode(TABLES.endpoint.value, value).ingressSet;
      const key = encode(TABLES.policy.key, { bits: 64, set, peer: 0, protocol: 0, port: 0 }).toString(
        'latin1',
      );
      if (set > 0 && !policy.content.has(key)) this.broken.push(`endpoint without its set ${set}`);
    }
  }
}

function flipLastBit(value: Buffer | undefined): void {
  if (value !== undefined) value.writeUInt8(value.readUInt8(value.length - 1) ^ 1, value.length - 1);
}

const node: fc.Arbitrary<Node> = fc.record(
  {
    services: fc.dictionary(fc.constantFrom('1', '2', '3', '4'), fc.integer({ min: 0, max: 5 })),
    endpoints: fc.dictionary(fc.constantFrom('1', '2', '3', '4', '5'), fc.integer({ min: 0, max: 4 })),
  },
  { noNullPrototype: true },
);

test('after any series of plans the maps hold the last, and no step led anywhere that was empty', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(node, { minLength: 1, maxLength: 8 }), async (nodes) => {
      const maps = new Maps();
      for (const one of nodes) {
        await reconcileAll(maps.stores, planOf(one));
        maps.holds(planOf(one));
      }
      assert.deepEqual(maps.broken, []);
    }),
  );
});

test('a plan that holds already costs no operation', async () => {
  await fc.assert(
    fc.asyncProperty(node, async (one) => {
      const maps = new Maps();
      await reconcileAll(maps.stores, planOf(one));
      const before = maps.operations();
      const changes = await reconcileAll(maps.stores, planOf(one));
      assert.equal(maps.operations(), before);
      assert.deepEqual(new Set(Object.values(changes).flatMap(Object.values)), new Set([0]));
    }),
  );
});

test('drift of any kind is repaired once the maps are read again', async () => {
  const drifts = fc.array(
    fc.record({ map: fc.constantFrom(...FILL_ORDER), pick: fc.nat(), kind: fc.nat(2) }),
  );
  await fc.assert(
    fc.asyncProperty(node, drifts, async (one, all) => {
      const maps = new Maps();
      const mirrors = Object.fromEntries(
        FILL_ORDER.map((name) => [name, new MirroredMap(maps.stores[name])]),
      ) as Record<PlannedMap, MirroredMap>;
      await reconcileAll(mirrors, planOf(one));
      for (const { map, pick, kind } of all.filter(({ map }) => map !== 'node')) {
        const { content } = maps.stores[map];
        const key = [...content.keys()][pick % Math.max(1, content.size)] ?? '';
        if (kind === 0) content.delete(key);
        else if (kind === 1) flipLastBit(content.get(key));
        else content.set(`nobody's key ${pick}`, Buffer.alloc(TABLES[map].value.sizeBytes));
      }
      for (const mirror of Object.values(mirrors)) mirror.reread();
      await reconcileAll(mirrors, planOf(one));
      maps.holds(planOf(one));
    }),
  );
});

test('what was cut off at any write is finished by the next call', async () => {
  await fc.assert(
    fc.asyncProperty(node, node, fc.integer({ min: 1, max: 12 }), async (first, second, failAt) => {
      const maps = new Maps();
      const mirrors = Object.fromEntries(
        FILL_ORDER.map((name) => [name, new MirroredMap(maps.stores[name])]),
      ) as Record<PlannedMap, MirroredMap>;
      await reconcileAll(mirrors, planOf(first));
      for (const store of Object.values(maps.stores)) store.failAt = store.updates + failAt;
      await reconcileAll(mirrors, planOf(second)).catch(() => undefined);
      for (const store of Object.values(maps.stores)) store.failAt = Number.POSITIVE_INFINITY;
      await reconcileAll(mirrors, planOf(second));
      maps.holds(planOf(second));
      assert.deepEqual(maps.broken, []);
    }),
  );
});

test('changes are counted by map', async () => {
  const maps = new Maps();
  await reconcileAll(maps.stores, planOf({ services: { 1: 2, 2: 1 }, endpoints: { 1: 1 } }));
  const changes = await reconcileAll(maps.stores, planOf({ services: { 1: 3 }, endpoints: { 1: 1 } }));
  assert.deepEqual(changes.service, { added: 0, changed: 1, removed: 1 });
  assert.deepEqual(changes.backend, { added: 3, changed: 0, removed: 3 });
  assert.deepEqual(changes.endpoint, { added: 0, changed: 0, removed: 0 });
});

test('entries of a transition stand from before the first change to after the last', async () => {
  const seen: boolean[] = [];
  const passing = entriesOf(TABLES.policy, [[{ bits: 64, set: 9, peer: 7, protocol: 0, port: 0 }, 1]]);
  const [key = ''] = passing.keys();
  const maps = new Maps();
  const endpoints = new MemoryMap('endpoint', 100, () => seen.push(maps.stores.policy.content.has(key)));
  const stores = { ...maps.stores, endpoint: endpoints };
  const plan = (set: number) => ({
    ...planOf({ services: {}, endpoints: { 1: set } }),
    transition: { policy: passing },
  });
  await reconcileAll(stores, plan(1));
  await reconcileAll(stores, plan(2));
  assert.deepEqual(seen, [true, true]);
  assert.equal(maps.stores.policy.content.has(key), false);
});

test('more than a map holds is refused before anything changes', async () => {
  const maps = new Maps();
  await reconcileAll(maps.stores, planOf({ services: { 1: 1 }, endpoints: { 1: 1 } }));
  const before = maps.operations();
  const stores = { ...maps.stores, backend: new MemoryMap('backend_map', 3) };
  const plan = planOf({ services: { 1: 2, 2: 2 }, endpoints: {} });
  await assert.rejects(reconcileAll(stores, plan), {
    code: 'map-too-small',
    message: /4 .*backend_map.* 3 /,
  });
  await assert.rejects(reconcile(new MemoryMap('backend_map', 3), plan.wanted.backend), {
    code: 'map-too-small',
  });
  assert.equal(maps.operations(), before);
});

test('where old and new do not fit side by side, the old goes first', async () => {
  const store = new MemoryMap('backend_map', 4);
  await reconcile(store, planOf({ services: { 1: 3 }, endpoints: {} }).wanted.backend);
  const wanted = planOf({ services: { 1: 4 }, endpoints: {} }).wanted.backend;
  assert.deepEqual(await reconcile(store, wanted), { added: 4, changed: 0, removed: 3 });
  assert.deepEqual([...store.content.keys()].toSorted(), [...wanted.keys()].toSorted());
});

test('a large plan lets others have a turn after every batch, when it comes and when it goes', async () => {
  const store = new MemoryMap('backend_map');
  const records = Array.from({ length: 2 * batchEntriesMax + 1 }, (_, slot) => slot);
  const wanted = entriesOf(
    TABLES.backend,
    records.map((slot) => [
      { serviceId: 1, slot },
      { address: noAddress(), port: 1 },
    ]),
  );
  let turns = 0;
  const pause = async () => {
    turns++;
  };
  await reconcile(store, wanted, pause);
  assert.equal(turns, 2);
  await reconcile(store, NONE, pause);
  assert.equal(turns, 4);
  assert.equal(store.content.size, 0);
});

test("an array's slots are written, never deleted", async () => {
  const maps = new Maps();
  maps.stores.node.content.set('\0\0\0\0', Buffer.alloc(TABLES.node.value.sizeBytes));
  await reconcileAll(maps.stores, planOf({ services: {}, endpoints: {} }));
  assert.equal(maps.stores.node.deletes, 0);
});

test('a mirror asks the map once, and again after a write that failed', async () => {
  let reads = 0;
  const store = new MemoryMap('service_map');
  const counted = {
    name: store.name,
    maxEntries: store.maxEntries,
    entries: () => {
      reads++;
      return store.entries();
    },
    updateBatch: (entries: readonly (readonly [Uint8Array, Uint8Array])[]) => store.updateBatch(entries),
    delete: (key: Uint8Array) => store.delete(key),
  };
  const mirror = new MirroredMap(counted);
  const one = planOf({ services: { 1: 1 }, endpoints: {} }).wanted.service;
  await reconcile(mirror, one);
  await reconcile(mirror, one);
  assert.equal(reads, 1);
  store.failAt = store.updates + 1;
  await assert.rejects(reconcile(mirror, planOf({ services: { 2: 1 }, endpoints: {} }).wanted.service));
  await reconcile(mirror, one);
  assert.equal(reads, 2);
});
