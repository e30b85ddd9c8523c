import type { ObjectOrigin, Problem } from './objects.ts';
import type { Cluster, Destination, InboundConfig, MtlsMode, SidecarSettings, Snapshot } from './snapshot.ts';

/** `mesh.yaml`, or the ConfigMap `heddle`: every field of CONTRACTS, defaults filled in. */
export interface MeshSettings extends SidecarSettings {
  readonly mtlsMode: MtlsMode;
  readonly leafTtlMs: number;
  readonly rootTtlMs: number;
}

/** A pod as the mesh sees it. */
export interface Workload {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly node: string | undefined;
  readonly zone: string | undefined;
  readonly ips: readonly string[];
  /** Whether it carries the annotation `heddle.dev/injected`. */
  readonly meshed: boolean;
  /** Whether deletion has begun. */
  readonly terminating: boolean;
  readonly containerPorts: readonly {
    readonly name: string | undefined;
    readonly port: number;
    readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  }[];
}

export interface StatusCondition {
  readonly type: 'Accepted' | 'ResolvedRefs' | 'Programmed';
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}

/** What the mesh makes of one route or policy object, per parent it names. */
export interface ObjectStatus {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  readonly origin: ObjectOrigin;
  readonly parents: readonly {
    /** `Service shop/catalog`. */
    readonly ref: string;
    readonly conditions: readonly StatusCondition[];
  }[];
}

/** The whole mesh at one moment: a pure function of the objects and settings. Frozen, and swapped whole. */
export interface Mesh {
  readonly settings: MeshSettings;
  /** By cluster name. */
  readonly clusters: ReadonlyMap<string, Cluster>;
  /** By `namespace/name`. */
  readonly workloads: ReadonlyMap<string, Workload>;
  readonly statuses: readonly ObjectStatus[];
  readonly problems: readonly Problem[];
  /** Destinations by key, as pods of one namespace see them (consumer routes differ by namespace). */
  destinationsFor(clientNamespace: string): ReadonlyMap<string, Destination>;
  /** What a pod's own sidecar serves; undefined for an unknown pod. */
  inboundFor(workload: string): InboundConfig | undefined;
  /** What a client pod of a namespace decides with. */
  snapshotFor(clientNamespace: string): Snapshot;
}
