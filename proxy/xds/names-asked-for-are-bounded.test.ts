import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { TYPE } from '../../common/wire/types.ts';
import { CATALOG, Link, SERVICES, service, web } from '../../test/support/config-link.ts';
import { DEFAULT_CONFIG_LIMITS } from './limits.ts';

const KNOWN = { kind: 'mesh', key: CATALOG };

let link: Link;

beforeEach(() => {
  link = new Link();
  link.connect();
});

test('an app that asks for many names fills nothing, and does not lose what it uses', async () => {
  link = new Link({ subscriptionsMax: 500 });
  link.connect();
  assert.deepEqual(await link.find('catalog'), KNOWN);
  for (let index = 0; index < 1_200; index++) {
    assert.deepEqual(await link.find(`name-${index}`), { kind: 'external' });
  }
  assert.equal(link.store.subscriptionCount(), 500);
  assert.deepEqual(link.store.find('catalog', 80), KNOWN);
  const [listeners] = link.store.resubscription().filter(({ type }) => type === TYPE.listener);
  assert.equal(listeners?.subscribe.length, 501, 'those, and the own side');
});

test('a name more costs no more when there are thousands already', async () => {
  link.objects = [web, ...SERVICES];
  const few = await secondsFor(link, 'few', 200);
  for (let index = 0; index < 3_500; index++) void link.store.find(`name-${index}`, 80);
  link.exchange();
  const many = await secondsFor(link, 'many', 200);
  assert.ok(many < few * 10 + 0.1, `200 names took ${few} s, and ${many} s later`);
});

/** The sidecar's own work only: nobody answers. */
async function secondsFor(on: Link, label: string, count: number): Promise<number> {
  on.heldBack = () => true;
  const startMs = performance.now();
  for (let index = 0; index < count; index++) void on.store.find(`${label}-${index}`, 80);
  const tookMs = performance.now() - startMs;
  on.heldBack = undefined;
  await on.clock.advance(DEFAULT_CONFIG_LIMITS.configWaitMs);
  return tookMs / 1_000;
}

test('requests that wait are bounded: one more is refused at once', async () => {
  link = new Link({ waitersMax: 2 });
  const waiting = [link.store.find('a', 80), link.store.find('a', 80)];
  assert.deepEqual(link.store.find('a', 80), { kind: 'unavailable' });
  assert.deepEqual(link.store.find('catalog', 80), { kind: 'unavailable' });
  await link.clock.advance(DEFAULT_CONFIG_LIMITS.configWaitMs);
  assert.deepEqual(await Promise.all(waiting), [{ kind: 'unavailable' }, { kind: 'unavailable' }]);
  assert.ok(link.store.find('b', 80) instanceof Promise, 'there is room again');
  link.store.close();
});

test('one answer wakes everybody who waits for it, and nobody else', async () => {
  const asked = [
    link.store.find('catalog', 80),
    link.store.find('10.96.0.1', 80),
    link.store.find('catalog.shop', 80),
  ];
  link.heldBack = (response) => response.typeUrl === TYPE.listener;
  link.exchange();
  assert.ok(asked.every((found) => found instanceof Promise));
  link.heldBack = undefined;
  link.connect();
  link.exchange();
  assert.deepEqual(await Promise.all(asked), [KNOWN, KNOWN, KNOWN]);
  assert.equal(link.clock.pendingTimers(), 0);
});

test('a destination that was known by its address only is asked for by its name when it is needed', async () => {
  assert.deepEqual(await link.find('10.96.0.1'), KNOWN);
  link.objects = [web];
  link.exchange();
  assert.deepEqual(link.store.find('10.96.0.1', 80), { kind: 'external' });
  link.objects = [web, ...SERVICES];
  assert.ok(link.store.find('catalog', 80) instanceof Promise, 'nothing is known of this name');
  link.exchange();
  assert.deepEqual(link.store.find('catalog', 80), KNOWN);
});

test('a destination used by name and by address stays for as long as one of them is used', async () => {
  await link.find('catalog');
  await link.clock.advance(DEFAULT_CONFIG_LIMITS.idleMs - 1_000);
  assert.deepEqual(await link.find('10.96.0.1'), KNOWN);
  await link.clock.advance(2_000);
  link.store.dropIdle();
  link.exchange();
  assert.equal(link.store.subscriptionCount(), 1);
  assert.deepEqual(link.store.find('10.96.0.1', 80), KNOWN);
  await link.clock.advance(DEFAULT_CONFIG_LIMITS.idleMs);
  link.store.dropIdle();
  link.exchange();
  assert.equal(link.store.subscriptionCount(), 0);
  assert.deepEqual(link.store.contents(), { destinations: [], clusters: [] });
});

test('an address that moves to another service is that service', async () => {
  assert.deepEqual(await link.find('10.96.0.1'), KNOWN);
  link.objects = [web, ...service('cart', '10.96.0.1')];
  link.exchange();
  assert.deepEqual(link.store.find('10.96.0.1', 80), {
    kind: 'mesh',
    key: 'cart.shop.svc.cluster.local:80',
  });
});

test('what made way while there was no stream is not known on the next one', async () => {
  link = new Link({ subscriptionsMax: 1 });
  link.connect();
  assert.deepEqual(await link.find('cart'), { kind: 'external' });
  link.disconnect();
  const waiting = link.store.find('catalog', 80);
  link.connect();
  link.exchange();
  assert.deepEqual(await waiting, KNOWN);
  assert.deepEqual(
    link.store.find('cart', 80),
    { kind: 'unavailable' },
    'catalog is in use and keeps its place',
  );
  assert.equal(link.store.subscriptionCount(), 1);
});

test('without a control plane what is known stays known, and what is not is refused after a while', async () => {
  await link.find('catalog');
  await link.find('example.com');
  link.disconnect();
  await link.clock.advance(10 * DEFAULT_CONFIG_LIMITS.idleMs);
  assert.deepEqual(link.store.find('catalog', 80), KNOWN);
  assert.deepEqual(link.store.find('example.com', 80), { kind: 'external' });
  const unknown = link.store.find('10.96.0.77', 80);
  await link.clock.advance(DEFAULT_CONFIG_LIMITS.configWaitMs);
  assert.deepEqual(await unknown, { kind: 'unavailable' });
});

test('once closed nothing is found and nobody waits', async () => {
  const waiting = link.store.find('catalog', 80);
  link.store.close();
  assert.deepEqual(await waiting, { kind: 'unavailable' });
  assert.deepEqual(link.store.find('catalog', 80), { kind: 'unavailable' });
  assert.equal(link.clock.pendingTimers(), 0);
});
