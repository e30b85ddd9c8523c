import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { netnsGone } from '../kernel/netns.ts';
import { addPodLink, podLinkProblems } from '../setup/pod.ts';
import { addCapture, captureProblems } from '../setup/pod-capture.ts';
import { placeOf } from './attachments.ts';
import type { LocalPod, LocalPods } from './local-pods.ts';
import type { NodeGround } from './node-ground.ts';
import type { NodeMaps } from './node-maps.ts';
import type { Pipeline } from './pipeline.ts';
import type { NodePrograms } from './programs/node-programs.ts';
import { retireGonePods } from './recall.ts';
import type { Settling } from './settling.ts';

/** Between two looks at everything. */
const repairMs = 30_000;
/** Rounds that are waited for before the maps are left to the next look. */
const quietTriesMax = 10;

export interface RepairDeps {
  readonly maps: NodeMaps;
  readonly programs: NodePrograms;
  readonly ground: NodeGround;
  readonly localPods: LocalPods;
  readonly pipeline: Pipeline;
  readonly settling: Pick<Settling, 'add'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Looks every now and then whether all still stands as it was made, and puts right what somebody else changed. */
export class Repair {
  readonly #deps: RepairDeps;
  readonly #timer: Timer;
  #repaired = 0;
  #running: Promise<void> | undefined;
  #error: { readonly at: number; readonly message: string } | undefined;

  constructor(deps: RepairDeps) {
    this.#deps = deps;
    this.#timer = deps.clock.every(repairMs, () => void this.run());
  }

  /** Map entries, devices and programs that were put right since the start. */
  repaired(): number {
    return this.#repaired;
  }

  /** Of the last look, where it failed; `at` in milliseconds since the epoch. */
  lastError(): { readonly at: number; readonly message: string } | undefined {
    return this.#error;
  }

  /** One look; never rejects. A second call while one runs is that one. */
  run(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** A look that begins after this call; how many things it put right. */
  async now(): Promise<number> {
    await this.#running;
    const before = this.#repaired;
    await this.run();
    return this.#repaired - before;
  }

  async close(): Promise<void> {
    this.#timer.cancel();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { ground, programs, localPods, clock, log } = this.#deps;
    try {
      this.#count('the node', ground.repair());
      this.#count('pins of maps', programs.pinMaps());
      const missing = programs.missing(ground.devices());
      if (missing.length > 0) {
        programs.attachSockets(ground.cgroup);
        programs.attachDevices(ground.devices());
        this.#count('programs of the node', missing);
      }
      retireGonePods(localPods, log);
      for (const pod of localPods.standing()) this.#pod(pod);
      await this.#maps();
      this.#error = undefined;
    } catch (thrown) {
      const message = messageOf(thrown);
      this.#error = { at: clock.wallMs(), message };
      log.error('the node could not be looked through', { error: message });
    }
  }

  /** Compares the maps with what the last round made of them, at a moment when no round is at work: the rest is drift. */
  async #maps(): Promise<void> {
    const { maps, pipeline, log } = this.#deps;
    await pipeline.settled();
    for (let tries = 1; pipeline.busy(); tries++) {
      if (tries === quietTriesMax) return;
      await pipeline.settled();
    }
    const plan = pipeline.last()?.plan;
    if (plan === undefined) return;
    maps.reread();
    let found = 0;
    for (const [map, { missing, changed, stale }] of maps.differences(plan)) {
      found += missing + changed + stale;
      log.warn('entries that somebody else had changed are put right', { map, missing, changed, stale });
    }
    this.#repaired += found;
    if (found > 0) await pipeline.settled();
  }

  #pod(pod: LocalPod): void {
    const { ground, programs, localPods, settling, log } = this.#deps;
    const name = `pod ${pod.namespace}/${pod.name}`;
    try {
      const link = { ...pod, nodeNetns: ground.netns, mtu: ground.mtu(), nodeAddresses: ground.addresses() };
      const problems = ground.mode === 'capture' ? [] : podLinkProblems(link);
      const capture = pod.captured ? captureProblems(pod.netns, pod.ips) : [];
      const missing = programs.missingOfPod(placeOf(pod, ground.netns));
      if (problems.length > 0) localPods.set({ ...pod, ...addPodLink(link) });
      if (capture.length > 0) addCapture(pod.netns, pod.ips);
      const now = localPods.find(pod.containerId, pod.ifname) ?? pod;
      if (missing.length > 0 || now.hostIfindex !== pod.hostIfindex) {
        programs.attachPod(placeOf(now, ground.netns));
        settling.add(now);
      }
      this.#count(name, [...problems, ...capture, ...missing]);
    } catch (thrown) {
      // A namespace that is gone has its DEL still to come.
      if (!netnsGone(thrown)) log.warn('a pod could not be mended', { pod: name, error: messageOf(thrown) });
    }
  }

  #count(where: string, problems: readonly string[]): void {
    if (problems.length === 0) return;
    this.#repaired += problems.length;
    this.#deps.log.warn('what somebody else had changed was put right', { where, what: problems.join('; ') });
  }
}
