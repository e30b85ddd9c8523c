import { randomUUID } from 'node:crypto';
import type { Clock, Timer } from '../../common/clock.ts';
import type { Result } from '../../common/errors.ts';
import type { KubeObject } from '../../model/objects.ts';
import { admitPod, type WebhookAddress, webhookSelects } from './admission.ts';
import { ADMISSION_BACKOFF, Backoff } from './backoff.ts';
import type { Owner } from './owners.ts';
import { podSpecOf } from './pod-spec.ts';

export interface GateSettings {
  readonly clock: Clock;
  /** Where the webhook is, or undefined before it runs. */
  webhook(): WebhookAddress | undefined;
  /** An object in force, by its key. */
  find(key: string): KubeObject | undefined;
  /** Asks the webhook; the real one unless a test stands in for it. */
  readonly ask?: (address: WebhookAddress, pod: KubeObject, uid: string) => Promise<Result<KubeObject>>;
  /** Runs when it is time to try again. */
  onRetry(): void;
}

/** Why an owner's pods can't be created now. */
interface Hold {
  readonly reason: string;
  readonly retry: Backoff;
  timer: Timer | undefined;
}

/**
 * What stands between a pod that a controller wants and one that runs: its ServiceAccount must exist, and the webhook,
 * where it selects the pod, must have answered. A refusal holds the owner back for a while and is told as its reason.
 */
export class AdmissionGate {
  readonly #settings: GateSettings;
  readonly #holds = new Map<string, Hold>();
  #closed = false;

  constructor(settings: GateSettings) {
    this.#settings = settings;
  }

  /** Why pods of this owner can't be created, or undefined. */
  reason(owner: string): string | undefined {
    return this.#holds.get(owner)?.reason;
  }

  /** Whether the owner has to wait before its next pod is tried. */
  waits(owner: string): boolean {
    return this.#holds.get(owner)?.timer !== undefined;
  }

  /** The pod as admission leaves it; undefined where it may not be created yet. */
  async admit(owner: Owner, pod: KubeObject): Promise<KubeObject | undefined> {
    const { find, webhook, ask = admitPod } = this.#settings;
    const namespace = pod.metadata.namespace ?? 'default';
    const account = podSpecOf(pod).serviceAccount;
    if (account !== 'default' && find(`ServiceAccount/${namespace}/${account}`) === undefined)
      return this.hold(owner.key, `ServiceAccount "${account}" doesn't exist in namespace ${namespace}`);
    const labels = find(`Namespace//${namespace}`)?.metadata.labels ?? {};
    if (!webhookSelects(namespace, labels, pod.metadata.labels ?? {})) {
      this.#release(owner.key);
      return pod;
    }
    const address = webhook();
    if (address === undefined) return this.hold(owner.key, "the injection webhook isn't running yet");
    const admitted = await ask(address, pod, randomUUID());
    if (!admitted.ok) return this.hold(owner.key, admitted.error.message);
    this.#release(owner.key);
    return admitted.value;
  }

  hold(owner: string, reason: string): undefined {
    if (this.#closed) return undefined;
    const known = this.#holds.get(owner);
    known?.timer?.cancel();
    const hold: Hold = { reason, retry: known?.retry ?? new Backoff(ADMISSION_BACKOFF), timer: undefined };
    this.#holds.set(owner, hold);
    hold.timer = this.#settings.clock.after(hold.retry.next(0), () => {
      hold.timer = undefined;
      this.#settings.onRetry();
    });
    return undefined;
  }

  /** Forgets every hold: the objects changed, and with them perhaps the reasons. */
  clear(): void {
    for (const key of [...this.#holds.keys()]) this.#release(key);
  }

  close(): void {
    this.#closed = true;
    this.clear();
  }

  #release(owner: string): void {
    this.#holds.get(owner)?.timer?.cancel();
    this.#holds.delete(owner);
  }
}
