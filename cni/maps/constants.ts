/** Names for the numbers of bpf/include/layout.h; a test compares the two. */

export const NODE = { TUNNEL: 1 << 0, CAN_REFUSE: 1 << 1, CAPTURE_ONLY: 1 << 2 } as const;

export const EP = {
  LOCAL: 1 << 0,
  OWN_NODE: 1 << 1,
  OTHER_NODE: 1 << 2,
  DNS: 1 << 3,
  MESHED: 1 << 4,
  CONTROL_PLANE: 1 << 5,
} as const;

export const IDENTITY = {
  ANY: 0,
  NODE: 1,
  WORLD: 2,
  UNKNOWN: 3,
  OTHER_NODE: 4,
  FIRST_POD: 16,
  /** Unsigned, as the maps hold it. */
  CIDR_BIT: 0x8000_0000,
} as const;

export const DIRECTION = { INGRESS: 0, EGRESS: 1 } as const;

export const CONNECTION = {
  REPLIED: 1 << 0,
  CLOSING: 1 << 1,
  CONTROL: 1 << 2,
  ENDED: 1 << 3,
  ANSWER_ENDED: 1 << 4,
} as const;

export const SCOPE = { INTERNAL: 0, EXTERNAL: 1 } as const;

export const SERVICE = { AFFINITY: 1 << 0, DNS: 1 << 1, ELSEWHERE: 1 << 2 } as const;

export const EXTERNAL = { FORWARD: 0, REPLY: 1 } as const;

export const POD = { MESHED: 1 << 0, NODE: 1 << 1 } as const;

/** Values of `sidecar_socket_map`. */
export const TAG = { SIDECAR: 1, SKIPPED: 2 } as const;

/** How many clients outside are refused at once in a second, on one node. */
export const REFUSALS_PER_S_MAX = 1_000;

/** Slots of `counter_map`. */
export const COUNTERS_MAX = 32;

/** IP protocol numbers (IANA). */
export const PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58, SCTP: 132 } as const;

export type TransportName = 'TCP' | 'UDP' | 'SCTP';

/** Bits of a policy key that count: the set and the peer, then the protocol, then as much of the port as is given. */
export const POLICY_BITS = { ANY_PROTOCOL: 64, ANY_PORT: 72, ONE_PORT: 88 } as const;

const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(PROTOCOL).map(([name, number]) => [number, name]),
);

/** `TCP`, or the number where it has no name here. */
export function protocolName(protocol: number): string {
  return PROTOCOL_NAMES.get(protocol) ?? String(protocol);
}
