import { type CounterSlot, counterSlots } from '../maps/drops.ts';
import { decode, encode } from '../maps/struct.ts';
import { TABLES } from '../maps/tables.ts';

/** As much of `counter_map` as is read of it. */
export interface CounterMap {
  /** The values of all possible CPUs. */
  lookupPerCpu(key: Uint8Array): readonly Uint8Array[] | undefined;
}

export interface PacketCount extends CounterSlot {
  readonly packets: number;
  readonly bytes: number;
}

/** What the programs have counted since they were first loaded, by outcome and direction. */
export function packetCounts(map: CounterMap): readonly PacketCount[] {
  return [...counterSlots()].map(([index, slot]) => {
    let packets = 0n;
    let bytes = 0n;
    for (const value of map.lookupPerCpu(encode(TABLES.counter.key, index)) ?? []) {
      const counted = decode(TABLES.counter.value, value);
      packets += counted.packets;
      bytes += counted.bytes;
    }
    return { ...slot, packets: Number(packets), bytes: Number(bytes) };
  });
}

export function droppedPackets(counts: readonly PacketCount[]): number {
  return counts.reduce((sum, { reason, packets }) => (reason === undefined ? sum : sum + packets), 0);
}
