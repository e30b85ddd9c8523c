import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { type BpfMap, RingReader, ringPollMs, ringRecordsPerPollMax } from '../kernel/libbpf.ts';
import type { DropLog } from './drops.ts';
import { type CounterMap, droppedPackets, packetCounts } from './packet-counters.ts';

/** Between looks at the kernel's own counters. */
const countersMs = 1_000;

export interface DropReaderOptions {
  /** `drop_ring`. */
  readonly ring: BpfMap;
  /** `counter_map`: it knows of every drop, the ring only of those that it had room for. */
  readonly counters: CounterMap;
  readonly drops: DropLog;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Reads the kernel's ring into the log until it is closed, and tells the log how many drops the ring had no room for. What was dropped
 * before the start counts as far as it is in the ring still.
 */
export function readDrops({ ring, counters, drops, clock, log }: DropReaderOptions): { close(): void } {
  const reader = new RingReader(ring, (event) => drops.take(event));
  const counted = () => droppedPackets(packetCounts(counters));
  const countedAtStart = counted();
  drain(reader);
  const takenAtStart = drops.counts().packets;
  let nextLookMs = clock.now();
  const timer = clock.every(ringPollMs, () => {
    try {
      const isDue = clock.now() >= nextLookMs;
      // Looked at before the ring, so that what is counted has been in it.
      const known = isDue ? counted() - countedAtStart : 0;
      const emptied = reader.poll() < ringRecordsPerPollMax;
      if (!isDue || !emptied) return;
      nextLookMs = clock.now() + countersMs;
      drops.setLost(Math.max(0, known - (drops.counts().packets - takenAtStart)));
    } catch (thrown) {
      log.error('drops could not be read', { error: messageOf(thrown) });
    }
  });
  return {
    close() {
      timer.cancel();
      reader[Symbol.dispose]();
    },
  };
}

/** As often as it takes to empty a full ring, and no more: a flood fills it as fast as it is read. */
function drain(reader: RingReader): void {
  const roundsMax = 8;
  for (let round = 0; round < roundsMax; round++) if (reader.poll() < ringRecordsPerPollMax) return;
}
