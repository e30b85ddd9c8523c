import * as layout from './layouts.ts';
import { address, type Codec, u8, u32, u64 } from './struct.ts';

/** Numbers of `enum bpf_map_type` (linux/bpf.h). */
const MAP_TYPE = {
  HASH: 1,
  ARRAY: 2,
  PERCPU_ARRAY: 6,
  LRU_HASH: 9,
  LPM_TRIE: 11,
  SOCKHASH: 18,
  SK_STORAGE: 24,
} as const;

/** A map of bpf/include/layout.h by its name, with what its bytes mean. */
export interface Table<K, V> {
  readonly name: string;
  readonly type: number;
  readonly key: Codec<K>;
  readonly value: Codec<V>;
  /** 0 where the kernel sets no bound (socket storage). */
  readonly entriesMax: number;
}

function table<K, V>(
  name: string,
  type: keyof typeof MAP_TYPE,
  key: Codec<K>,
  value: Codec<V>,
  entriesMax: number,
): Table<K, V> {
  return { name, type: MAP_TYPE[type], key, value, entriesMax };
}

/** Every map but the two rings, whose events are `drop` and `candidate` of layouts.ts. */
export const TABLES = {
  node: table('node_map', 'ARRAY', u32, layout.nodeConfig, 1),
  endpoint: table('endpoint_map', 'HASH', address, layout.endpoint, 131_072),
  block: table('block_map', 'LPM_TRIE', layout.prefix, address, 8_192),
  policy: table('policy_map', 'LPM_TRIE', layout.policyKey, u32, 262_144),
  cidr: table('cidr_map', 'LPM_TRIE', layout.prefix, u32, 65_536),
  connection: table('connection_map', 'LRU_HASH', layout.connectionKey, layout.connection, 262_144),
  fragment: table('fragment_map', 'LRU_HASH', layout.fragmentKey, layout.fragmentPorts, 8_192),
  counter: table('counter_map', 'PERCPU_ARRAY', u32, layout.counter, 32),
  refusal: table('refusal_map', 'ARRAY', u32, layout.refusals, 1),
  service: table('service_map', 'HASH', layout.frontend, layout.service, 65_536),
  backend: table('backend_map', 'HASH', layout.backendKey, layout.backend, 262_144),
  affinity: table('affinity_map', 'LRU_HASH', layout.affinityKey, layout.affinity, 65_536),
  translated: table('translated_map', 'LRU_HASH', layout.translatedKey, layout.translated, 131_072),
  external: table('external_map', 'LRU_HASH', layout.externalKey, layout.external, 131_072),
  pod: table('pod_map', 'HASH', u64, layout.pod, 8_192),
  listener: table('listener_map', 'SOCKHASH', layout.listenerKey, u64, 32_768),
  sidecarSocket: table('sidecar_socket_map', 'SK_STORAGE', u32, u32, 0),
  skippedPort: table('skipped_port_map', 'HASH', layout.skippedPortKey, u8, 65_536),
  skippedPrefix: table('skipped_prefix_map', 'LPM_TRIE', layout.skippedPrefix, u8, 16_384),
} as const;

/** Rings have no keys: the structure of their events, and their size in bytes. */
export const RINGS = {
  drop: { name: 'drop_ring', event: layout.drop, bytesMax: 262_144 },
  candidate: { name: 'candidate_ring', event: layout.candidate, bytesMax: 65_536 },
} as const;
