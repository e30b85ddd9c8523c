import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type BpfObject, openObject } from '../../../cni/kernel/libbpf.ts';
import { type Entries, entriesOf, keyText } from '../../../cni/maps/entries.ts';
import { MirroredMap } from '../../../cni/maps/mirror.ts';
import { FILL_ORDER, type MapPlan, type PlannedMap, reconcileAll } from '../../../cni/maps/reconcile.ts';
import { decode } from '../../../cni/maps/struct.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import type { ServicePlan } from '../../../cni/services/plan.ts';
import { addressBytes, noAddress, parsePrefix } from '../../../common/address.ts';
import { compiled, serviceOf, sliceOf } from '../../support/service-objects.ts';

const OBJECT = fileURLToPath(new URL('../../../cni/bpf/objects/layout.o', import.meta.url));
const SERVICES = 300;
const NONE: Entries = new Map();

const filesBefore = readdirSync('/proc/self/fd').length;
after(() => assert.equal(readdirSync('/proc/self/fd').length, filesBefore));

/** Services with as many endpoints as `endpoints` says, one pod, some policy and address classes. */
function planOf(endpoints: number): MapPlan {
  const numbers = Array.from({ length: SERVICES }, (_, index) => index);
  const services: ServicePlan = compiled({
    services: numbers.map((n) => serviceOf(`s${n}`, { clusterIP: `10.96.${n >> 8}.${n & 255}` })),
    endpointSlices: numbers.map((n) =>
      sliceOf(
        `s${n}`,
        Array.from({ length: endpoints }, (_, i) => `10.${i}.${n >> 8}.${n & 255}`),
      ),
    ),
  });
  const pod = decode(TABLES.endpoint.value, Buffer.alloc(TABLES.endpoint.value.sizeBytes));
  const node = decode(TABLES.node.value, Buffer.alloc(TABLES.node.value.sizeBytes));
  const rule = { bits: 88, set: endpoints, peer: 0, protocol: 6 };
  return {
    wanted: {
      ...(Object.fromEntries(FILL_ORDER.map((name) => [name, NONE])) as Record<PlannedMap, Entries>),
      node: entriesOf(TABLES.node, [[0, { ...node, tunnelMtu: 1450 }]]),
      policy: entriesOf(
        TABLES.policy,
        Array.from({ length: 50 }, (_, port) => [{ ...rule, port }, 1] as const),
      ),
      cidr: entriesOf(TABLES.cidr, [
        [parsePrefix('10.0.0.0/8'), 1],
        [parsePrefix(`10.${endpoints}.0.0/16`), 2],
        [parsePrefix('fd00::/8'), 3],
      ]),
      block: entriesOf(TABLES.block, [[parsePrefix('10.244.1.0/24'), addressBytes('192.0.2.2')]]),
      endpoint: entriesOf(TABLES.endpoint, [[addressBytes('10.244.0.1'), { ...pod, ingressSet: endpoints }]]),
      backend: entriesOf(
        TABLES.backend,
        services.backends.map(({ key, value }) => [key, value] as const),
      ),
      service: entriesOf(
        TABLES.service,
        services.frontends.map(({ key, value }) => [key, value] as const),
      ),
    },
  };
}

function holds(object: BpfObject, plan: MapPlan): void {
  for (const name of FILL_ORDER) {
    const held = object
      .map(TABLES[name].name)
      .entries()
      .map(([key, value]) => [keyText(key), value.toString('hex')] as const);
    const wanted = [...plan.wanted[name]].map(([key, { value }]) => [key, value.toString('hex')] as const);
    assert.deepEqual(new Map(held.toSorted()), new Map(wanted.toSorted()), name);
  }
}

test('the maps of the kernel become what a plan says, are left alone then, and are mended', async () => {
  using object = openObject(OBJECT).load();
  const stores = Object.fromEntries(
    FILL_ORDER.map((name) => [name, new MirroredMap(object.map(TABLES[name].name))]),
  ) as Record<PlannedMap, MirroredMap>;
  for (const endpoints of [2, 5, 0, 3]) {
    const plan = planOf(endpoints);
    await reconcileAll(stores, plan);
    holds(object, plan);
    const again = await reconcileAll(stores, plan);
    assert.deepEqual(new Set(Object.values(again).flatMap(Object.values)), new Set([0]));
  }
  const plan = planOf(3);
  const [[gone] = [Buffer.alloc(0)]] = object.map('service_map').entries();
  object.map('service_map').delete(gone);
  const [[lpm] = [Buffer.alloc(0)]] = object.map('cidr_map').entries();
  object.map('cidr_map').update(lpm, Buffer.alloc(4));
  object.map('endpoint_map').update(noAddress(), Buffer.alloc(TABLES.endpoint.value.sizeBytes));
  for (const store of Object.values(stores)) store.reread();
  const mended = await reconcileAll(stores, plan);
  holds(object, plan);
  assert.deepEqual(mended.service, { added: 1, changed: 0, removed: 0 });
  assert.deepEqual(mended.cidr, { added: 0, changed: 1, removed: 0 });
  assert.deepEqual(mended.endpoint, { added: 0, changed: 0, removed: 1 });
});
