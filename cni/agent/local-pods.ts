import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeAtomically } from '../../common/atomic-file.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';

export interface HostPort {
  /** Undefined: every address of the node. */
  readonly hostIp: string | undefined;
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
}

/** A pod's attachment to this node's network, as ADD made it. */
export interface LocalPod {
  readonly containerId: string;
  readonly ifname: string;
  /** Name of the network configuration; a file of an earlier version lacks it. */
  readonly network?: string;
  /** Path of the pod's network namespace. */
  readonly netns: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly ips: readonly string[];
  readonly hostIfname: string;
  readonly hostIfindex: number;
  readonly podMac: string;
  readonly hostMac: string;
  /** Decimal: 64 bits. */
  readonly netnsCookie: string;
  /** Names the pod in capture's maps; from 1. */
  readonly podId: number;
  readonly captured: boolean;
  readonly hostPorts: readonly HostPort[];
  /** `heddle.dev/skip-*` as they stood when the pod was added. */
  readonly skip: {
    readonly inbound: readonly number[];
    readonly outbound: readonly number[];
    readonly cidrs: readonly string[];
  };
}

/** The pods of this node, kept in one small file each, so that an agent that starts anew knows them all. */
export class LocalPods {
  readonly #directory: string;
  readonly #pods = new Map<string, LocalPod>();
  readonly #gone = new Set<string>();
  #lastPodId = 0;

  /** Reads what is there; a file that can't be read is reported and left for its DEL. */
  constructor(directory: string, log: Logger) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const file of readdirSync(directory)) {
      if (!file.endsWith('.json')) continue;
      try {
        const pod = JSON.parse(readFileSync(join(directory, file), 'utf8')) as LocalPod;
        this.#pods.set(keyOf(pod.containerId, pod.ifname), pod);
        this.#lastPodId = Math.max(this.#lastPodId, pod.podId);
      } catch (thrown) {
        log.error('a pod of the last run is unreadable', { file, error: messageOf(thrown) });
      }
    }
  }

  /** Also those that are gone and whose DEL is still to come: their addresses stay theirs until then. */
  all(): readonly LocalPod[] {
    return [...this.#pods.values()];
  }

  /** Those whose namespace is there. */
  standing(): readonly LocalPod[] {
    return this.all().filter((pod) => !this.#gone.has(keyOf(pod.containerId, pod.ifname)));
  }

  /**
   * The pod's namespace is gone, with its device; after a restart of the machine others have the numbers of both. Returns whether
   * that is new.
   */
  retire(pod: LocalPod): boolean {
    const key = keyOf(pod.containerId, pod.ifname);
    const known = this.#gone.has(key);
    this.#gone.add(key);
    return !known;
  }

  find(containerId: string, ifname: string): LocalPod | undefined {
    return this.#pods.get(keyOf(containerId, ifname));
  }

  byAddress(ip: string): LocalPod | undefined {
    return this.standing().find((pod) => pod.ips.includes(ip));
  }

  /** A number that no pod of this node has. */
  nextPodId(): number {
    const used = new Set(this.all().map((pod) => pod.podId));
    do this.#lastPodId = this.#lastPodId >= 0x7fffffff ? 1 : this.#lastPodId + 1;
    while (used.has(this.#lastPodId));
    return this.#lastPodId;
  }

  /** On disk when it returns. */
  set(pod: LocalPod): void {
    writeAtomically(this.#file(pod.containerId, pod.ifname), `${JSON.stringify(pod)}\n`);
    this.#pods.set(keyOf(pod.containerId, pod.ifname), pod);
    this.#gone.delete(keyOf(pod.containerId, pod.ifname));
  }

  delete(containerId: string, ifname: string): void {
    this.#pods.delete(keyOf(containerId, ifname));
    this.#gone.delete(keyOf(containerId, ifname));
    rmSync(this.#file(containerId, ifname), { force: true });
  }

  #file(containerId: string, ifname: string): string {
    return join(this.#directory, `${encodeURIComponent(containerId)}.${encodeURIComponent(ifname)}.json`);
  }
}

function keyOf(containerId: string, ifname: string): string {
  return `${containerId}/${ifname}`;
}
