import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TYPE } from '../../common/wire/types.ts';
import type { ObjectStatus } from '../../model/mesh.ts';
import { CATALOG_KEY, meshOf, policy, route, SHOP } from '../../test/support/small-mesh.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { DeltaClient } from '../../test/support/xds-clients.ts';
import { translate, translationCache } from '../translate/translator.ts';
import { StatusBook } from './book.ts';
import { Programming } from './programmed.ts';

const PORT = { namespace: 'shop', name: 'r', parent: 'shop/catalog' };
const to = (backend: string, generation: number) =>
  route({ ...PORT, generation, rules: [{ backendRefs: [{ name: backend, port: 80 }] }] });

class Told {
  readonly clock = new VirtualClock();
  readonly book = new StatusBook(this.clock);

  tell(objects: readonly object[], ...clients: DeltaClient[]): void {
    const mesh = meshOf(objects);
    const trackers = clients.map(({ tracker }) => tracker);
    this.book.update(mesh.statuses, new Programming(translate(mesh, 'PEM', translationCache()), trackers));
  }

  /** `status` of an object, as JSON has it. */
  shape(kind: string, namespace = 'shop', name = 'r') {
    const status = this.book.find(kind, namespace, name);
    return status === undefined ? undefined : JSON.parse(JSON.stringify(this.book.shape(status)));
  }

  /** Type, status and minute of each condition of the route. */
  conditions(): string[] {
    const { conditions } = this.shape('HTTPRoute').parents[0];
    return conditions.map(
      (one: { type: string; status: string; observedGeneration: number; lastTransitionTime: string }) =>
        `${one.type} ${one.status} g${one.observedGeneration} ${one.lastTransitionTime.slice(14, 16)}`,
    );
  }
}

test('a condition keeps its time until its status changes, whatever else is edited', async () => {
  const told = new Told();
  told.tell([...SHOP, to('v1', 1)]);
  assert.deepEqual(told.conditions(), [
    'Accepted True g1 00',
    'ResolvedRefs True g1 00',
    'Programmed True g1 00',
  ]);
  await told.clock.advance(60_000);
  told.tell([...SHOP, to('v2', 2)]);
  assert.deepEqual(told.conditions(), [
    'Accepted True g2 00',
    'ResolvedRefs True g2 00',
    'Programmed True g2 00',
  ]);
  await told.clock.advance(60_000);
  told.tell([...SHOP, to('missing', 3)]);
  assert.deepEqual(told.conditions(), [
    'Accepted True g3 00',
    'ResolvedRefs False g3 02',
    'Programmed True g3 00',
  ]);
});

test('Programmed goes to Unknown and back with what proxies answer', async () => {
  const told = new Told();
  const client = new DeltaClient();
  client.subscribe(TYPE.route, CATALOG_KEY);
  client.turn();
  told.tell([...SHOP, to('v1', 1)], client);
  assert.equal(told.conditions()[2], 'Programmed Unknown g1 00');
  await told.clock.advance(60_000);
  client.objects = [...SHOP, to('v1', 1)];
  client.turn();
  told.tell(client.objects, client);
  assert.equal(told.conditions()[2], 'Programmed True g1 01');
});

test('an object that comes back starts anew', async () => {
  const told = new Told();
  told.tell([...SHOP, to('v1', 1)]);
  told.tell(SHOP);
  assert.equal(told.shape('HTTPRoute'), undefined);
  await told.clock.advance(60_000);
  told.tell([...SHOP, to('v1', 1)]);
  assert.equal(told.conditions()[0], 'Accepted True g1 01');
});

test('a route has the status of the Gateway API: parents with references', () => {
  const told = new Told();
  told.tell([...SHOP, to('v1', 1)]);
  const [parent] = told.shape('HTTPRoute').parents;
  assert.equal(parent.controllerName, 'heddle.dev/mesh-controller');
  assert.deepEqual(parent.parentRef, {
    group: '',
    kind: 'Service',
    namespace: 'shop',
    name: 'catalog',
    port: 80,
  });
});

const ANCESTORS: readonly (readonly [string, object, object])[] = [
  [
    'a rule of a route',
    policy('TrafficPolicy', 'shop', 'p', {
      targetRefs: [
        { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'r', sectionName: 'canary' },
      ],
      timeouts: { request: '1s' },
    }),
    {
      group: 'gateway.networking.k8s.io',
      kind: 'HTTPRoute',
      namespace: 'shop',
      name: 'r',
      sectionName: 'canary',
    },
  ],
  [
    'a namespace',
    policy('MTLSPolicy', 'shop', 'p', { mode: 'STRICT' }),
    { group: '', kind: 'Namespace', name: 'shop' },
  ],
  [
    'the mesh',
    policy('MTLSPolicy', 'heddle-system', 'p', { mode: 'STRICT' }),
    { group: '', kind: 'Mesh', name: 'mesh' },
  ],
  [
    'pods by their labels',
    policy('MTLSPolicy', 'shop', 'p', { mode: 'STRICT', selector: { matchLabels: { app: 'web' } } }),
    { group: '', kind: 'Pods', name: 'shop app=web' },
  ],
];

for (const [what, object, reference] of ANCESTORS) {
  test(`a policy has ancestors: ${what}`, () => {
    const told = new Told();
    const canary = { name: 'canary', backendRefs: [{ name: 'v1', port: 80 }] };
    told.tell([...SHOP, route({ ...PORT, rules: [canary] }), object]);
    const { kind, metadata } = object as { kind: string; metadata: { namespace: string } };
    const [ancestor] = told.shape(kind, metadata.namespace, 'p').ancestors;
    assert.deepEqual(ancestor.ancestorRef, reference);
  });
}

test('statuses are kept whole, for who lists them', () => {
  const told = new Told();
  told.tell([...SHOP, to('v1', 1)]);
  const types = told.book.statuses().flatMap((status: ObjectStatus) => status.parents[0]?.conditions ?? []);
  assert.deepEqual(
    types.map(({ type }) => type),
    ['Accepted', 'ResolvedRefs', 'Programmed'],
  );
});
