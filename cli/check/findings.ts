import type { KubeObject, Problem } from '../../model/objects.ts';
import type { AgentAnswer } from '../client/agents.ts';
import type { NetworkKind } from '../network/pod-network.ts';

/** One thing that `heddle check` says. */
export interface Finding {
  /** `problem`: something doesn't work as asked. `warning`: it may be meant. `note`: good to know. `good`: looked at and fine. */
  readonly level: 'problem' | 'warning' | 'note' | 'good';
  /** `pod shop/web-6c8f7d5b9c-x2v4z`. */
  readonly about: string;
  readonly message: string;
  /** What to do about it. */
  readonly remedy?: string;
  /** `file:line`, where a manifest is to blame. */
  readonly where?: string;
  readonly namespace?: string;
}

/** A sidecar as the control plane sees it. */
export interface SidecarView {
  /** `namespace/name`. */
  readonly pod: string;
  /** Resources sent and not acknowledged, of all types. */
  readonly pending: number;
  readonly nack: string | undefined;
}

/** What a sidecar says of itself; undefined parts where it doesn't answer. */
export interface SidecarAnswer {
  /** Seconds until its certificate expires. */
  readonly certificateSeconds: number | undefined;
  /** Why it couldn't be asked. */
  readonly error: string | undefined;
}

/** Everything that the checks read, gathered once. */
export interface Facts {
  readonly nowMs: number;
  readonly network: NetworkKind;
  readonly objects: readonly KubeObject[];
  /** Of files and objects, by the control plane and by the local runner. */
  readonly problems: readonly Problem[];
  readonly sidecars: readonly SidecarView[];
  /** Of all nodes; none in loopback mode. */
  readonly agents: readonly AgentAnswer[];
  /** By `namespace/name` of the pod. */
  readonly answers: ReadonlyMap<string, SidecarAnswer>;
  /** How long the mesh's settings let a workload's certificate live. */
  readonly leafTtlSeconds: number;
  /** `file:line` of an object by its key, where a manifest holds it. */
  readonly origins: ReadonlyMap<string, string>;
}

export function podName(pod: KubeObject): string {
  return `${pod.metadata.namespace ?? 'default'}/${pod.metadata.name}`;
}

export function ofKind(facts: Pick<Facts, 'objects'>, kind: string): readonly KubeObject[] {
  return facts.objects.filter((object) => object.kind === kind);
}
