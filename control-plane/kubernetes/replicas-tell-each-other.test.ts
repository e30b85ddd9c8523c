import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeddleError } from '../../common/errors.ts';
import { silentLogger } from '../../common/log.ts';
import { type ResourceType, TYPE } from '../../common/wire/types.ts';
import { FakeClusterApi } from '../../test/support/fake-cluster-api.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { CATALOG_KEY, meshOf, route, SHOP } from '../../test/support/small-mesh.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { DeltaClient } from '../../test/support/xds-clients.ts';
import { Programming } from '../status/programmed.ts';
import { meshWide, type Peer, type ReplicaReport, tallies } from '../status/replicas.ts';
import { translate, translationCache } from '../translate/translator.ts';
import {
  peerGoneMs,
  peersIdleLookMs,
  peersLookMs,
  Replicas,
  reportGatherMs,
  reportRenewMs,
} from './replicas.ts';

leakCheck();

const REPORT: ReplicaReport = { bundle: 'b', bundleWaiting: 0, bundleWaitingPods: [], objects: {} };

function replica(api: FakeClusterApi, clock: VirtualClock, identity: string, leads = false) {
  const state = { leads, changes: 0 };
  const replicas = new Replicas({
    ...{ api, clock, identity, namespace: 'heddle-system', log: silentLogger },
    leads: () => state.leads,
    onChange: () => {
      state.changes++;
    },
  });
  return { replicas, state };
}

const lease = (api: FakeClusterApi, identity: string) =>
  api.find('Lease', 'heddle-system', `heddle-control-plane-replica-${identity}`);

test('what a replica reports is read by the one that writes, once it has looked', async () => {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  const a = replica(api, clock, 'a', true);
  const b = replica(api, clock, 'b');
  assert.equal(a.replicas.peers(), undefined);
  const report = { ...REPORT, objects: { 'HTTPRoute shop/r': { generation: 3 } } };
  b.replicas.publish(report);
  await clock.advance(reportGatherMs + peersLookMs);
  assert.deepEqual(a.replicas.peers(), [{ name: 'b', report }]);
  assert.equal(b.replicas.peers(), undefined, 'only the one that writes asks');
  assert.equal(a.state.changes > 0, true);
  await a.replicas.close();
  await b.replicas.close();
  assert.equal(lease(api, 'b'), undefined, 'taken back at the end');
});

test('the same report is not written again, but shows that its replica lives', async () => {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  const a = replica(api, clock, 'a', true);
  const b = replica(api, clock, 'b');
  b.replicas.publish(REPORT);
  await clock.advance(60_000);
  for (let second = 0; second < 60; second++) {
    b.replicas.publish({ ...REPORT });
    await clock.advance(1_000);
  }
  const writes = api.writes();
  const reports = writes.filter(({ body }) => JSON.stringify(body).includes('heddle.dev/report'));
  assert.equal(reports.length, 1);
  assert.ok(writes.length <= 1 + 120_000 / reportRenewMs, `${writes.length} writes`);
  assert.deepEqual(a.replicas.peers(), [{ name: 'b', report: REPORT }]);
  await a.replicas.close();
  await b.replicas.close();
});

test('a replica that died is forgotten after a while, and its lease removed', async () => {
  const [api, clock, dead] = [new FakeClusterApi(), new VirtualClock(), new VirtualClock()];
  const a = replica(api, clock, 'a', true);
  const b = replica(api, dead, 'b');
  b.replicas.publish(REPORT);
  await dead.advance(reportGatherMs);
  await clock.advance(peerGoneMs - peersLookMs);
  assert.equal(a.replicas.peers()?.length, 1);
  await clock.advance(3 * peersLookMs);
  assert.deepEqual(a.replicas.peers(), []);
  assert.equal(lease(api, 'b'), undefined);
  // It was only slow: it tells again.
  await dead.advance(reportRenewMs);
  await clock.advance(peersLookMs);
  assert.deepEqual(a.replicas.peers(), [{ name: 'b', report: REPORT }]);
  await a.replicas.close();
  await b.replicas.close();
});

test('whoever takes over from one that died knows by then that it is silent', async () => {
  const [api, clock, dead] = [new FakeClusterApi(), new VirtualClock(), new VirtualClock()];
  const a = replica(api, clock, 'a');
  const b = replica(api, dead, 'b');
  b.replicas.publish(REPORT);
  await dead.advance(reportGatherMs);
  await clock.advance(peerGoneMs + peersIdleLookMs + peersLookMs);
  assert.equal(a.replicas.peers(), undefined);
  a.state.leads = true;
  a.replicas.forget();
  await a.replicas.look();
  assert.deepEqual(a.replicas.peers(), []);
  await clock.advance(peersLookMs);
  assert.equal(lease(api, 'b'), undefined);
  await a.replicas.close();
  await b.replicas.close();
});

test('a report that nobody can read, or that is too large, is none', async () => {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  const a = replica(api, clock, 'a', true);
  const b = replica(api, clock, 'b');
  const name = (index: number) => {
    // What compression makes little of.
    let text = '';
    for (let part = 0; part < 20; part++)
      text += Math.imul(index + 1, 2_654_435_761 + part * 97).toString(36);
    return `HTTPRoute shop/${text}`;
  };
  const objects = Object.fromEntries(
    Array.from({ length: 8_000 }, (_, index) => [name(index), { generation: 1 }]),
  );
  b.replicas.publish({ ...REPORT, objects });
  await clock.advance(5_000);
  assert.deepEqual(a.replicas.peers(), [{ name: 'b', report: undefined }]);
  const stored = lease(api, 'b');
  assert.ok(stored !== undefined);
  api.put({
    ...stored,
    metadata: { ...stored.metadata, annotations: { 'heddle.dev/report': 'bm90IGd6aXA=' } },
  });
  await clock.advance(peersLookMs);
  assert.deepEqual(a.replicas.peers(), [{ name: 'b', report: undefined }]);
  await a.replicas.close();
  await b.replicas.close();
});

test('what could not be told is told once the API server is back', async () => {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  const b = replica(api, clock, 'b');
  api.before = () => {
    throw new HeddleError('kubernetes-unreachable', 'away');
  };
  b.replicas.publish(REPORT);
  await clock.advance(60_000);
  api.before = () => undefined;
  await clock.advance(reportRenewMs);
  assert.ok(lease(api, 'b') !== undefined);
  await b.replicas.close();
  assert.equal(clock.pendingTimers(), 0);
});

test('a lease that the process before left, or somebody removed, is no obstacle', async () => {
  const [api, clock, ended] = [new FakeClusterApi(), new VirtualClock(), new VirtualClock()];
  const before = replica(api, ended, 'b');
  before.replicas.publish(REPORT);
  await ended.advance(reportGatherMs);
  const b = replica(api, clock, 'b');
  b.replicas.publish({ ...REPORT, bundle: 'c' });
  await clock.advance(reportGatherMs);
  const a = replica(api, clock, 'a', true);
  await clock.advance(peersLookMs);
  assert.equal(a.replicas.peers()?.[0]?.report?.bundle, 'c');
  api.drop('Lease', 'heddle-system', 'heddle-control-plane-replica-b');
  await clock.advance(reportRenewMs + peersLookMs);
  assert.equal(a.replicas.peers()?.[0]?.report?.bundle, 'c');
  for (const one of [a, b, before]) await one.replicas.close();
});

/** `Programmed` of one route, as one replica with these clients tells it, given its peers. */
function programmed(clients: readonly DeltaClient[], peers: readonly Peer[], generation = 1) {
  const { mesh, programming } = worldOf(clients, generation);
  const [status] = mesh.statuses;
  const parent = status?.parents[0];
  assert.ok(status !== undefined && parent !== undefined);
  const condition = meshWide(programming, peers).condition(status, parent);
  return `${condition?.status}: ${condition?.message}`;
}

const objectsAt = (generation: number) => [
  ...SHOP,
  route({
    ...{ namespace: 'shop', name: 'r', parent: 'shop/catalog', generation },
    rules: [{ backendRefs: [{ name: 'v1', port: 80 }] }],
  }),
];

function worldOf(clients: readonly DeltaClient[], generation: number) {
  const mesh = meshOf(objectsAt(generation));
  const trackers = clients.map(({ tracker }) => tracker);
  return { mesh, programming: new Programming(translate(mesh, 'PEM', translationCache()), trackers) };
}

/** A peer with these proxies. */
function peerOf(clients: readonly DeltaClient[], generation = 1): Peer {
  const { mesh, programming } = worldOf(clients, generation);
  const report = { ...REPORT, objects: tallies(mesh.statuses, programming) };
  return { name: 'b', report: JSON.parse(JSON.stringify(report)) };
}

function client(state: 'acked' | 'pending' | 'refused'): DeltaClient {
  const made = new DeltaClient();
  made.objects = objectsAt(1);
  made.subscribe(TYPE.route, CATALOG_KEY);
  for (const { typeUrl, nonce } of made.collect()) {
    const errorDetail = state === 'refused' ? { errorDetail: { code: 3, message: 'no' } } : {};
    if (state !== 'pending') made.ask(typeUrl as ResourceType, { responseNonce: nonce, ...errorDetail });
  }
  return made;
}

test('Programmed counts the proxies of all replicas', () => {
  const acked = client('acked');
  assert.equal(programmed([acked], []), 'True: acknowledged by 1 proxy');
  assert.equal(
    programmed([acked], [peerOf([client('acked'), client('acked')])]),
    'True: acknowledged by 3 proxies',
  );
  assert.equal(
    programmed([], [peerOf([])]),
    'True: no connected proxy uses it: each gets it with its first request',
  );
  assert.match(
    programmed([acked], [peerOf([client('pending')])]),
    /^Unknown: 1 of 2 proxies have not acknowledged/,
  );
  assert.match(
    programmed([acked], [peerOf([client('refused')])]),
    /^False: refused by 1 of 2 proxies, .*shop\/web: no/,
  );
});

test('a replica that is behind, or tells nothing, leaves it open', () => {
  const behind = /^Unknown: replica b of the control plane has not told yet/;
  assert.match(programmed([client('acked')], [peerOf([client('acked')], 1)], 2), behind);
  assert.match(programmed([client('acked')], [{ name: 'b', report: undefined }]), behind);
  assert.match(programmed([client('acked')], [{ name: 'b', report: REPORT }]), behind);
});
