import { COUNTERS_MAX, type DIRECTION } from './constants.ts';

export interface DropReason {
  readonly code: number;
  /** For metrics and `-o json`. */
  readonly name: string;
  /** For people: what happened and what to look at. */
  readonly sentence: string;
}

/** Why the data path drops a packet, by the names of layout.h without `DROP_`. */
export const DROP = {
  POLICY: { code: 1, name: 'policy', sentence: 'no rule of a NetworkPolicy allows it' },
  SPOOFED: { code: 2, name: 'spoofed', sentence: "its source address is not one of the sender's" },
  BYPASS: {
    code: 3,
    name: 'bypass',
    sentence:
      'TCP of a pod in the mesh that did not come from its sidecar; look for a program that runs as uid 1337',
  },
  PEER_UNKNOWN: {
    code: 4,
    name: 'peer-unknown',
    sentence: 'this node has not heard of the sending pod yet; the sender will try again',
  },
  NO_ROUTE: {
    code: 5,
    name: 'no-route',
    sentence: 'no pod has the address, though it belongs to the pod network',
  },
  FRAGMENT: { code: 6, name: 'fragment', sentence: 'a fragment came without the first of its datagram' },
  MALFORMED: { code: 7, name: 'malformed', sentence: 'its headers contradict themselves' },
  NO_BACKEND: {
    code: 8,
    name: 'no-backend',
    sentence: 'the Service has no endpoint that this node may send it to',
  },
  UNSUPPORTED: { code: 9, name: 'unsupported', sentence: 'it is neither IPv4, IPv6 nor ARP' },
  INTERNAL: {
    code: 10,
    name: 'internal',
    sentence: "a helper of the kernel failed, or the node isn't configured yet; look at heddle cni status",
  },
  TOO_BIG: {
    code: 11,
    name: 'too-big',
    sentence:
      'it is larger than the tunnel between nodes takes; its sender is told by ICMP, and sends smaller ones',
  },
  TUNNEL_PORT: {
    code: 12,
    name: 'tunnel-port',
    sentence: "pods send nothing to UDP port 4789 outside of the cluster: nodes carry pods' packets by it",
  },
} as const satisfies Readonly<Record<string, DropReason>>;

const BY_CODE: ReadonlyMap<number, DropReason> = new Map(
  Object.values(DROP).map((reason) => [reason.code, reason]),
);

/** The reason of a drop event; one that this version doesn't know says so. */
export function dropReason(code: number): DropReason {
  return (
    BY_CODE.get(code) ?? {
      code,
      name: `unknown-${code}`,
      sentence: `reason ${code} of another version of Heddle`,
    }
  );
}

export type Direction = (typeof DIRECTION)[keyof typeof DIRECTION];

export interface CounterSlot {
  /** Undefined: the packet was forwarded. */
  readonly reason: DropReason | undefined;
  readonly direction: Direction;
}

/** What the slots of `counter_map` count, by index; slots that nothing counts in are left out. */
export function counterSlots(): ReadonlyMap<number, CounterSlot> {
  const slots = new Map<number, CounterSlot>();
  const outcomes: readonly (DropReason | undefined)[] = [undefined, ...Object.values(DROP)];
  for (const reason of outcomes) {
    for (const direction of [0, 1] as const) {
      const index = (reason?.code ?? 0) * 2 + direction;
      if (index < COUNTERS_MAX) slots.set(index, { reason, direction });
    }
  }
  return slots;
}
