import { address, type Codec, mac, port, portBytes, struct, u8, u16, u32, u64 } from './struct.ts';

/** The structures of bpf/include/layout.h. Field names are those of C in camel case; a test compares them by BTF. */

type ValueOf<C> = C extends Codec<infer T> ? T : never;

/** Addresses the node has none of are zero. */
export const nodeConfig = struct('node_config', {
  node4: address,
  node6: address,
  dns4: address,
  dns6: address,
  netnsCookie: u64,
  tunnelIfindex: u32,
  uplinkIfindex: u32,
  /** NODE. */
  flags: u32,
  /** Bytes that an inner packet may have; 0 without a tunnel. */
  tunnelMtu: u32,
  uplinkMac: mac,
});
export type NodeConfig = ValueOf<typeof nodeConfig>;

export const endpoint = struct('endpoint', {
  /** Zero for local pods. */
  node: address,
  ifindex: u32,
  identity: u32,
  /** EP. */
  flags: u32,
  /** 0: not isolated in this direction. */
  ingressSet: u32,
  egressSet: u32,
  podId: u32,
  mac,
  hostMac: mac,
});
export type Endpoint = ValueOf<typeof endpoint>;

/** To clients outside, in one second of the kernel's clock since the start. */
export const refusals = struct('refusals', { second: u32, count: u32 });
export type Refusals = ValueOf<typeof refusals>;

/** Key of `block_map` and `cidr_map`; `bits` of the 128, 96 more than written for IPv4. */
export const prefix = struct('prefix', { bits: u32, address });
export type PrefixKey = ValueOf<typeof prefix>;

/** `bits`: POLICY_BITS. */
export const policyKey = struct('policy_key', {
  bits: u32,
  set: u32,
  peer: u32,
  protocol: u8,
  port: portBytes,
});
export type PolicyKey = ValueOf<typeof policyKey>;

/** As the initiator sent it; `direction`: DIRECTION. */
export const connectionKey = struct('connection_key', {
  source: address,
  destination: address,
  sourcePort: port,
  destinationPort: port,
  protocol: u8,
  direction: u8,
});
export type ConnectionKey = ValueOf<typeof connectionKey>;

export const connection = struct('connection', {
  /** Seconds of the coarse monotonic clock. */
  seenS: u32,
  set: u32,
  peer: u32,
  /** CONNECTION. */
  flags: u32,
});
export type Connection = ValueOf<typeof connection>;

export const fragmentKey = struct('fragment_key', {
  source: address,
  destination: address,
  id: u32,
  protocol: u8,
});

export const fragmentPorts = struct('fragment_ports', { sourcePort: port, destinationPort: port });

/** An event of `drop_ring`. */
export const drop = struct('drop', {
  /** Nanoseconds of the boot-time clock. */
  atNs: u64,
  source: address,
  destination: address,
  sourcePort: port,
  destinationPort: port,
  protocol: u8,
  /** DIRECTION. */
  direction: u8,
  /** A code of DROP. */
  reason: u8,
  /** 4 or 6. */
  family: u8,
  /** Of a drop by policy. */
  set: u32,
  bytes: u32,
});
export type Drop = ValueOf<typeof drop>;

export const counter = struct('counter', { packets: u64, bytes: u64 });
export type Counter = ValueOf<typeof counter>;

export const frontend = struct('frontend', {
  /** `anyAddress(family)`: every address of this node in that family. */
  address,
  port,
  protocol: u8,
  /** SCOPE. */
  scope: u8,
});
export type Frontend = ValueOf<typeof frontend>;

export const service = struct('service', {
  id: u32,
  count: u32,
  /** SERVICE. */
  flags: u32,
  affinityS: u32,
});
export type Service = ValueOf<typeof service>;

/** `slot`: 0 to the service's count, exclusive. */
export const backendKey = struct('backend_key', { serviceId: u32, slot: u32 });
export type BackendKey = ValueOf<typeof backendKey>;

export const backend = struct('backend', { address, port });
export type Backend = ValueOf<typeof backend>;

export const affinityKey = struct('affinity_key', { frontend, client: address, netnsCookie: u64 });
export type AffinityKey = ValueOf<typeof affinityKey>;

export const affinity = struct('affinity', { backend, seenS: u32 });
export type Affinity = ValueOf<typeof affinity>;

export const translatedKey = struct('translated_key', { socketCookie: u64, backend });
export type TranslatedKey = ValueOf<typeof translatedKey>;

export const translated = struct('translated', { address, port });
export type Translated = ValueOf<typeof translated>;

/** `way`: EXTERNAL. */
export const externalKey = struct('external_key', {
  source: address,
  destination: address,
  sourcePort: port,
  destinationPort: port,
  protocol: u8,
  way: u8,
});
export type ExternalKey = ValueOf<typeof externalKey>;

export const external = struct('external', { address, node: address, port, flags: u16, seenS: u32 });
export type External = ValueOf<typeof external>;

export const pod = struct('pod', {
  ip4: address,
  ip6: address,
  /** 0: none confirmed yet. */
  sidecarCgroup: u64,
  podId: u32,
  /** POD. */
  flags: u32,
});
export type Pod = ValueOf<typeof pod>;

/** `port` in the machine's order, as socket programs see it. */
export const listenerKey = struct('listener_key', { podId: u32, port: u16, family: u16 });
export type ListenerKey = ValueOf<typeof listenerKey>;

export const skippedPortKey = struct('skipped_port_key', { podId: u32, port, direction: u8 });
export type SkippedPortKey = ValueOf<typeof skippedPortKey>;

/** `bits`: 32 for the pod and those of the address. */
export const skippedPrefix = struct('skipped_prefix', { bits: u32, podId: u32, address });
export type SkippedPrefix = ValueOf<typeof skippedPrefix>;

/** An event of `candidate_ring`; `port` in the machine's order. */
export const candidate = struct('candidate', {
  netnsCookie: u64,
  cgroup: u64,
  pid: u32,
  port: u16,
  family: u16,
});
export type Candidate = ValueOf<typeof candidate>;
