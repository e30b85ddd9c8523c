import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../common/log.ts';
import { MemoryMap } from '../../test/support/memory-map.ts';
import { EMPTY_INPUT } from '../../test/support/service-objects.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { FILL_ORDER, type PlannedMap } from '../maps/reconcile.ts';
import { TABLES } from '../maps/tables.ts';
import { newNumbers } from '../services/numbers.ts';
import { clusterObjects } from './cluster.ts';
import { Pipeline, type Round } from './pipeline.ts';

function world() {
  const clock = new VirtualClock();
  const stores = Object.fromEntries(
    FILL_ORDER.map((name) => [name, new MemoryMap(TABLES[name].name, TABLES[name].entriesMax)]),
  ) as Record<PlannedMap, MemoryMap>;
  const rounds: Round[] = [];
  const kept: unknown[] = [];
  const state = { broken: false, looks: 0 };
  const cluster = clusterObjects([]);
  const pipeline = new Pipeline({
    maps: { stores },
    numbers: { policy: undefined, services: { numbers: newNumbers() } },
    facts: () => {
      state.looks++;
      if (state.broken) throw new Error('the uplink is gone');
      return {
        ...{ name: 'n1', mode: 'tunnel', netnsCookie: 1n, tunnelIfindex: 4, tunnelMtu: 1450 },
        uplinkIfindex: 2,
        ...{ uplinkMac: '02:00:00:00:00:01', dnsAddresses: EMPTY_INPUT.dnsAddresses, controlPlane: [] },
      };
    },
    cluster: () => cluster,
    localPods: () => [],
    sidecars: () => new Map(),
    keepNumbers: (numbers) => kept.push(numbers),
    onRound: (round) => rounds.push(round),
    ...{ clock, log: silentLogger },
  });
  return { clock, stores, rounds, kept, state, pipeline };
}

test('whoever asks before a round has looked is answered by it; who asks later, by the next', async () => {
  const { pipeline, rounds, state, stores, kept } = world();
  await Promise.all(Array.from({ length: 50 }, () => pipeline.settled()));
  assert.equal(rounds.length, 1);
  assert.ok(stores.node.entries().next().value, 'the maps say what holds');
  assert.equal(kept.length, 1, 'numbers were kept before that');
  const first = pipeline.settled();
  while (state.looks < 2) await new Promise((resolve) => setImmediate(resolve));
  const later = pipeline.settled();
  await first;
  assert.equal(rounds.length, 2);
  await later;
  assert.equal(rounds.length, 3);
  await pipeline.close();
});

test('a round that fails is told, leaves what was, and is begun again a second later', async () => {
  const { pipeline, rounds, state, clock } = world();
  await pipeline.settled();
  state.broken = true;
  await assert.rejects(pipeline.settled(), /the uplink is gone/);
  assert.match(pipeline.lastError()?.message ?? '', /the uplink is gone/);
  assert.equal(pipeline.last(), rounds[0]);
  state.broken = false;
  await clock.advance(1_000);
  while (rounds.length < 2) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(pipeline.lastError(), undefined);
  await pipeline.close();
});

test('an ended pipeline begins nothing more', async () => {
  const { pipeline, rounds } = world();
  await pipeline.close();
  await pipeline.settled();
  assert.equal(rounds.length, 0);
});
