import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { HeddleError } from '../../common/errors.ts';
import { silentLogger } from '../../common/log.ts';
import { seededRandom } from '../../common/random.ts';
import { FakeApi, status } from '../../test/support/kubernetes/fake-api.ts';
import { type EventFault, NO_FAULTS, type RequestFault } from '../../test/support/kubernetes/faults.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { kubernetesClient } from './client.ts';
import { KINDS, type KubeKind } from './kinds.ts';
import {
  ABSENT_ANSWERS,
  ABSENT_RETRY_MS,
  CHANGE_BATCH_MS,
  FORBIDDEN_RETRY_MS,
  LIST_PAGE_OBJECTS,
  RELIST_MS,
  RETRY_BACKOFF,
  WATCH_LASTS_MS,
  WATCH_SILENCE_GRACE_MS,
} from './limits.ts';
import { type ClusterSource, watchCluster } from './watch.ts';

leakCheck();

const { service, httpRoute, pod } = KINDS;

let clock: VirtualClock;
let api: FakeApi;
let source: ClusterSource | undefined;
let changes: number;

beforeEach(() => {
  clock = new VirtualClock();
  api = new FakeApi([service, pod]);
  source = undefined;
  changes = 0;
});

afterEach(async () => {
  source?.close();
  await clock.advance(1_000);
  assert.equal(api.openWatches, 0, 'no watch is left open');
});

function follow(kinds: readonly KubeKind[] = [service], onChange = () => {}): ClusterSource {
  source = watchCluster({
    client: kubernetesClient({ transport: api.transport(), clock }),
    kinds: kinds.map((kind) => ({ kind })),
    ...{ clock, log: silentLogger, random: seededRandom(1) },
    onChange: () => {
      changes++;
      onChange();
    },
  });
  return source;
}

function put(name: string, spec: object = {}, kind: KubeKind = service): void {
  api.put(kind, { metadata: { namespace: 'shop', name }, spec: { ...spec } });
}

const names = () => source?.current().objects.map(({ object }) => object.metadata.name);
const state = () => source?.kinds().map(({ condition }) => condition);

async function isSynced(): Promise<boolean> {
  const late = Symbol('late');
  return (await Promise.race([source?.synced, Promise.resolve(late)])) !== late;
}

/** The next request, or the next event, has this fault; all others have none. */
function once(fault: { readonly request?: RequestFault; readonly event?: EventFault }): void {
  let { request, event } = fault;
  api.faults = {
    request: () => {
      const drawn = request;
      request = undefined;
      return drawn;
    },
    event: () => {
      const drawn = event;
      event = undefined;
      return drawn;
    },
  };
}

test('what there is is listed, and then changes are told, several of one moment at once', async () => {
  put('a');
  put('b');
  const followed = follow();
  await clock.advance(0);
  await followed.synced;
  assert.deepEqual(names(), ['a', 'b']);
  const [, kept] = followed.current().objects;
  await clock.advance(100);
  changes = 0;
  put('a', { port: 1 });
  put('c');
  api.delete(service, { namespace: 'shop', name: 'b' });
  put('b', { made: 'anew' });
  await clock.advance(CHANGE_BATCH_MS);
  assert.equal(changes, 1);
  assert.deepEqual(names(), ['a', 'c', 'b']);
  assert.notEqual(followed.current().objects[2], kept);
});

test('a new version that says the same changes nothing', async () => {
  put('a');
  follow();
  await clock.advance(100);
  const before = source?.current();
  changes = 0;
  put('a');
  await clock.advance(100);
  assert.equal(changes, 0);
  assert.equal(source?.current(), before);
});

test('whoever takes long with a change is left as much time in between', async () => {
  const tookMs = 400;
  follow([service], () => {
    // A virtual clock stands still while somebody works: it is moved by hand.
    workedMs += tookMs;
  });
  let workedMs = 0;
  const { now } = clock;
  clock.now = () => now.call(clock) + workedMs;
  await clock.advance(100);
  put('a');
  await clock.advance(CHANGE_BATCH_MS);
  assert.equal(changes, 1);
  put('b');
  await clock.advance(tookMs - 1);
  assert.equal(changes, 1);
  await clock.advance(1);
  assert.equal(changes, 2);
});

test('long lists come in pages, and in one piece where a page has expired', async () => {
  for (let index = 0; index < 2 * LIST_PAGE_OBJECTS + 1; index++) put(`s${index}`);
  follow();
  await clock.advance(0);
  assert.ok(await isSynced());
  assert.equal(api.lists, 3);
  assert.equal(names()?.length, 2 * LIST_PAGE_OBJECTS + 1);
  source?.close();

  api.lists = 0;
  let asked = 0;
  api.faults = { ...NO_FAULTS, request: () => (++asked >= 2 && asked <= 3 ? 'page-expired' : undefined) };
  follow();
  await clock.advance(RETRY_BACKOFF.baseMs * 4);
  assert.ok(await isSynced());
  assert.equal(api.lists, 3, 'a page, an expired one, all of it');
});

test('a bookmark carries a quiet watch over what the server forgets', async () => {
  put('a');
  follow();
  await clock.advance(100);
  put('elsewhere', {}, pod);
  api.bookmark();
  await clock.advance(100);
  api.compact();
  api.restart();
  await clock.advance(RETRY_BACKOFF.baseMs);
  put('b');
  await clock.advance(100);
  assert.deepEqual(names(), ['a', 'b']);
  assert.equal(api.lists, 1);
});

test('a server that forgot where we were is asked for a list', async () => {
  put('a');
  follow();
  await clock.advance(100);
  put('elsewhere', {}, pod);
  api.compact();
  api.restart();
  put('b');
  await clock.advance(5_000);
  assert.deepEqual(names(), ['a', 'b']);
  assert.equal(api.lists, 2);
});

test('a server whose versions begin again below ours is asked for a list', async () => {
  put('a');
  follow();
  await clock.advance(100);
  api.restart('lower');
  put('b');
  await clock.advance(5_000);
  assert.deepEqual(names(), ['a', 'b']);
  assert.equal(api.lists, 2);
  assert.equal(api.looks, 1);
});

test('a watch that is silent for longer than it was to last is dropped', async () => {
  follow();
  await clock.advance(100);
  once({ event: 'silent' });
  put('a');
  put('b');
  await clock.advance(WATCH_LASTS_MS);
  assert.deepEqual(names(), []);
  await clock.advance(WATCH_LASTS_MS / 2 + WATCH_SILENCE_GRACE_MS + RETRY_BACKOFF.baseMs);
  assert.deepEqual(names(), ['a', 'b']);
  assert.equal(api.lists, 1, 'it goes on where it was');
});

test('an event that got lost without a trace is made good by the list of the hour', async () => {
  follow();
  await clock.advance(100);
  once({ event: 'lost' });
  put('a');
  put('b');
  await clock.advance(RELIST_MS - 1_000);
  assert.deepEqual(names(), ['b']);
  await clock.advance(RELIST_MS / 2 + WATCH_LASTS_MS * 1.5 + WATCH_SILENCE_GRACE_MS + 1_000);
  assert.deepEqual(names()?.toSorted(), ['a', 'b']);
});

test('an event that comes after a later one is a reason to list', async () => {
  put('a');
  put('b');
  follow();
  await clock.advance(100);
  once({ event: 'swapped' });
  put('a', { port: 1 });
  put('b', { port: 1 });
  await clock.advance(RETRY_BACKOFF.baseMs + 100);
  assert.equal(api.lists, 2);
  assert.deepEqual(
    source?.current().objects.map(({ object }) => object.spec),
    [{ port: 1 }, { port: 1 }],
  );
});

test('a kind that is not installed is no reason to wait, and is found when it comes', async () => {
  put('a');
  follow([service, httpRoute]);
  await clock.advance(100);
  assert.ok(await isSynced());
  assert.deepEqual(state(), ['listed', 'absent']);
  assert.deepEqual(source?.current().problems, []);
  await clock.advance(600_000);
  assert.ok(api.lists <= 2 + 600_000 / ABSENT_RETRY_MS, `${api.lists} lists`);
  api.install(httpRoute);
  put('r', {}, httpRoute);
  await clock.advance(ABSENT_RETRY_MS * 1.5);
  assert.deepEqual(names(), ['a', 'r']);
});

test('a kind whose objects we hold is gone only when the server says so three times', async () => {
  api.install(httpRoute);
  put('r', {}, httpRoute);
  follow([httpRoute]);
  await clock.advance(100);
  let answers = 0;
  api.handle = async () => {
    answers++;
    return status(404, 'NotFound', 'the server could not find the requested resource');
  };
  api.endWatches();
  while (answers < ABSENT_ANSWERS - 1) await clock.advance(1_000);
  assert.deepEqual(names(), ['r']);
  await clock.advance(ABSENT_RETRY_MS * 1.5);
  assert.deepEqual(names(), []);
  assert.deepEqual(state(), ['absent']);
});

test('without the right to read a kind nothing is whole; it is told, and mended while it runs', async () => {
  put('a');
  put('p', {}, pod);
  api.allow(pod, 'forbidden');
  follow([service, pod]);
  await clock.advance(60_000);
  assert.equal(await isSynced(), false);
  assert.equal(changes, 0);
  assert.match(source?.current().problems[0]?.message ?? '', /^Pod objects can't be read.*may not list pods/);
  assert.ok(api.lists <= 2 + 60_000 / FORBIDDEN_RETRY_MS, `${api.lists} lists`);
  api.allow(pod, 'allowed');
  await clock.advance(FORBIDDEN_RETRY_MS * 1.5);
  assert.ok(await isSynced());
  assert.deepEqual(source?.current().problems, []);
});

test('while the server is away everything stays, is told, and nobody is pestered', async () => {
  put('a');
  follow();
  await clock.advance(100);
  api.faults = { ...NO_FAULTS, request: () => 'unreachable' };
  api.restart();
  await clock.advance(600_000);
  assert.deepEqual(names(), ['a']);
  assert.match(source?.current().problems[0]?.message ?? '', /^Service objects stay as they were/);
  const asked = api.looks + api.watches;
  assert.ok(asked < 80, `${asked} requests in ten minutes`);
  put('b');
  api.faults = NO_FAULTS;
  await clock.advance(RETRY_BACKOFF.maxMs);
  assert.deepEqual(names(), ['a', 'b']);
  assert.deepEqual(source?.current().problems, []);
  assert.equal(api.lists, 1);
});

test('a server that asks for time gets it', async () => {
  follow();
  await clock.advance(100);
  put('a');
  once({ request: 'busy' });
  api.endWatches();
  await clock.advance(900);
  assert.equal(api.watches, 2);
  await clock.advance(RETRY_BACKOFF.baseMs + 100);
  assert.equal(api.watches, 3);
});

test('a server that ends every watch at once is asked ever more seldom', async () => {
  follow();
  const ending = clock.every(100, () => api.endWatches());
  await clock.advance(300_000);
  ending.cancel();
  assert.ok(api.watches < 60, `${api.watches} watches in five minutes`);
});

test('a route that can no longer be used keeps its last sound version beside it', async () => {
  api.install(httpRoute);
  const parentRefs = [{ group: '', kind: 'Service', name: 'catalog' }];
  const rules = (request: string) => ({ parentRefs, rules: [{ timeouts: { request } }] });
  put('r', rules('1s'), httpRoute);
  follow([httpRoute]);
  await clock.advance(100);
  assert.equal(source?.current().objects[0]?.lastGood, undefined);
  put('r', rules('soon'), httpRoute);
  await clock.advance(100);
  assert.deepEqual(source?.current().objects[0]?.lastGood?.spec, rules('1s'));
  api.delete(httpRoute, { namespace: 'shop', name: 'r' });
  put('r', rules('soon'), httpRoute);
  await clock.advance(100);
  assert.equal(source?.current().objects[0]?.lastGood, undefined, 'another object of that name');
});

test('closed before all is known, it says so', async () => {
  api.faults = { ...NO_FAULTS, request: () => 'hanging' };
  const followed = follow();
  await clock.advance(100);
  followed.close();
  await assert.rejects(
    followed.synced,
    (thrown) => thrown instanceof HeddleError && thrown.code === 'closed',
  );
});
