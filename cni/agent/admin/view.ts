import type { AgentCondition, UninstallReport } from '../../../common/pod-network.ts';
import type { SourcedObject } from '../../../model/objects.ts';
import type { MapPlan, PlannedMap } from '../../maps/reconcile.ts';
import type { PolicyPlan } from '../../policy/plan.ts';
import type { ServicePlan } from '../../services/plan.ts';
import type { DropLog } from '../drops.ts';
import type { LocalPod } from '../local-pods.ts';
import type { ClusterNode } from '../nodes.ts';

/** What the admin socket reads of a running agent. Reading changes nothing; every call gives what holds now. */
export interface AgentView {
  condition(): AgentCondition;
  localPods(): readonly LocalPod[];
  nodes(): ReadonlyMap<string, ClusterNode>;
  /** Addresses of the control plane. */
  controlPlane(): readonly string[];
  /** Pods (v1) of the cluster. */
  pods(): readonly SourcedObject[];
  /** Of a cluster without objects until the first are read. */
  policy(): PolicyPlan;
  services(): ServicePlan;
  /** What the maps are to hold; undefined before the first round. */
  plan(): MapPlan | undefined;
  /** Cgroups of confirmed sidecars, by pod id. */
  sidecars(): ReadonlyMap<number, bigint>;
  readonly drops: DropLog;
  /** A map as the kernel holds it now, not as it is remembered. */
  readMap(map: PlannedMap): Iterable<readonly [Uint8Array, Uint8Array]>;
  /** Looks now whether all still stands as it was made; how many things were put right. */
  repair(): Promise<number>;
  /**
   * Takes everything of Heddle off the node: programs, pins, devices, rules, the CNI configuration. The agent ends by
   * itself once this is told. Asked only where no pod is attached, or where that is wanted all the same.
   */
  uninstall(): Promise<UninstallReport>;
}
