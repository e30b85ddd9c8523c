import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TYPE } from '../../common/wire/types.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { DeliveryTracker, nackCharactersMax } from './tracker.ts';

const CLIENT = { namespace: 'shop', pod: 'web', bind: {} };
const NODE = { nodeId: 'node', identity: 'spiffe://cluster.local/ns/shop/sa/web', client: CLIENT };

function setUp() {
  const clock = new VirtualClock();
  const tracker = new DeliveryTracker(NODE, 'delta', clock);
  const send = (...names: string[]) =>
    tracker.sent(TYPE.cluster, new Map(names.map((name) => [name, 'v'])), 1);
  const kinds = (...names: string[]) => names.map((name) => tracker.delivery(TYPE.cluster, name)?.kind);
  return { clock, tracker, send, kinds };
}

test('an acknowledgement settles what its response carried, and nothing else', async () => {
  const { clock, tracker, send, kinds } = setUp();
  const first = send('a', 'b');
  send('c');
  await clock.advance(1_000);
  assert.equal(tracker.acked(first), true);
  assert.deepEqual(kinds('a', 'b', 'c'), ['acked', 'acked', 'pending']);
  assert.equal(tracker.unanswered, 1);
  assert.equal(tracker.info().pending.Cluster, 1);
  assert.equal(tracker.info().lastAckAtMs, clock.wallMs());
});

test('an acknowledgement of a version that was replaced meanwhile leaves the newer one pending', () => {
  const { tracker, kinds } = setUp();
  const first = tracker.sent(TYPE.cluster, new Map([['a', 'v1']]), 1);
  tracker.sent(TYPE.cluster, new Map([['a', 'v2']]), 1);
  tracker.acked(first);
  assert.deepEqual(kinds('a'), ['pending']);
});

test('each nonce is answered once', () => {
  const { tracker, send } = setUp();
  const nonce = send('a');
  assert.equal(tracker.nacked(nonce, 'no'), true);
  assert.equal(tracker.acked(nonce), false);
  assert.equal(tracker.nacked('17', 'no'), false);
  assert.equal(tracker.info().lastNack?.message, 'no');
});

const BLAMED: readonly (readonly [string, string, readonly string[]])[] = [
  ['a name in quotes', 'Cluster "b": field: reason', ['b']],
  ['two names in quotes', 'Cluster "a": x; Cluster "b": y', ['a', 'b']],
  ['a bare name, as Envoy writes it', 'Error adding/updating cluster(s) b: reason', ['b']],
  ['bare names with bars and dots', 'cluster(s) outbound|80||a.shop: duplicate', ['outbound|80||a.shop']],
  ['a name that only begins another one', 'cluster(s) outbound|80||a.shop.svc: no', ALL()],
  ['a name inside a word', 'cannot bind', ALL()],
  ['no name at all', 'not today', ALL()],
];

function ALL(): readonly string[] {
  return ['a', 'b', 'outbound|80||a.shop'];
}

for (const [what, message, blamed] of BLAMED) {
  test(`refused with ${what}: ${blamed.join(', ')}`, () => {
    const { tracker, send, kinds } = setUp();
    tracker.nacked(send(...ALL()), message);
    assert.deepEqual(
      kinds(...ALL()),
      ALL().map((name) => (blamed.includes(name) ? 'nacked' : 'acked')),
    );
  });
}

test('a refusal tells type, resource, words and time, and ends with a later version', async () => {
  const { clock, tracker, send } = setUp();
  await clock.advance(5_000);
  tracker.nacked(send('a'), 'no');
  const refused = { type: 'Cluster', resource: 'a', message: 'no', atMs: clock.wallMs() };
  assert.deepEqual(tracker.info().lastNack, refused);
  tracker.acked(send('b'));
  assert.deepEqual(tracker.info().lastNack, refused);
  tracker.acked(send('a'));
  assert.equal(tracker.info().lastNack, undefined);
});

test('a refusal ends when its resource goes', () => {
  const { tracker, send } = setUp();
  tracker.nacked(send('a'), 'no');
  tracker.forget(TYPE.endpoints, 'a');
  assert.notEqual(tracker.info().lastNack, undefined);
  tracker.forget(TYPE.cluster, 'a');
  assert.equal(tracker.info().lastNack, undefined);
});

test('of the words of a refusal so many are kept', () => {
  const { tracker, send } = setUp();
  tracker.nacked(send('a'), 'x'.repeat(1_000_000));
  assert.equal(tracker.info().lastNack?.message.length, nackCharactersMax);
});

test('what a proxy says it held before counts as acknowledged', () => {
  const { tracker, kinds } = setUp();
  tracker.held(TYPE.cluster, 'a', 'v');
  assert.deepEqual(kinds('a'), ['acked']);
  assert.deepEqual(
    [tracker.info().subscriptions.Cluster, tracker.info().pending.Cluster, tracker.info().lastAckAtMs],
    [1, 0, undefined],
  );
});

test('a proxy is shown by node id, pod, identity and protocol', () => {
  const { clock, tracker } = setUp();
  const { nodeId, pod, identity, protocol, connectedAtMs } = tracker.info();
  assert.deepEqual(
    { nodeId, pod, identity, protocol, connectedAtMs },
    {
      ...{ nodeId: 'node', pod: 'shop/web', identity: NODE.identity },
      ...{ protocol: 'delta', connectedAtMs: clock.wallMs() },
    },
  );
});
