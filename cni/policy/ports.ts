import { POLICY_BITS, PROTOCOL, type TransportName } from '../maps/constants.ts';
import type { PortRange } from './plan.ts';

/** Protocol and port as `policy_key` has them, without set and peer. */
export interface PortKey {
  /** 64: any protocol; 72: any port; up to 88: the leading bits of a port. */
  readonly bits: number;
  readonly protocol: number;
  readonly port: number;
}

export const PORT_MAX = 65_535;
const PROTOCOLS: readonly TransportName[] = ['TCP', 'UDP', 'SCTP'];
export const ANY_PORT: readonly PortKey[] = [{ bits: POLICY_BITS.ANY_PROTOCOL, protocol: 0, port: 0 }];

/** What ranges allow together, as few disjoint ranges as can be, in order. */
export function mergeRanges(ranges: readonly PortRange[]): readonly PortRange[] {
  return PROTOCOLS.flatMap((protocol) => {
    const merged: PortRange[] = [];
    const own = ranges.filter((range) => range.protocol === protocol).toSorted((a, b) => a.from - b.from);
    for (const range of own) {
      const last = merged.at(-1);
      if (last === undefined || range.from > last.to + 1) merged.push(range);
      else if (range.to > last.to) merged[merged.length - 1] = { protocol, from: last.from, to: range.to };
    }
    return merged;
  });
}

/**
 * The keys for ranges, as few as there can be: the merged ranges are cut where alignment asks for it, and nowhere else. A
 * whole protocol is one key.
 */
export function portKeys(ranges: readonly PortRange[]): readonly PortKey[] {
  return mergeRanges(ranges).flatMap(({ protocol, from, to }) => {
    const number = PROTOCOL[protocol];
    if (from <= 1 && to === PORT_MAX) return [{ bits: POLICY_BITS.ANY_PORT, protocol: number, port: 0 }];
    return cutRange(from, to).map(({ port, free }) => ({
      bits: POLICY_BITS.ONE_PORT - free,
      protocol: number,
      port,
    }));
  });
}

/** Whether every port of `range` is in `merged`, which `mergeRanges` made. */
export function covers(merged: readonly PortRange[], range: PortRange): boolean {
  return merged.some(
    (one) => one.protocol === range.protocol && one.from <= range.from && range.to <= one.to,
  );
}

/** A range as aligned blocks of 2^free ports. */
function cutRange(from: number, to: number): readonly { readonly port: number; readonly free: number }[] {
  const blocks: { port: number; free: number }[] = [];
  let port = from;
  while (port <= to) {
    let free = 0;
    while (free < 16 && port % 2 ** (free + 1) === 0 && port + 2 ** (free + 1) - 1 <= to) free++;
    blocks.push({ port, free });
    port += 2 ** free;
  }
  return blocks;
}
