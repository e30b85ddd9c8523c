import { gunzipSync, gzipSync } from 'node:zlib';
import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import { isJsonObject } from '../../common/json.ts';
import type { Logger } from '../../common/log.ts';
import type { KubeObject } from '../../model/objects.ts';
import { orMissing } from '../../sources/kubernetes/client.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import type { Peer, ReplicaReport } from '../status/replicas.ts';
import { type ClusterApi, failureOf, OWN_LABELS } from './api.ts';
import { leaseCallMs, leaseDurationMs, microTime } from './lease.ts';

/** Reports come together for this long: acknowledgements come in bursts. */
export const reportGatherMs = 500;
/** A sign of life where there is nothing to report. */
export const reportRenewMs = 5_000;
/** How often the writing replica looks at what the others report. */
export const peersLookMs = 1_000;
/** The others look, too: whoever takes over from one that died knows already that it is silent. */
export const peersIdleLookMs = 5_000;
/** A replica that went away without a word is forgotten after this, and its lease removed. */
export const peerGoneMs = leaseDurationMs;
/** All annotations of an object may have 256 KiB; this is the compressed report in base64. */
const reportBytesMax = 200 * 1024;
/** What a report may unfold to: replicas trust each other, yet nobody else is trusted not to write here. */
const REPORT_UNFOLDED_BYTES_MAX = 32 * 1024 * 1024;

/** Nobody waits longer for an API server that hangs, least of all at the end. */
const CALL = { timeoutMs: leaseCallMs } as const;

const REPORT = 'heddle.dev/report';
const REPLICA = 'heddle.dev/replica';

export interface ReplicasOptions {
  readonly api: ClusterApi;
  readonly namespace: string;
  /** The pod's name. */
  readonly identity: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly leads: () => boolean;
  /** After what the others report has changed. */
  onChange(): void;
}

/** What this replica's proxies hold, told to the others by a Lease of its own, and what the others tell. */
export class Replicas {
  readonly #options: ReplicasOptions;
  readonly #name: string;
  readonly #timers: Timer[] = [];
  readonly #peers = new Map<string, PeerLease>();
  #report = '';
  #published: string | undefined;
  #publishing: Promise<void> | undefined;
  #soon: Timer | undefined;
  /** Since it may write. */
  #looked = false;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: ReplicasOptions) {
    this.#options = options;
    this.#name = `heddle-control-plane-replica-${options.identity}`;
    const { clock } = options;
    this.#timers.push(
      clock.every(reportRenewMs, () => this.#publish()),
      clock.every(peersLookMs, () => {
        if (options.leads() || clock.now() - this.#lookedAtMs >= peersIdleLookMs) void this.look();
      }),
    );
  }

  /** To be called with each round of statuses; written only where it says something new. */
  publish(report: ReplicaReport): void {
    const text = JSON.stringify(report);
    if (this.#closed || text === this.#report) return;
    this.#report = text;
    this.#soon ??= this.#options.clock.after(
      reportGatherMs,
      () => {
        this.#soon = undefined;
        this.#publish();
      },
      { background: true },
    );
  }

  /** The other replicas that live; undefined until they have been asked for since this one began to write. */
  peers(): readonly Peer[] | undefined {
    if (!this.#looked) return undefined;
    return [...this.#peers].filter(([, { gone }]) => !gone).map(([name, { report }]) => ({ name, report }));
  }

  /** Whoever begins to write looks first, and learns when each of the others last gave a sign. */
  forget(): void {
    this.#looked = false;
  }

  /** Looks at what the others report. */
  async look(): Promise<void> {
    const { api, clock, identity, leads, log, namespace, onChange } = this.#options;
    if (this.#closed) return;
    this.#lookedAtMs = clock.now();
    try {
      const { items } = await api.list(KINDS.lease, { namespace, labelSelector: `${REPLICA}=true`, ...CALL });
      if (this.#closed) return;
      const before = this.#print();
      const nowMs = clock.now();
      const names = new Set<string>();
      for (const lease of items) {
        const name = holderOf(lease);
        if (name === '' || name === identity) continue;
        names.add(name);
        this.#see(name, lease, nowMs);
      }
      for (const name of this.#peers.keys()) if (!names.has(name)) this.#peers.delete(name);
      this.#looked = leads();
      if (this.#looked && this.#print() !== before) onChange();
    } catch (thrown) {
      log.debug('the other replicas could not be looked at', { error: messageOf(thrown) });
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) timer.cancel();
    this.#soon?.cancel();
    await this.#publishing;
    if (this.#published === undefined) return;
    const { namespace } = this.#options;
    await this.#remove({ namespace, name: this.#name });
  }

  #see(name: string, lease: KubeObject, nowMs: number): void {
    const version = lease.metadata.resourceVersion ?? '';
    const known = this.#peers.get(name);
    if (known === undefined || known.version !== version) {
      const text = lease.metadata.annotations?.[REPORT];
      const report = known !== undefined && known.text === text ? known.report : this.#read(name, text);
      this.#peers.set(name, { version, text, report, sinceMs: nowMs, gone: false });
      return;
    }
    if (nowMs - known.sinceMs < peerGoneMs) return;
    this.#peers.set(name, { ...known, gone: true });
    if (this.#options.leads())
      void this.#remove({ namespace: lease.metadata.namespace, name: lease.metadata.name }, version);
  }

  #read(name: string, text: string | undefined): ReplicaReport | undefined {
    if (text === undefined || text === '') return undefined;
    try {
      const options = { maxOutputLength: REPORT_UNFOLDED_BYTES_MAX };
      const value: unknown = JSON.parse(gunzipSync(Buffer.from(text, 'base64'), options).toString('utf8'));
      // Replicas of one release write it; one of another release may lack what this one reads.
      return isReport(value) ? value : undefined;
    } catch (thrown) {
      this.#options.log.warn("a replica's report can not be read", { name, error: messageOf(thrown) });
      return undefined;
    }
  }

  #print(): string {
    return JSON.stringify([
      this.#looked,
      ...[...this.#peers].map(([name, { text, gone }]) => [name, text, gone]),
    ]);
  }

  #publish(): void {
    if (this.#closed || this.#report === '') return;
    this.#publishing ??= this.#write().finally(() => {
      this.#publishing = undefined;
    });
  }

  async #write(): Promise<void> {
    const { api, clock, identity, log, namespace } = this.#options;
    const text = this.#report;
    const spec = {
      holderIdentity: identity,
      leaseDurationSeconds: leaseDurationMs / 1000,
      renewTime: microTime(clock.wallMs()),
    };
    const annotations = text === this.#published ? undefined : { [REPORT]: this.#packed(text) };
    const ref = { namespace, name: this.#name };
    try {
      const body = annotations === undefined ? { spec } : { metadata: { annotations }, spec };
      if (
        this.#published === undefined ||
        (await orMissing(api.patch(KINDS.lease, ref, { type: 'merge', body }, CALL))) === undefined
      ) {
        await this.#create(ref, spec, text);
      }
      this.#published = text;
    } catch (thrown) {
      log.debug('what the proxies hold could not be told to the other replicas', {
        error: messageOf(thrown),
      });
    }
    if (this.#report !== text) this.#soon ??= this.#again();
  }

  #again(): Timer {
    const publish = () => {
      this.#soon = undefined;
      this.#publish();
    };
    return this.#options.clock.after(reportGatherMs, publish, { background: true });
  }

  async #create(ref: { namespace: string; name: string }, spec: object, text: string): Promise<void> {
    const { api } = this.#options;
    const annotations = { [REPORT]: this.#packed(text) };
    const labels = { ...OWN_LABELS, [REPLICA]: 'true' };
    const lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { ...ref, labels, annotations },
      spec: { ...spec },
    };
    try {
      await api.create(KINDS.lease, lease, CALL);
    } catch (thrown) {
      // Of the process before this one in the same pod.
      if (failureOf(thrown) !== 'exists') throw thrown;
      await api.patch(KINDS.lease, ref, {
        type: 'merge',
        body: { metadata: { labels, annotations }, spec: { ...spec } },
      });
    }
  }

  /** Empty where it is too large: the others then know that they don't know. */
  #packed(text: string): string {
    const packed = gzipSync(text).toString('base64');
    if (packed.length <= reportBytesMax) return packed;
    this.#options.log.warn('what the proxies hold is too much to tell: Programmed stays Unknown', {
      bytes: packed.length,
    });
    return '';
  }

  async #remove(
    ref: { namespace: string | undefined; name: string },
    resourceVersion?: string,
  ): Promise<void> {
    const only = resourceVersion === undefined ? {} : { preconditions: { resourceVersion } };
    try {
      await orMissing(this.#options.api.delete(KINDS.lease, ref, { ...only, ...CALL }));
    } catch (thrown) {
      this.#options.log.debug("a replica's lease could not be removed", { ...ref, error: messageOf(thrown) });
    }
  }
}

interface PeerLease {
  readonly version: string;
  readonly text: string | undefined;
  readonly report: ReplicaReport | undefined;
  readonly sinceMs: number;
  /** Silent for too long; its lease is about to be removed. */
  readonly gone: boolean;
}

function holderOf({ spec }: KubeObject): string {
  const holder = isJsonObject(spec) ? spec.holderIdentity : undefined;
  return typeof holder === 'string' ? holder : '';
}

function isReport(value: unknown): value is ReplicaReport {
  if (typeof value !== 'object' || value === null) return false;
  const report: { [key: string]: unknown } = { ...value };
  return (
    typeof report.bundle === 'string' &&
    typeof report.bundleWaiting === 'number' &&
    Array.isArray(report.bundleWaitingPods) &&
    typeof report.objects === 'object' &&
    report.objects !== null
  );
}
