import type { Changes } from './changes.ts';
import { type ClusterObjects, findPod } from './cluster.ts';
import type { LocalPods } from './local-pods.ts';
import { isCgroupOf, sidecarContainerId } from './pod-facts.ts';
import type { SidecarCandidate } from './sidecars.ts';

/** From the start of a container until its Pod's status names it; past it the next look at all processes asks again. */
const statusWaitMs = 30_000;

export interface JudgeDeps {
  readonly localPods: LocalPods;
  readonly cluster: () => ClusterObjects;
  /** Told of each change of the objects. */
  readonly changes: Changes;
}

/**
 * Whether a process runs in the container `heddle-proxy` of its pod: the status names the container's id, the runtime its cgroup.
 * A container of an older sandbox is no answer, so it waits for the status of this one.
 */
export function sidecarJudge({ localPods, cluster, changes }: JudgeDeps) {
  return async ({ podId, cgroupPath }: SidecarCandidate): Promise<boolean> => {
    const find = (): boolean | undefined => {
      const local = localPods.standing().find((pod) => pod.podId === podId);
      if (local === undefined) return false;
      const pod = findPod(cluster(), local.namespace, local.name, local.uid);
      const id = pod === undefined ? undefined : sidecarContainerId(pod);
      return id !== undefined && isCgroupOf(cgroupPath, id) ? true : undefined;
    };
    return (await changes.until(find, { timeoutMs: statusWaitMs })) ?? false;
  };
}
