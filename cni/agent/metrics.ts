import { MetricFamily } from '../../common/metrics.ts';
import type { RoundChanges } from '../../common/pod-network.ts';
import { DIRECTION } from '../maps/constants.ts';
import { FILL_ORDER } from '../maps/reconcile.ts';
import { TABLES } from '../maps/tables.ts';
import type { AgentView } from './admin/view.ts';
import { type CounterMap, packetCounts } from './packet-counters.ts';

const COMMANDS: readonly string[] = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'];

/** What the agent of a node counts, in Prometheus' terms. */
export class AgentMetrics {
  readonly #calls = new MetricFamily(
    'heddle_cni_calls_total',
    'Calls of the CNI plugin, by command and the code of the answer (0: done).',
    'counter',
    ['command', 'code'],
  );
  readonly #callSeconds = new MetricFamily(
    'heddle_cni_call_duration_seconds',
    'Time to the answer of a CNI call.',
    'histogram',
    ['command'],
  );
  readonly #roundSeconds = new MetricFamily(
    'heddle_cni_reconcile_duration_seconds',
    'Time from objects to maps, per round.',
    'histogram',
    [],
  );
  readonly #changes = new MetricFamily(
    'heddle_cni_map_changes_total',
    'Entries of maps that were added, changed or removed.',
    'counter',
    ['map', 'change'],
  );

  /** Of `startCniServer`. */
  observeCall(command: string, code: number, seconds: number): void {
    // The command is whatever the caller wrote.
    const known = COMMANDS.includes(command) ? command : 'other';
    this.#calls.add(1, known, String(code));
    this.#callSeconds.observe(seconds, known);
  }

  observeRound(seconds: number, changes: RoundChanges): void {
    this.#roundSeconds.observe(seconds);
    for (const [map, { added, changed, removed }] of Object.entries(changes)) {
      this.#changes.add(added, map, 'added');
      this.#changes.add(changed, map, 'changed');
      this.#changes.add(removed, map, 'removed');
    }
  }

  /** The page, with gauges and the kernel's counters as they are now. */
  render(view: AgentView, counters: CounterMap): string {
    const own = [this.#calls, this.#callSeconds, this.#roundSeconds, this.#changes];
    return [...own, ...gauges(view), ...drops(view), ...packets(counters)]
      .map((family) => family.render())
      .join('');
  }
}

function gauges(view: AgentView): readonly MetricFamily[] {
  const condition = view.condition();
  const localPods = view.localPods();
  const captured = localPods.filter((pod) => pod.captured);
  const sidecars = view.sidecars();
  const addresses = new MetricFamily(
    'heddle_cni_addresses',
    'Addresses of the pod blocks of this node.',
    'gauge',
    ['block', 'state'],
  );
  for (const { block, usable, given } of condition.blocks) {
    addresses.set(given, block, 'used');
    addresses.set(usable - given, block, 'free');
  }
  const entries = new MetricFamily('heddle_cni_map_entries', 'Entries that a map is to hold.', 'gauge', [
    'map',
  ]);
  const entriesMax = new MetricFamily('heddle_cni_map_entries_max', 'Entries that a map can hold.', 'gauge', [
    'map',
  ]);
  for (const map of FILL_ORDER) {
    entries.set(view.plan()?.wanted[map].size ?? 0, map);
    entriesMax.set(TABLES[map].entriesMax, map);
  }
  return [
    one('heddle_cni_ready', 'Whether pods can be added.', 'gauge', condition.ready ? 1 : 0),
    one('heddle_cni_pods', 'Pods that are attached to this node.', 'gauge', localPods.length),
    one('heddle_cni_captured_pods', 'Of those, pods in the mesh.', 'gauge', captured.length),
    one(
      'heddle_cni_confirmed_sidecars',
      'Of those in the mesh, pods whose sidecar is confirmed.',
      'gauge',
      captured.filter(({ podId }) => sidecars.has(podId)).length,
    ),
    ...[addresses, entries, entriesMax],
    one(
      'heddle_cni_drift_repaired_total',
      'Entries of maps that somebody else had changed, put right.',
      'counter',
      condition.driftRepaired,
    ),
  ];
}

function drops(view: AgentView): readonly MetricFamily[] {
  const { packets, records, unlisted, lost } = view.drops.counts();
  return [
    one('heddle_cni_drops_read_total', 'Dropped packets that the kernel told of.', 'counter', packets),
    one('heddle_cni_drop_records_total', 'Records made of them.', 'counter', records),
    one(
      'heddle_cni_drops_unlisted_total',
      'Dropped packets in no record, since too many flows were dropped at once.',
      'counter',
      unlisted,
    ),
    one(
      'heddle_cni_drops_lost_total',
      'Dropped packets that the kernel had no room to tell of.',
      'counter',
      lost ?? 0,
    ),
  ];
}

function packets(counters: CounterMap): readonly MetricFamily[] {
  const forwarded = ['direction'];
  const dropped = ['reason', 'direction'];
  const families = {
    forwardedPackets: ['heddle_cni_forwarded_packets_total', 'Packets passed on.', forwarded],
    forwardedBytes: ['heddle_cni_forwarded_bytes_total', 'Bytes passed on.', forwarded],
    droppedPackets: ['heddle_cni_dropped_packets_total', 'Packets dropped, by reason.', dropped],
    droppedBytes: ['heddle_cni_dropped_bytes_total', 'Bytes dropped, by reason.', dropped],
  } as const;
  const made = Object.fromEntries(
    Object.entries(families).map(([key, [name, help, labels]]) => [
      key,
      new MetricFamily(name, help, 'counter', labels),
    ]),
  ) as Record<keyof typeof families, MetricFamily>;
  for (const count of packetCounts(counters)) {
    const direction = count.direction === DIRECTION.INGRESS ? 'ingress' : 'egress';
    if (count.reason === undefined) {
      made.forwardedPackets.set(count.packets, direction);
      made.forwardedBytes.set(count.bytes, direction);
    } else {
      made.droppedPackets.set(count.packets, count.reason.name, direction);
      made.droppedBytes.set(count.bytes, count.reason.name, direction);
    }
  }
  return Object.values(made);
}

function one(name: string, help: string, kind: 'gauge' | 'counter', value: number): MetricFamily {
  const family = new MetricFamily(name, help, kind, []);
  family.set(value);
  return family;
}
