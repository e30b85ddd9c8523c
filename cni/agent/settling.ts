import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { placeOf } from './attachments.ts';
import type { LocalPod, LocalPods } from './local-pods.ts';
import type { NodePrograms } from './programs/node-programs.ts';

/** Between two links, each of which holds this process and all devices of the machine for 15 ms. */
const pauseMs = 100;

export interface SettlingDeps {
  readonly localPods: LocalPods;
  readonly programs: Pick<NodePrograms, 'settlePod'>;
  readonly nodeNetns: string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Gives pods that were attached in a hurry links of their own, one after the other: a link can't be taken away by who clears a
 * device's filters, and an agent knows it again by its pin.
 */
export class Settling {
  readonly #deps: SettlingDeps;
  readonly #waiting = new Set<string>();
  #timer: Timer | undefined;
  #closed = false;

  constructor(deps: SettlingDeps) {
    this.#deps = deps;
    for (const pod of deps.localPods.standing()) this.add(pod);
  }

  add({ containerId, ifname }: Pick<LocalPod, 'containerId' | 'ifname'>): void {
    if (this.#closed) return;
    this.#waiting.add(`${containerId} ${ifname}`);
    this.#timer ??= this.#deps.clock.after(pauseMs, () => this.#next(), { background: true });
  }

  /** Pods whose programs have no links yet, or weren't looked at. */
  waiting(): number {
    return this.#waiting.size;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#waiting.clear();
  }

  #next(): void {
    const { localPods, programs, nodeNetns, clock, log } = this.#deps;
    this.#timer = undefined;
    // Those that have their links already cost next to nothing.
    for (const key of this.#waiting) {
      const [containerId = '', ifname = ''] = key.split(' ');
      const pod = localPods.find(containerId, ifname);
      try {
        if (
          pod !== undefined &&
          localPods.standing().includes(pod) &&
          programs.settlePod(placeOf(pod, nodeNetns))
        )
          break;
      } catch (thrown) {
        // It goes on as it is; the next agent tries again.
        log.warn('a pod gets no links of its own', { container: containerId, error: messageOf(thrown) });
      }
      this.#waiting.delete(key);
    }
    if (this.#waiting.size > 0) this.#timer = clock.after(pauseMs, () => this.#next(), { background: true });
  }
}
