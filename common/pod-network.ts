/** What the node agent's admin socket says, as JSON. Times are RFC 3339 in UTC. */

/** One end of a dropped packet, by the name that its address had then. */
export interface DropEnd {
  readonly ip: string;
  /** 0 where the protocol has no ports. */
  readonly port: number;
  /** `unknown`: of the pod network, but no pod is known to have it. */
  readonly kind: 'pod' | 'node' | 'service' | 'dns' | 'control-plane' | 'unknown' | 'world';
  /** `namespace/name` of a pod or Service, the name of a node; empty for the others. */
  readonly name: string;
}

/** Packets of one flow that a node dropped: one, or all that followed within a second. Never changed once it is told. */
export interface DropRecord {
  /** From 1, by node and run of its agent. */
  readonly sequence: number;
  readonly node: string;
  /** Of the last packet. */
  readonly at: string;
  readonly packets: number;
  readonly bytes: number;
  /** As the pod sees it. */
  readonly direction: 'ingress' | 'egress';
  /** `policy`, `bypass`, … */
  readonly reason: string;
  /** What happened and what to look at. */
  readonly message: string;
  /** `TCP`, or a number. */
  readonly protocol: string;
  readonly from: DropEnd;
  readonly to: DropEnd;
  /** NetworkPolicies that isolate the pod, `namespace/name`; of reason `policy` only. */
  readonly policies: readonly string[];
}

export interface DropCounts {
  /** Packets that were read from the kernel. */
  readonly packets: number;
  /** Records that were made of them. */
  readonly records: number;
  /** Packets that are in no record, since too many flows were dropped within one second. */
  readonly unlisted: number;
  /** Packets that the kernel counted but had no room to tell of; undefined where its counters aren't read. */
  readonly lost: number | undefined;
}

/** How many entries one round changed, by map. */
export type RoundChanges = Readonly<
  Record<string, { readonly added: number; readonly changed: number; readonly removed: number }>
>;

export interface ProgramStatus {
  /** `from_pod`, `connect4`, … */
  readonly name: string;
  /** Where it is attached: `pod shop/web`, `cgroup /sys/fs/cgroup/kubepods`, `device eth0`. */
  readonly target: string;
  /** Path of the pinned link; empty where the hook keeps none. */
  readonly pin: string;
  /** Whether the kernel says that it is. */
  readonly attached: boolean;
}

/** What only the agent itself knows of how it is doing. */
export interface AgentCondition {
  readonly node: string;
  readonly mode: 'tunnel' | 'direct' | 'capture';
  readonly version: string;
  readonly startedAt: string;
  /** Whether pods can be added. */
  readonly ready: boolean;
  /** Why not; empty where it is ready. */
  readonly reason: string;
  /** Of pods' devices, in bytes. */
  readonly mtu: number;
  /** Of the node. */
  readonly addresses: readonly string[];
  readonly blocks: readonly { readonly block: string; readonly usable: number; readonly given: number }[];
  /** The last round that brought the maps to what they are to hold. */
  readonly lastRound:
    | { readonly at: string; readonly seconds: number; readonly changes: RoundChanges }
    | undefined;
  /** Entries that somebody else had changed, and that were put right, since the start. */
  readonly driftRepaired: number;
  readonly lastError: { readonly at: string; readonly message: string } | undefined;
  readonly programs: readonly ProgramStatus[];
}

/** What can't be used of an object as it is written. */
export interface ObjectProblem {
  readonly severity: 'error' | 'warning';
  /** Path of the file. */
  readonly source: string;
  readonly line: number;
  /** `NetworkPolicy shop/web`. */
  readonly object?: string;
  /** `spec.ingress[0].from[0].ipBlock.cidr`. */
  readonly field?: string;
  readonly message: string;
}

export interface AgentStatus extends AgentCondition {
  readonly pods: {
    readonly attached: number;
    /** In the mesh. */
    readonly captured: number;
    /** Of those in the mesh: whose sidecar is confirmed. */
    readonly confirmed: number;
  };
  /** In the cluster, as this node knows it. */
  readonly known: {
    readonly nodes: number;
    readonly pods: number;
    readonly policies: number;
    readonly services: number;
  };
  readonly drops: DropCounts;
  readonly problems: readonly ObjectProblem[];
  /** Wanted and held entries; only where the kernel's maps were asked for. */
  readonly maps: readonly MapStatus[] | undefined;
}

export interface MapStatus {
  readonly map: string;
  readonly wanted: number;
  readonly held: number;
  /** Entries that the kernel's map lacks, holds with another value, or holds without need. */
  readonly missing: number;
  readonly differing: number;
  readonly stale: number;
  readonly entriesMax: number;
}

/** An address that the node's maps know. */
export interface EndpointStatus {
  readonly ip: string;
  readonly kind: DropEnd['kind'];
  readonly name: string;
  /** Where the way to it leads; empty for what is here or outside. */
  readonly via: string;
  readonly local: boolean;
  readonly meshed: boolean;
  readonly identity: number;
  /** 0: not isolated. */
  readonly ingressSet: number;
  readonly egressSet: number;
  /** Of a local pod; empty for others. */
  readonly device: string;
  readonly mac: string;
  /** Only where the kernel's maps were asked for. */
  readonly kernel: KernelState | undefined;
}

/** Whether the kernel's map holds what the agent wants there. */
export type KernelState = 'same' | 'missing' | 'differs' | 'stale';

export interface ServiceStatus {
  /** `Service shop/catalog`, or `Pod shop/web-1` of a hostPort. */
  readonly owner: string;
  readonly kind: string;
  readonly ip: string;
  readonly port: number;
  readonly protocol: string;
  /** `internal`: for pods and the node itself; `external`: for clients outside. */
  readonly scope: 'internal' | 'external';
  readonly affinitySeconds: number;
  /** `10.244.1.3:8080`. */
  readonly backends: readonly string[];
  readonly kernel: KernelState | undefined;
}

export interface PolicyStatus {
  /** `namespace/name`. */
  readonly pod: string;
  readonly ips: readonly string[];
  readonly ingress: IsolationStatus;
  readonly egress: IsolationStatus;
}

export interface IsolationStatus {
  /** 0: no policy isolates the pod in this direction. */
  readonly set: number;
  readonly policies: readonly string[];
  readonly rules: readonly PolicyRuleStatus[];
  /** Entries of the kernel's map that say it. */
  readonly entries: number;
}

export interface PolicyRuleStatus {
  readonly policy: string;
  readonly index: number;
  /** For people: `pods app=web in namespaces team=a`; empty: anybody. */
  readonly peers: readonly string[];
  /** `TCP/8080`, `UDP/53-60`, `TCP/http`; empty: every port. */
  readonly ports: readonly string[];
}

/** What this node says of one connection. */
export interface VerdictStatus {
  readonly from: DropEnd;
  readonly to: DropEnd;
  readonly protocol: string;
  readonly port: number;
  /** Of the directions that are judged on this node. */
  readonly allowed: boolean;
  /** Undefined where the sender is no pod of this node. */
  readonly egress: DirectionStatus | undefined;
  /** Undefined where the receiver is no pod of this node. */
  readonly ingress: DirectionStatus | undefined;
}

export interface DirectionStatus {
  readonly allowed: boolean;
  readonly policies: readonly string[];
  /** The rules that allow it. */
  readonly allowedBy: readonly { readonly policy: string; readonly rule: number }[];
  readonly reason: string;
}

export interface CaptureStatus {
  readonly pod: string;
  readonly ips: readonly string[];
  readonly podId: number;
  readonly captured: boolean;
  /** Of the sidecar's container in cgroup v2; empty until it is confirmed. */
  readonly sidecarCgroup: string;
  readonly skip: {
    readonly inbound: readonly number[];
    readonly outbound: readonly number[];
    readonly cidrs: readonly string[];
  };
}

/** Of a look at everything that somebody asked for. */
export interface RepairReport {
  /** Map entries, devices and programs that weren't as the agent had made them. */
  readonly repaired: number;
}

export interface UninstallReport {
  /** In order, for people: `program from_pod at pod shop/web`, `device heddle_vxlan`. */
  readonly removed: readonly string[];
  /** What couldn't be, with the reason. */
  readonly failed: readonly string[];
}
