import type { Dialer } from '../../common/net.ts';
import type { KubeObject } from '../../model/objects.ts';
import type { ContainerSpec } from '../local/pod-spec.ts';

/** What a pod got of the network. */
export interface PodAddresses {
  readonly ips: readonly string[];
  /** Environment by container name. */
  readonly env: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** Path of the pod's network namespace; undefined where it has none of its own. */
  readonly netns?: string;
  /** Where its containers run; undefined: as plain processes of this machine. */
  readonly sandbox?: Sandbox;
}

/** A process as it is started. */
export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Puts the processes of one pod into its network, with its own names and files. */
export interface Sandbox {
  /** The mesh's root certificates as the pod's containers see them. */
  readonly rootFile: string;
  /** Where containers find a volume's folder. */
  volumePath(volume: string): string;
  /** To be called once, before any process: the folder on this machine of each volume. */
  open(volumes: ReadonlyMap<string, string>): void;
  /** The process that starts `launch` as that container. Fails with code `container-config` where its spec can't be met. */
  enter(container: ContainerSpec, launch: Launch): Launch;
}

export interface NetworkRequest {
  /** After admission. */
  readonly pod: KubeObject;
  readonly node: number;
  readonly injected: boolean;
}

export type NetworkKind = 'loopback' | 'ebpf';

/** Gives pods their addresses. The sidecar learns of the kind of network by `HEDDLE_CAPTURE` alone. */
export interface PodNetwork {
  readonly name: NetworkKind;
  /** Fails with code `port-conflict` where the pod can't run here, and says why. */
  add(request: NetworkRequest): Promise<PodAddresses>;
  remove(podUid: string): Promise<void>;
  /** What is wrong with a pod's network, or undefined. */
  check(podUid: string): Promise<string | undefined>;
  /** Addresses of a node, the first of each family. */
  hostIps(node: number): readonly string[];
  /** Dials as the node itself does, as kubelet's probes do. */
  dialer(node: number): Dialer;
}

/** A pod network with what `heddle up` has to do for it beside pods. */
export interface MeshNetwork extends PodNetwork {
  /** How sidecars get their traffic, in the injector's words. */
  readonly capture: 'http-proxy' | 'transparent';
  /** Makes what stands before any other process of the mesh. */
  start(): Promise<void>;
  /** Returns once pods can be added. Fails with code `network` where they can't within a deadline. */
  ready(): Promise<void>;
  /** Where the control plane listens for sidecars. */
  controlPlaneAddress(): string;
  /** Admin sockets of the nodes' agents; none without a pod network. */
  agentSockets(): readonly string[];
  /** Node objects; none where there is one machine and no more. */
  nodes(): readonly KubeObject[];
  /** Takes everything away; to be called once all pods are gone. */
  stop(): Promise<void>;
}
