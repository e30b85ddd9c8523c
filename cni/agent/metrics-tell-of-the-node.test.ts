import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentWorld, dropBytes } from '../../test/support/agent-world.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { DROP } from '../maps/drops.ts';
import { decode, encode } from '../maps/struct.ts';
import { TABLES } from '../maps/tables.ts';
import { AgentMetrics } from './metrics.ts';
import { type CounterMap, droppedPackets, packetCounts } from './packet-counters.ts';

leakCheck();

/** Two CPUs: slot n counts n packets on the first, 1000 bytes on the second. */
const COUNTERS: CounterMap = {
  lookupPerCpu(key) {
    const packets = BigInt(decode(TABLES.counter.key, key));
    return [
      encode(TABLES.counter.value, { packets, bytes: 1n }),
      encode(TABLES.counter.value, { packets: 0n, bytes: 1_000n }),
    ];
  },
};

test('the page has pods, addresses, calls, rounds, drops and packets by reason and direction', () => {
  const clock = new VirtualClock();
  const world = new AgentWorld(clock);
  world.drops.take(dropBytes(clock));
  world.drops.setLost(5);
  const metrics = new AgentMetrics();
  metrics.observeCall('ADD', 0, 0.02);
  metrics.observeCall('ADD', 11, 0.02);
  metrics.observeCall('rm -rf', 4, 0.02);
  metrics.observeRound(0.004, { endpoint: { added: 5, changed: 1, removed: 0 } });
  const page = metrics.render(world, COUNTERS);
  const slot = DROP.POLICY.code * 2;
  for (const line of [
    'heddle_cni_ready 1',
    'heddle_cni_pods 2',
    'heddle_cni_captured_pods 1',
    'heddle_cni_confirmed_sidecars 1',
    'heddle_cni_addresses{block="10.244.1.0/24",state="used"} 2',
    'heddle_cni_addresses{block="10.244.1.0/24",state="free"} 251',
    'heddle_cni_calls_total{command="ADD",code="0"} 1',
    'heddle_cni_calls_total{command="ADD",code="11"} 1',
    'heddle_cni_calls_total{command="other",code="4"} 1',
    'heddle_cni_call_duration_seconds_count{command="ADD"} 2',
    'heddle_cni_reconcile_duration_seconds_count 1',
    'heddle_cni_map_changes_total{map="endpoint",change="added"} 5',
    'heddle_cni_map_entries{map="endpoint"} 7',
    'heddle_cni_drift_repaired_total 2',
    'heddle_cni_drops_read_total 1',
    'heddle_cni_drops_lost_total 5',
    'heddle_cni_forwarded_packets_total{direction="egress"} 1',
    `heddle_cni_dropped_packets_total{reason="policy",direction="ingress"} ${slot}`,
    `heddle_cni_dropped_packets_total{reason="policy",direction="egress"} ${slot + 1}`,
    'heddle_cni_dropped_bytes_total{reason="policy",direction="ingress"} 1001',
  ])
    assert.ok(page.includes(`${line}\n`), `${line} is missing in\n${page}`);
});

test('dropped packets are those of every reason, and no forwarded one', () => {
  const reasons = Object.values(DROP).flatMap(({ code }) => [code * 2, code * 2 + 1]);
  assert.equal(
    droppedPackets(packetCounts(COUNTERS)),
    reasons.reduce((sum, slot) => sum + slot, 0),
  );
});
