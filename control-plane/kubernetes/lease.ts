import type { Clock, Timer } from '../../common/clock.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { isJsonObject, type JsonObject } from '../../common/json.ts';
import type { Logger } from '../../common/log.ts';
import type { Random } from '../../common/random.ts';
import type { KubeObject } from '../../model/objects.ts';
import { type ObjectRef, orMissing } from '../../sources/kubernetes/client.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { type ClusterApi, failureOf, OWN_LABELS } from './api.ts';

/** client-go's defaults. Others may take the lease so long after its last change that they saw. */
export const leaseDurationMs = 15_000;
/** The holder stops by itself where it could not renew for so long: well before anybody else begins. */
export const renewDeadlineMs = 10_000;
const retryPeriodMs = 2_000;
/** A call that hangs must leave time for another one before the deadline. */
export const leaseCallMs = 4_000;
/** So that replicas that began together don't go on asking together. */
const RETRY_JITTER = 0.2;

export interface LeaderElectionOptions {
  readonly api: ClusterApi;
  readonly namespace: string;
  readonly name: string;
  /** The pod's name. */
  readonly identity: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** After it changed. Whoever writes asks `leads()` before each write all the same. */
  onChange(leads: boolean): void;
}

export interface LeaderElection {
  /** True only while nobody else can hold the lease: a process that was paused finds out here, before it writes. */
  leads(): boolean;
  /** The holder's name, as last seen; empty where nobody is. */
  holder(): string;
  /** Gives the lease up, so that another replica takes it at once. */
  close(): Promise<void>;
}

/** A Lease's fields that matter, and when this process first saw them. */
interface Observed {
  readonly lease: KubeObject;
  readonly print: string;
  readonly sinceMs: number;
}

/**
 * Keeps trying to hold a Lease, as client-go's leaderelection does: others' clocks are never compared, what counts is
 * how long this process has seen no change.
 */
export function startLeaderElection(options: LeaderElectionOptions): LeaderElection {
  const candidate = new Candidate(options);
  candidate.start();
  return candidate;
}

class Candidate implements LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #ref: ObjectRef;
  #observed: Observed | undefined;
  /** When the call that last renewed it was begun; undefined where it isn't held. */
  #renewedMs: number | undefined;
  #told = false;
  #timer: Timer | undefined;
  #expiry: Timer | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#ref = { namespace: options.namespace, name: options.name };
  }

  start(): void {
    if (this.#closed) return;
    this.#running = this.#round().finally(() => {
      this.#running = undefined;
      this.#again();
    });
  }

  leads(): boolean {
    const renewedMs = this.#renewedMs;
    return renewedMs !== undefined && this.#options.clock.now() - renewedMs < renewDeadlineMs;
  }

  holder(): string {
    return this.#observed === undefined ? '' : holderOf(this.#observed.lease);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#expiry?.cancel();
    await this.#running;
    const held = this.leads();
    this.#renewedMs = undefined;
    this.#tell();
    const { api, clock, log } = this.#options;
    if (!held || this.#observed === undefined) return;
    const metadata = { resourceVersion: this.#observed.lease.metadata.resourceVersion };
    // Short and without a holder, as client-go leaves it: whoever comes next doesn't wait.
    const spec = { holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(clock.wallMs()) };
    await within(
      clock,
      leaseCallMs,
      api.patch(KINDS.lease, this.#ref, { type: 'merge', body: { metadata, spec } }),
    ).catch((thrown: unknown) =>
      log.warn('the lease could not be given up: another replica takes it once it is over', {
        lease: this.#ref.name,
        error: messageOf(thrown),
      }),
    );
  }

  #again(): void {
    if (this.#closed) return;
    const { clock, random } = this.#options;
    const delayMs = retryPeriodMs * (1 + RETRY_JITTER * random.next());
    this.#timer = clock.after(delayMs, () => this.start(), { background: true });
  }

  async #round(): Promise<void> {
    const { clock, log } = this.#options;
    const begunMs = clock.now();
    try {
      if (await within(clock, leaseCallMs, this.#tryHold())) this.#renewedMs = begunMs;
      else this.#renewedMs = undefined;
    } catch (thrown) {
      const reason = failureOf(thrown);
      // Somebody else wrote it: the next look says who.
      if (reason !== 'conflict' && reason !== 'exists') {
        log.warn('the lease could not be renewed or asked for', { error: messageOf(thrown) });
      }
    }
    this.#tell();
  }

  #tell(): void {
    const { clock, log, onChange } = this.#options;
    this.#expiry?.cancel();
    const leads = this.leads();
    if (leads && this.#renewedMs !== undefined) {
      const leftMs = this.#renewedMs + renewDeadlineMs - clock.now();
      this.#expiry = clock.after(leftMs, () => this.#tell(), { background: true });
    }
    if (leads === this.#told) return;
    this.#told = leads;
    log.info(leads ? 'this replica writes statuses' : 'this replica no longer writes statuses', {
      lease: this.#ref.name,
    });
    onChange(leads);
  }

  /** One attempt to take or renew it. False where another one holds it. */
  async #tryHold(): Promise<boolean> {
    const { api, clock, identity, namespace, name } = this.#options;
    const found = await orMissing(api.get(KINDS.lease, this.#ref));
    if (found === undefined) {
      const metadata = { name, namespace, labels: OWN_LABELS };
      const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata };
      this.#observe(await api.create(KINDS.lease, { ...lease, spec: this.#record(undefined) }));
      return true;
    }
    const { sinceMs } = this.#observe(found);
    const holder = holderOf(found);
    const free = holder === '' || holder === identity || sinceMs + durationMs(found) <= clock.now();
    if (!free) return false;
    const metadata = { resourceVersion: found.metadata.resourceVersion };
    this.#observe(
      await api.patch(KINDS.lease, this.#ref, {
        type: 'merge',
        body: { metadata, spec: this.#record(found) },
      }),
    );
    return true;
  }

  #record(before: KubeObject | undefined): JsonObject {
    const { clock, identity } = this.#options;
    const now = microTime(clock.wallMs());
    const old = specOf(before);
    const mine = old.holderIdentity === identity;
    const transitions = typeof old.leaseTransitions === 'number' ? old.leaseTransitions : 0;
    return {
      holderIdentity: identity,
      leaseDurationSeconds: leaseDurationMs / 1000,
      acquireTime: mine ? (old.acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: before === undefined || mine ? transitions : transitions + 1,
    };
  }

  #observe(lease: KubeObject): Observed {
    const print = JSON.stringify(lease.spec ?? null);
    const sinceMs = this.#observed?.print === print ? this.#observed.sinceMs : this.#options.clock.now();
    this.#observed = { lease, print, sinceMs };
    return this.#observed;
  }
}

function specOf(lease: KubeObject | undefined): JsonObject {
  return isJsonObject(lease?.spec) ? lease.spec : {};
}

function holderOf(lease: KubeObject): string {
  const { holderIdentity } = specOf(lease);
  return typeof holderIdentity === 'string' ? holderIdentity : '';
}

function durationMs(lease: KubeObject): number {
  const { leaseDurationSeconds } = specOf(lease);
  return typeof leaseDurationSeconds === 'number' ? leaseDurationSeconds * 1000 : leaseDurationMs;
}

/** Kubernetes' MicroTime: RFC 3339 with six digits of a second. */
export function microTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace('Z', '000Z');
}

/** Rejects with `kubernetes-unreachable` where `call` takes longer; what it does later nobody waits for. */
async function within<T>(clock: Clock, limitMs: number, call: Promise<T>): Promise<T> {
  let timer: Timer | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = clock.after(
      limitMs,
      () => reject(new HeddleError('kubernetes-unreachable', `no answer within ${limitMs} ms`)),
      { background: true },
    );
  });
  try {
    return await Promise.race([call, late]);
  } finally {
    timer?.cancel();
  }
}
