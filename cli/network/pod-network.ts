import type { KubeObject } from '../../model/objects.ts';

/** What a pod got of the network. */
export interface PodAddresses {
  readonly ips: readonly string[];
  /** Environment by container name. */
  readonly env: ReadonlyMap<string, Readonly<Record<string, string>>>;
}

export interface NetworkRequest {
  /** After admission. */
  readonly pod: KubeObject;
  readonly node: number;
  readonly injected: boolean;
}

/** Gives pods their addresses. The sidecar learns of the kind of network by `HEDDLE_CAPTURE` alone. */
export interface PodNetwork {
  readonly name: 'loopback';
  /** Fails with code `port-conflict` where the pod can't run here, and says why. */
  add(request: NetworkRequest): Promise<PodAddresses>;
  remove(podUid: string): Promise<void>;
  /** What is wrong with a pod's network, or undefined. */
  check(podUid: string): string | undefined;
}
