import type { DropRecord } from '../../common/pod-network.ts';

/** Flows that are remembered; the one that has rested longest is forgotten first. */
export const dropFlowsMax = 500;

/** Dropped packets that are alike in all but their time, source port and size. */
export interface DropFlow
  extends Pick<
    DropRecord,
    'node' | 'direction' | 'reason' | 'message' | 'protocol' | 'from' | 'to' | 'policies'
  > {
  /** RFC 3339. */
  readonly firstAt: string;
  readonly lastAt: string;
  readonly packets: number;
}

/** What all nodes dropped, gathered by flow. */
export class DropFlows {
  /** In the order in which they were last seen. */
  readonly #flows = new Map<string, DropFlow>();

  add(record: DropRecord): void {
    const key = keyOf(record);
    const known = this.#flows.get(key);
    const { node, direction, reason, message, protocol, from, to, policies, at, packets } = record;
    this.#flows.delete(key);
    this.#flows.set(key, {
      ...{ node, direction, reason, message, protocol, from, to, policies },
      firstAt: known?.firstAt ?? at,
      lastAt: known !== undefined && known.lastAt > at ? known.lastAt : at,
      packets: (known?.packets ?? 0) + packets,
    });
    const [oldest] = this.#flows.keys();
    if (this.#flows.size > dropFlowsMax && oldest !== undefined) this.#flows.delete(oldest);
  }

  /** Newest first. */
  all(): readonly DropFlow[] {
    return [...this.#flows.values()].toSorted((a, b) =>
      a.lastAt < b.lastAt ? 1 : a.lastAt > b.lastAt ? -1 : 0,
    );
  }
}

function keyOf({ node, direction, reason, protocol, from, to, policies }: DropRecord): string {
  return JSON.stringify([
    node,
    direction,
    reason,
    protocol,
    from.name,
    from.ip,
    to.name,
    to.ip,
    to.port,
    policies,
  ]);
}
