import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { isKernelError } from '../kernel/errors.ts';
import { type BpfMap, RingReader } from '../kernel/libbpf.ts';
import { netnsCookie } from '../kernel/netns.ts';
import { POD, TAG } from '../maps/constants.ts';
import type { Pod } from '../maps/layouts.ts';
import { decode, encode } from '../maps/struct.ts';
import { RINGS, TABLES } from '../maps/tables.ts';
import type { CgroupMount } from './cgroup-root.ts';
import {
  cgroupOfProcess,
  type OpenListener,
  openListeners,
  processesOf,
  sidecarUserProcesses,
  unlessGone,
} from './sidecar-processes.ts';

/** Candidates that are being judged; more are left to the next `scan`. */
const candidatesJudgedMax = 1_024;
/** From a process that can't be found by its number to a look at all of them, which then serves all that came meanwhile. */
const scanSoonMs = 100;

const SIDECAR_TAG = encode(TABLES.sidecarSocket.value, TAG.SIDECAR);

/** A process that listens as a sidecar does and asks to be taken for one. */
export interface SidecarCandidate {
  /** Of the pod's network namespace. */
  readonly netnsCookie: bigint;
  readonly podId: number;
  /** From the root of cgroup v2; the container's runtime puts its id there. */
  readonly cgroupPath: string;
  /** It may be gone when this is read. */
  readonly pid: number;
}

export interface SidecarsDeps {
  /** `pod_map`, `listener_map`, `sidecar_socket_map`, `candidate_ring`. */
  readonly maps: {
    readonly pod: BpfMap;
    readonly listener: BpfMap;
    readonly sidecarSocket: BpfMap;
    readonly candidate: BpfMap;
  };
  /** Where cgroup v2 is mounted. */
  readonly cgroupMount: CgroupMount;
  /**
   * Whether this is the container `heddle-proxy` of that pod. It is asked once for each cgroup that begins to listen; where the
   * answer depends on a status that hasn't arrived, it waits for it, or `scan` asks again.
   */
  readonly isSidecar: (candidate: SidecarCandidate) => boolean | Promise<boolean>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Confirms sidecars: the kernel tells of each process with the sidecar's uid that listens on a sidecar's port in a cgroup that isn't
 * confirmed. Once `isSidecar` says yes, the cgroup stands in `pod_map`, from where the programs know its sockets by
 * themselves; what it had open before is tagged and registered here.
 */
export class Sidecars implements Disposable {
  readonly #deps: SidecarsDeps;
  readonly #ring: RingReader;
  /** What is being judged; true where it was told of again meanwhile. */
  readonly #judging = new Map<string, boolean>();
  #soon: Timer | undefined;
  #closed = false;

  constructor(deps: SidecarsDeps) {
    this.#deps = deps;
    this.#ring = new RingReader(deps.maps.candidate, (record) => this.#take(record), deps.clock);
  }

  /** Cgroups of confirmed sidecars by pod id, also those that an earlier run confirmed. To be kept when `pod_map` is written. */
  confirmed(): ReadonlyMap<number, bigint> {
    const found = new Map<number, bigint>();
    for (const [, value] of this.#deps.maps.pod.entries()) {
      const pod = decode(TABLES.pod.value, value);
      if (pod.sidecarCgroup !== 0n) found.set(pod.podId, pod.sidecarCgroup);
    }
    return found;
  }

  /**
   * Looks at every process of the sidecar's user, for an agent that was away or a pod that stayed without a sidecar. Resolves when
   * all are judged.
   */
  async scan(): Promise<void> {
    const judged: Promise<void>[] = [];
    for (const pid of sidecarUserProcesses()) {
      const netns = cookieOf(pid);
      const pod = netns === undefined ? undefined : this.#pod(netns);
      const cgroup = cgroupOfProcess(pid, this.#deps.cgroupMount);
      if (netns === undefined || pod === undefined || cgroup === undefined) continue;
      const sockets = openListeners(pid);
      for (const { socket } of sockets) socket[Symbol.dispose]();
      if (sockets.length > 0) judged.push(this.#judge(netns, cgroup.id, pid));
    }
    await Promise.all(judged);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#soon?.cancel();
    this.#ring[Symbol.dispose]();
  }

  #take(record: Buffer): void {
    const { netnsCookie: netns, cgroup, pid } = decode(RINGS.candidate.event, record);
    if (this.#isThere(netns, cgroup, pid)) void this.#judge(netns, cgroup, pid);
    else this.#scanSoon();
  }

  /**
   * The kernel counts processes of the whole machine. They have other numbers here where the node itself is a container, and
   * another process may hold the socket by now.
   */
  #isThere(netns: bigint, cgroup: bigint, pid: number): boolean {
    return cgroupOfProcess(pid, this.#deps.cgroupMount)?.id === cgroup && cookieOf(pid) === netns;
  }

  #scanSoon(): void {
    this.#soon ??= this.#deps.clock.after(scanSoonMs, () => {
      this.#soon = undefined;
      this.scan().catch((thrown: unknown) =>
        this.#deps.log.warn('sidecars could not be looked at', { error: messageOf(thrown) }),
      );
    });
  }

  async #judge(netns: bigint, cgroup: bigint, pid: number): Promise<void> {
    const { log } = this.#deps;
    const name = `${netns} ${cgroup}`;
    if (this.#judging.has(name)) {
      this.#judging.set(name, true);
      return;
    }
    if (this.#judging.size >= candidatesJudgedMax) {
      log.warn('too many sidecars begin at once; the rest is looked for later', { pid });
      return;
    }
    this.#judging.set(name, false);
    try {
      do {
        this.#judging.set(name, false);
        await this.#judgeOnce(netns, cgroup, pid);
      } while (this.#judging.get(name) === true && !this.#closed);
    } catch (thrown) {
      log.error('a sidecar could not be confirmed; its pod has no traffic', {
        pid,
        error: messageOf(thrown),
      });
    } finally {
      this.#judging.delete(name);
    }
  }

  async #judgeOnce(netns: bigint, cgroup: bigint, pid: number): Promise<void> {
    const { cgroupMount, isSidecar, log } = this.#deps;
    const pod = this.#pod(netns);
    const place = cgroupOfProcess(pid, cgroupMount);
    if (pod === undefined) return;
    // The pid may be another process's by now, or have moved: what was told of is a namespace and a cgroup.
    if (place?.id !== cgroup || cookieOf(pid) !== netns) return;
    if (pod.sidecarCgroup !== cgroup) {
      const candidate = { netnsCookie: netns, podId: pod.podId, cgroupPath: place.path, pid };
      if (!(await isSidecar(candidate))) {
        log.warn('a process that is no sidecar listens on a sidecar port; it gets no connection', {
          pid,
          podId: pod.podId,
          cgroup: place.path,
        });
        return;
      }
      if (this.#closed || !this.#confirm(netns, cgroup)) return;
      log.info('confirmed a sidecar', { pid, podId: pod.podId, cgroup: place.path });
    }
    // Only now: what begins to listen from here on registers itself.
    this.#register(netns, pod.podId, place.folder);
  }

  #pod(netns: bigint): Pod | undefined {
    const value = this.#deps.maps.pod.lookup(encode(TABLES.pod.key, netns));
    const pod = value === undefined ? undefined : decode(TABLES.pod.value, value);
    return pod !== undefined && (pod.flags & POD.MESHED) !== 0 ? pod : undefined;
  }

  /** Whether the pod is still there. */
  #confirm(netns: bigint, cgroup: bigint): boolean {
    const pod = this.#pod(netns);
    if (pod === undefined) return false;
    const value = encode(TABLES.pod.value, { ...pod, sidecarCgroup: cgroup });
    try {
      this.#deps.maps.pod.update(encode(TABLES.pod.key, netns), value, 'existing');
      return true;
    } catch (thrown) {
      if (isKernelError(thrown, 'ENOENT')) return false;
      throw thrown;
    }
  }

  #register(netns: bigint, podId: number, cgroup: string): void {
    for (const pid of processesOf(cgroup)) {
      if (cookieOf(pid) !== netns) continue;
      for (const { listener, socket } of openListeners(pid)) {
        using open = socket;
        this.#deps.maps.sidecarSocket.updateOnSocket(open.number, SIDECAR_TAG);
        this.#registerOne(podId, listener, open.number);
      }
    }
  }

  #registerOne(podId: number, { port, families }: OpenListener, socket: number): void {
    const { listener } = this.#deps.maps;
    for (const family of families) {
      const key = encode(TABLES.listener.key, { podId, port, family });
      // A socket that serves both families leaves a place to one that serves this one alone; a dead one leaves by itself.
      if (listener.lookup(key) !== undefined) continue;
      try {
        listener.updateSocket(key, socket);
      } catch (thrown) {
        // It stopped listening meanwhile.
        if (!isKernelError(thrown, 'EOPNOTSUPP', 'EINVAL')) throw thrown;
      }
    }
  }
}

function cookieOf(pid: number): bigint | undefined {
  return unlessGone(() => netnsCookie(`/proc/${pid}/ns/net`));
}
