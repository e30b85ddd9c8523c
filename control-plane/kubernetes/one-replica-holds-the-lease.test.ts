import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeddleError } from '../../common/errors.ts';
import { silentLogger } from '../../common/log.ts';
import { seededRandom } from '../../common/random.ts';
import { FakeClusterApi, refusal } from '../../test/support/fake-cluster-api.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { type LeaderElection, leaseCallMs, renewDeadlineMs, startLeaderElection } from './lease.ts';

leakCheck();

const SECOND_MS = 1_000;
const away = () => {
  throw new HeddleError('kubernetes-unreachable', 'away');
};

/** A replica with its own clock, so that one can be paused while others go on. */
function replica(api: FakeClusterApi, identity: string, clock: VirtualClock) {
  const changes: boolean[] = [];
  const election: LeaderElection = startLeaderElection({
    ...{ api, identity, clock, namespace: 'heddle-system', name: 'heddle-control-plane' },
    ...{ random: seededRandom(identity.length), log: silentLogger },
    onChange: (leads) => changes.push(leads),
  });
  return { election, changes };
}

const spec = (api: FakeClusterApi) =>
  api.find('Lease', 'heddle-system', 'heddle-control-plane')?.spec as Record<string, unknown>;

test('of two replicas one holds the lease and goes on holding it', async () => {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  const a = replica(api, 'a', clock);
  const b = replica(api, 'bb', clock);
  for (let second = 0; second < 120; second++) {
    await clock.advance(SECOND_MS);
    assert.deepEqual([a.election.leads(), b.election.leads()], [true, false], `second ${second}`);
  }
  assert.deepEqual([a.changes, b.changes], [[true], []]);
  assert.equal(b.election.holder(), 'a');
  assert.equal(spec(api).leaseTransitions, 0);
  await a.election.close();
  await b.election.close();
});

test('given up at the end, the other one has it with its next try', async () => {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  const a = replica(api, 'a', clock);
  await clock.advance(SECOND_MS);
  const b = replica(api, 'bb', clock);
  await clock.advance(SECOND_MS);
  await a.election.close();
  assert.equal(a.election.leads(), false);
  assert.deepEqual([spec(api).holderIdentity, spec(api).leaseDurationSeconds], ['', 1]);
  await clock.advance(3 * SECOND_MS);
  assert.equal(b.election.leads(), true);
  assert.deepEqual([spec(api).holderIdentity, spec(api).leaseTransitions], ['bb', 1]);
  await b.election.close();
});

test('a holder that died is followed 15 s after its last sign of life, whatever its clock said', async () => {
  const api = new FakeClusterApi();
  const [skewed, clock] = [new VirtualClock(Date.UTC(2031, 0, 1)), new VirtualClock()];
  const a = replica(api, 'a', skewed);
  await skewed.advance(SECOND_MS);
  const b = replica(api, 'bb', clock);
  await clock.advance(14 * SECOND_MS);
  assert.equal(b.election.leads(), false);
  await clock.advance(4 * SECOND_MS);
  assert.equal(b.election.leads(), true);
  await b.election.close();
  await a.election.close();
  assert.equal(spec(api).holderIdentity, '', 'the dead one takes nothing away');
});

test('a paused holder knows that it holds nothing any more before it looks at the lease', async () => {
  const api = new FakeClusterApi();
  const [paused, clock] = [new VirtualClock(), new VirtualClock()];
  const a = replica(api, 'a', paused);
  await paused.advance(SECOND_MS);
  const b = replica(api, 'bb', clock);
  await clock.advance(20 * SECOND_MS);
  assert.equal(b.election.leads(), true);
  // No timer of the paused one has run: its clock alone went on.
  const held = a.election.leads.bind(a.election);
  const realNow = paused.now.bind(paused);
  paused.now = () => realNow() + 20 * SECOND_MS;
  assert.equal(held(), false);
  await paused.advance(3 * SECOND_MS);
  assert.equal(held(), false, 'it sees who has it');
  assert.equal(a.election.holder(), 'bb');
  await a.election.close();
  await b.election.close();
});

test('without an API server the holder stops in time, and goes on once it is back', async () => {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  const a = replica(api, 'a', clock);
  await clock.advance(SECOND_MS);
  api.before = away;
  await clock.advance(renewDeadlineMs - 3 * SECOND_MS);
  assert.equal(a.election.leads(), true);
  await clock.advance(3 * SECOND_MS);
  assert.deepEqual([a.election.leads(), a.changes], [false, [true, false]]);
  api.before = () => undefined;
  await clock.advance(3 * SECOND_MS);
  assert.deepEqual([a.election.leads(), a.changes], [true, [true, false, true]]);
  await a.election.close();
});

test('an API server that answers nothing at all is no reason to go on', async () => {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  const a = replica(api, 'a', clock);
  await clock.advance(SECOND_MS);
  let hanging = 0;
  api.before = () => {
    hanging++;
    return new Promise(() => undefined);
  };
  await clock.advance(renewDeadlineMs);
  assert.equal(a.election.leads(), false);
  assert.ok(hanging >= renewDeadlineMs / (leaseCallMs + 3 * SECOND_MS), `${hanging} calls`);
  const closed = a.election.close();
  await clock.advance(leaseCallMs);
  await closed;
});

test('of two that try at once one is told that the other came first', async () => {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  let looks = 0;
  // Both have seen that there is no lease before either makes one.
  api.before = async ({ verb }) => {
    if (verb === 'get') looks++;
    while (looks < 2) await new Promise((resolve) => setImmediate(resolve));
  };
  const a = replica(api, 'a', clock);
  const b = replica(api, 'bb', clock);
  await clock.advance(SECOND_MS);
  assert.notEqual(a.election.leads(), b.election.leads());
  await a.election.close();
  await b.election.close();
});

test('a lease that somebody wrote in between is looked at again', async () => {
  const [api, clock] = [new FakeClusterApi(), new VirtualClock()];
  const a = replica(api, 'a', clock);
  await clock.advance(SECOND_MS);
  api.before = ({ verb }) => {
    if (verb === 'patch') throw refusal('Conflict');
  };
  await clock.advance(3 * SECOND_MS);
  assert.equal(a.election.leads(), true, 'one lost race is none of its end');
  api.before = () => undefined;
  await clock.advance(60 * SECOND_MS);
  assert.deepEqual(a.changes, [true]);
  await a.election.close();
});
