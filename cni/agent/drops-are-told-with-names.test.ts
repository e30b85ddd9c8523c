import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import type { DropRecord } from '../../common/pod-network.ts';
import { AgentWorld, dropBytes, type EventPart, localPod } from '../../test/support/agent-world.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { networkPolicy } from '../../test/support/policy-objects.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { DIRECTION, PROTOCOL } from '../maps/constants.ts';
import { DROP } from '../maps/drops.ts';
import { DROP_LIMITS } from './drops.ts';

leakCheck();

const POLICIES = [
  networkPolicy('deny-all', { podSelector: {}, policyTypes: ['Ingress'] }),
  networkPolicy('db-only', {
    podSelector: { matchLabels: { app: 'db' } },
    ingress: [{ ports: [{ port: 5432 }] }],
  }),
];

let clock: VirtualClock;
let world: AgentWorld;
beforeEach(() => {
  clock = new VirtualClock();
  world = new AgentWorld(clock, POLICIES);
});

const take = (part?: EventPart) => world.drops.take(dropBytes(clock, part));
const last = (): DropRecord => {
  const record = world.drops.records().at(-1);
  assert.ok(record !== undefined);
  return record;
};

test('a drop names both pods, the direction, the port and every policy that isolates the receiver', () => {
  take({ set: world.setOf('db', 'ingress'), ageMs: 5 });
  assert.deepEqual(last(), {
    ...{ sequence: 1, node: 'n1', at: '2025-12-31T23:59:59.995Z', packets: 1, bytes: 60 },
    ...{ direction: 'ingress', reason: 'policy', message: DROP.POLICY.sentence, protocol: 'TCP' },
    from: { kind: 'pod', name: 'shop/far', ip: '10.244.2.7', port: 40_000 },
    to: { kind: 'pod', name: 'shop/db', ip: '10.244.1.6', port: 8080 },
    policies: ['shop/db-only', 'shop/deny-all'],
  });
});

const ENDS: readonly (readonly [string, EventPart, string])[] = [
  ['a node', { destination: '172.31.0.12' }, 'node n2'],
  ['a Service of the cluster', { destination: '10.96.1.1', destinationPort: 80 }, 'service shop/web'],
  ['a NodePort', { destination: '172.31.0.11', destinationPort: 30_080 }, 'service shop/web'],
  ['another port of a node', { destination: '172.31.0.11', destinationPort: 30_081 }, 'node n1'],
  ["the cluster's DNS", { destination: '10.96.0.10', destinationPort: 53, protocol: PROTOCOL.UDP }, 'dns '],
  ['the control plane', { destination: '172.31.0.1', destinationPort: 15_012 }, 'control-plane '],
  ['an address of the pod network that nobody has', { destination: '10.244.2.99' }, 'unknown '],
  ['the rest of the world', { destination: '2001:db8::1' }, 'world '],
];
for (const [what, part, expected] of ENDS)
  test(`${what} is told apart`, () => {
    take({ direction: DIRECTION.EGRESS, reason: DROP.BYPASS.code, ...part });
    const { to, direction, reason, policies } = last();
    assert.equal(`${to.kind} ${to.name}`, expected);
    assert.deepEqual([direction, reason, policies], ['egress', 'bypass', []]);
  });

test('a drop is named by who had the address when it was dropped, not when it was read or shown', async () => {
  await clock.advance(1_000);
  const renamed = { ...world.knowledge(), localPods: [localPod('heir', 4, ['10.244.1.6'], false)], pods: [] };
  world.drops.know(renamed);
  take({ ageMs: 20 });
  assert.equal(last().to.name, 'shop/db');
  await clock.advance(100);
  take({ destinationPort: 81 });
  assert.equal(last().to.name, 'shop/heir');
  assert.equal(world.drops.records()[0]?.to.name, 'shop/db');
});

test('a set that the plan gave up a moment ago is still known', () => {
  const set = world.setOf('db', 'ingress');
  world.drops.know({ ...world.knowledge(), policy: { sets: new Map() } });
  take({ set });
  assert.deepEqual(last().policies, ['shop/db-only', 'shop/deny-all']);
});

test('the first packet of a flow is told at once, those within a second of it as one more record', async () => {
  const seen: DropRecord[] = [];
  const stop = world.drops.subscribe((record) => seen.push(record));
  for (let packet = 0; packet < 1_000; packet++) take({ sourcePort: 40_000 + packet });
  assert.deepEqual(
    seen.map(({ packets }) => packets),
    [1],
  );
  await clock.advance(DROP_LIMITS.foldMs);
  assert.deepEqual(
    seen.map(({ packets, bytes }) => [packets, bytes]),
    [
      [1, 60],
      [999, 999 * 60],
    ],
  );
  // The flow goes on: still one record a second.
  take();
  take();
  await clock.advance(DROP_LIMITS.foldMs);
  assert.equal(seen.at(-1)?.packets, 2);
  await clock.advance(10 * DROP_LIMITS.foldMs);
  assert.equal(seen.length, 3, 'a flow that rests is not told again');
  stop();
  take();
  assert.equal(seen.length, 3);
  assert.deepEqual(world.drops.counts(), { packets: 1_003, records: 4, unlisted: 0, lost: undefined });
});

test('flows differ by address, port, protocol, direction, reason and set', () => {
  const parts: EventPart[] = [
    {},
    { source: '10.244.1.5' },
    { destination: '10.244.1.5' },
    { destinationPort: 81 },
    { protocol: PROTOCOL.UDP },
    { direction: DIRECTION.EGRESS },
    { reason: DROP.SPOOFED.code },
    { set: 7 },
  ];
  for (const part of parts) take(part);
  assert.equal(world.drops.records().length, parts.length);
  take({ sourcePort: 1, bytes: 1_000 });
  assert.equal(world.drops.records().length, parts.length);
});

test('a scan of many ports makes so many records a second and no more; the rest is counted', async () => {
  const { recordsPerSecondMax } = DROP_LIMITS;
  for (let port = 1; port <= 1_000; port++) take({ destinationPort: port });
  assert.equal(world.drops.records().length, recordsPerSecondMax);
  assert.equal(world.drops.counts().unlisted, 1_000 - recordsPerSecondMax);
  await clock.advance(1_000);
  take({ destinationPort: 2_000 });
  assert.equal(last().to.port, 2_000);
});

test('only the newest records are kept', async () => {
  world = new AgentWorld(clock, [], { dropsKeptMax: 8, recordsPerSecondMax: 1_000, foldMs: 1_000 });
  for (let port = 1; port <= 100; port++) {
    take({ destinationPort: port });
    assert.ok(world.drops.records().length <= 8);
  }
  assert.deepEqual(
    world.drops.records().map(({ to }) => to.port),
    [93, 94, 95, 96, 97, 98, 99, 100],
  );
  await clock.advance(2_000);
});

test('an event of another version is refused by name', () => {
  assert.throws(() => world.drops.take(Buffer.alloc(8)), { code: 'map-value-size' });
});

test('what the kernel lost never gets less', () => {
  world.drops.setLost(10);
  world.drops.setLost(4);
  assert.equal(world.drops.counts().lost, 10);
});
