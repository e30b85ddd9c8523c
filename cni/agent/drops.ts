import { addressText } from '../../common/address.ts';
import type { Clock, Timer } from '../../common/clock.ts';
import type { DropCounts, DropEnd, DropRecord } from '../../common/pod-network.ts';
import { DIRECTION, protocolName } from '../maps/constants.ts';
import { DROP, dropReason } from '../maps/drops.ts';
import { type Drop, drop as dropEvent } from '../maps/layouts.ts';
import { decode } from '../maps/struct.ts';
import type { PolicyPlan } from '../policy/plan.ts';
import { AddressBook, type AddressSources } from './address-book.ts';

/** What drops are named by, as it holds from the moment it is told. */
export interface DropKnowledge extends AddressSources {
  readonly policy: Pick<PolicyPlan, 'sets'>;
}

export interface DropLimits {
  /** The newest records; older ones are forgotten. */
  readonly dropsKeptMax: number;
  /** Records that are made within one second; packets beyond are only counted. */
  readonly recordsPerSecondMax: number;
  /** Packets of one flow within this time of the first are one record. */
  readonly foldMs: number;
}

export const DROP_LIMITS: DropLimits = { dropsKeptMax: 10_000, recordsPerSecondMax: 200, foldMs: 1_000 };

export interface DropLogOptions {
  readonly node: string;
  readonly clock: Clock;
  /** Nanoseconds of the clock that the programs stamp drops with. */
  readonly bootTimeNs: () => bigint;
  readonly limits?: DropLimits;
}

interface Names {
  readonly sinceMs: number;
  readonly book: AddressBook;
  readonly sets: PolicyPlan['sets'];
}

/** A flow whose packets are being gathered. */
interface Flow {
  readonly endsMs: number;
  /** Of the first packet: its source port stands for all of them. */
  readonly first: Omit<DropRecord, 'sequence' | 'at' | 'packets' | 'bytes'>;
  packets: number;
  bytes: number;
  lastAtNs: bigint;
}

/** The two runs of bytes of an event that say which flow it is: all but its time, its source port and its length. */
const PLACES = new Map(dropEvent.fields.map(({ name, offsetBytes }) => [name, offsetBytes]));
const place = (field: keyof Drop): number => PLACES.get(field) ?? 0;
const AT_NS = place('atNs');
const BYTES = place('bytes');

/**
 * The drops of a node, newest last. The first packet of a flow is told at once; those that follow within a second are
 * gathered into one more record, so that a flood costs a record a second. A source port doesn't tell flows apart: a client that
 * tries again has another one. Ends are named as they were when the packet was dropped.
 */
export class DropLog {
  readonly #options: DropLogOptions;
  readonly #limits: DropLimits;
  readonly #flows = new Map<string, Flow>();
  readonly #listeners = new Set<(record: DropRecord) => void>();
  readonly #records: DropRecord[] = [];
  #current: Names | undefined;
  #previous: Names | undefined;
  #timer: Timer | undefined;
  #budget = { untilMs: 0, left: 0 };
  #counts = { packets: 0, records: 0, unlisted: 0 };
  #lost: number | undefined;

  constructor(options: DropLogOptions) {
    this.#options = options;
    this.#limits = options.limits ?? DROP_LIMITS;
  }

  /** To be told each time that any of it changed, with the change in the maps. */
  know(knowledge: DropKnowledge): void {
    this.#previous = this.#current;
    const sinceMs = this.#options.clock.wallMs();
    this.#current = { sinceMs, book: new AddressBook(knowledge), sets: knowledge.policy.sets };
  }

  /** An event of the kernel's ring. Throws `map-value-size` where it is of another version. */
  take(event: Buffer): void {
    if (event.length < dropEvent.sizeBytes) decode(dropEvent, event);
    this.#counts.packets++;
    const key = flowKey(event);
    const flow = this.#flows.get(key);
    if (flow !== undefined) {
      flow.packets++;
      flow.bytes += event.readUInt32LE(BYTES);
      flow.lastAtNs = event.readBigUInt64LE(AT_NS);
      return;
    }
    if (!this.#afford(1)) return;
    const found = decode(dropEvent, event);
    const first = this.#describe(found);
    this.#tell({ first, packets: 1, bytes: found.bytes, lastAtNs: found.atNs });
    this.#gather(key, first);
  }

  /** At most `dropsKeptMax`, newest last. */
  records(): readonly DropRecord[] {
    return this.#records.slice(-this.#limits.dropsKeptMax);
  }

  /** Calls back with each new record. Returns the function that stops it. */
  subscribe(listener: (record: DropRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  counts(): DropCounts {
    return { ...this.#counts, lost: this.#lost };
  }

  /** Tells that the kernel has counted this many packets since the start that never came here. Never gets less. */
  setLost(packets: number): void {
    this.#lost = Math.max(this.#lost ?? 0, packets);
  }

  close(): void {
    this.#timer?.cancel();
    this.#flows.clear();
    this.#listeners.clear();
  }

  #gather(key: string, first: Flow['first']): void {
    const { clock } = this.#options;
    const endsMs = clock.now() + this.#limits.foldMs;
    this.#flows.set(key, { endsMs, first, packets: 0, bytes: 0, lastAtNs: 0n });
    this.#timer ??= clock.after(this.#limits.foldMs, () => this.#closeFlows(), { background: true });
  }

  /** Every flow is gathered for the same time, so they end in the order in which they began. */
  #closeFlows(): void {
    const { clock } = this.#options;
    this.#timer = undefined;
    for (const [key, flow] of this.#flows) {
      const restMs = flow.endsMs - clock.now();
      if (restMs > 0) {
        this.#timer ??= clock.after(restMs, () => this.#closeFlows(), { background: true });
        return;
      }
      this.#flows.delete(key);
      if (flow.packets === 0 || !this.#afford(flow.packets)) continue;
      this.#tell(flow);
      this.#gather(key, flow.first);
    }
  }

  /** Whether there may be one more record in this second; its packets are counted where there may not. */
  #afford(packets: number): boolean {
    const nowMs = this.#options.clock.now();
    if (nowMs >= this.#budget.untilMs)
      this.#budget = { untilMs: nowMs + 1_000, left: this.#limits.recordsPerSecondMax };
    if (this.#budget.left === 0) {
      this.#counts.unlisted += packets;
      return false;
    }
    this.#budget.left--;
    return true;
  }

  #tell({ first, packets, bytes, lastAtNs }: Omit<Flow, 'endsMs'>): void {
    const at = new Date(this.#wallMs(lastAtNs)).toISOString();
    const record: DropRecord = { sequence: ++this.#counts.records, ...first, at, packets, bytes };
    this.#records.push(record);
    // A quarter more than is kept, so that most records move nothing.
    const { dropsKeptMax } = this.#limits;
    if (this.#records.length > dropsKeptMax * 1.25)
      this.#records.splice(0, this.#records.length - dropsKeptMax);
    for (const listener of this.#listeners) listener(record);
  }

  #describe(event: Drop): Flow['first'] {
    const names = this.#namesAt(this.#wallMs(event.atNs));
    const { name: reason, sentence: message } = dropReason(event.reason);
    const end = (address: Buffer, port: number): DropEnd => {
      const ip = addressText(address);
      const known = names?.book.find(ip, port, event.protocol) ?? { kind: 'world', name: '' };
      return { ip, port, ...known };
    };
    return {
      ...{ node: this.#options.node, reason, message, protocol: protocolName(event.protocol) },
      direction: event.direction === DIRECTION.INGRESS ? 'ingress' : 'egress',
      from: end(event.source, event.sourcePort),
      to: end(event.destination, event.destinationPort),
      policies: event.reason === DROP.POLICY.code ? this.#policiesOf(event.set) : [],
    };
  }

  /** A packet that was dropped before the last change is named as it was then. */
  #namesAt(wallMs: number): Names | undefined {
    const current = this.#current;
    return current !== undefined && wallMs < current.sinceMs ? (this.#previous ?? current) : current;
  }

  /** A number stands for one set for its whole life, so that either plan may say which. */
  #policiesOf(set: number): readonly string[] {
    const found = this.#current?.sets.get(set) ?? this.#previous?.sets.get(set);
    return found?.isolatedBy ?? [];
  }

  #wallMs(atNs: bigint): number {
    const { clock, bootTimeNs } = this.#options;
    return clock.wallMs() - Number(bootTimeNs() - atNs) / 1e6;
  }
}

function flowKey(event: Buffer): string {
  const ends = event.toString('latin1', place('source'), place('sourcePort'));
  return ends + event.toString('latin1', place('destinationPort'), BYTES);
}
