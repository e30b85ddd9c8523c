import assert from 'node:assert/strict';
import { join } from 'node:path';
import { packetCounts } from '../../../cni/agent/packet-counters.ts';
import { type BpfMap, openPinnedMap } from '../../../cni/kernel/libbpf.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { type CasePort, type CaseProbe, probesOf, type TruthCase } from '../../support/policy/case.ts';
import { askOracle, type OracleVerdict } from '../../support/policy/oracle.ts';
import { eventually } from '../../support/wait.ts';
import { PacketProber } from './packet-prober.ts';
import type { Seat, TruthCluster } from './truth-cluster.ts';

/** Packets under way at a time: fewer than the kernel queues between two devices (`net.core.netdev_max_backlog`). */
const packetsMax = 500;
const accountedMs = 10_000;

/** A probe of the table, with what its ends are. */
export interface Question extends CaseProbe {
  readonly sender: Seat;
  readonly receiver: Seat;
  /** Among the oracle's answers. */
  readonly place: number;
}

export interface Difference {
  readonly case: string;
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: number;
  readonly expected: 'arrives' | 'dropped';
}

/** What became of each packet of a round. */
export interface Outcome {
  readonly arrived: ReadonlySet<number>;
  readonly renamed: ReadonlyMap<number, string>;
}

/** Every address to every other at every port, asked by packets and of the oracle. */
export class TruthTable implements AsyncDisposable {
  readonly questions: readonly Question[];
  readonly #truth: TruthCluster;
  readonly #ports: readonly CasePort[];
  readonly #prober: PacketProber;
  readonly #counters: readonly BpfMap[];
  #rounds = 0;

  private constructor(
    truth: TruthCluster,
    ports: readonly CasePort[],
    questions: readonly Question[],
    prober: PacketProber,
  ) {
    this.#truth = truth;
    this.#ports = ports;
    this.questions = questions;
    this.#prober = prober;
    this.#counters = truth.cluster.nodes.map(({ pins }) => openPinnedMap(join(pins, 'maps', 'counter_map')));
  }

  static async start(truth: TruthCluster, ports: readonly CasePort[]): Promise<TruthTable> {
    const questions = questionsOf(truth, ports);
    const prober = await PacketProber.start(truth.places, questions);
    return new TruthTable(truth, ports, questions, prober);
  }

  /** What the oracle says of each question, by case. */
  oracle(cases: readonly TruthCase[]): readonly (readonly OracleVerdict[])[] {
    const places = this.#truth.seats.map(({ address }) => address);
    const { namespaces, pods } = this.#truth;
    const answers = askOracle(
      cases.map(({ policies }) => ({
        ...{ namespaces, pods, policies, ports: this.#ports, senders: places, receivers: places },
      })),
    );
    return answers.map((all) => this.questions.map((one) => verdictOf(one, all[one.place])));
  }

  /** Enforces the policies, sends every packet, and waits until each has arrived or was counted as dropped by policy. */
  async ask(policies: readonly KubeObject[]): Promise<Outcome> {
    await this.#truth.enforce(policies);
    return this.askAgain();
  }

  /** Under the policies that are in force. */
  async askAgain(wanted: (question: Question) => boolean = () => true): Promise<Outcome> {
    const round = ++this.#rounds;
    const arrived = new Set<number>();
    const renamed = new Map<number, string>();
    const before = this.#drops();
    let sent = 0;
    for (let first = 0; first < this.questions.length; first += packetsMax) {
      const end = Math.min(first + packetsMax, this.questions.length);
      for (const [from, to] of runs(this.questions, first, end, wanted)) {
        await this.#prober.send(round, from, to);
        sent += to - from;
      }
      await eventually(() => this.#isAccountedFor(round, sent, before, arrived, renamed), {
        ...{ deadlineMs: accountedMs, what: `every packet of round ${round} arrives or is dropped` },
      });
    }
    const drops = this.#drops();
    assert.equal(drops.others, before.others, 'nothing is dropped but by policy');
    assert.equal(arrived.size + drops.policy - before.policy, sent, 'each packet has one fate');
    return { arrived, renamed };
  }

  /** Packets that policy has dropped on all nodes. */
  policyDrops(): number {
    return this.#drops().policy;
  }

  differences(name: string, expected: readonly OracleVerdict[], { arrived }: Outcome): readonly Difference[] {
    return this.questions.flatMap((one, index) => {
      const { egress, ingress } = expected[index] ?? { egress: false, ingress: false };
      if (arrived.has(index) === (egress && ingress)) return [];
      const { protocol, port, sender, receiver } = one;
      const at = (seat: Seat) => `${seat.kind} ${seat.name} ${seat.address}`;
      const wanted = egress && ingress ? 'arrives' : 'dropped';
      return [{ case: name, from: at(sender), to: at(receiver), protocol, port, expected: wanted } as const];
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const map of this.#counters) map[Symbol.dispose]();
    await this.#prober.stop();
  }

  async #isAccountedFor(
    round: number,
    sent: number,
    before: Drops,
    arrived: Set<number>,
    renamed: Map<number, string>,
  ): Promise<boolean> {
    // Dropped packets first: one that is counted meanwhile is found at the next look.
    const dropped = this.#drops().policy - before.policy;
    const found = await this.#prober.arrived(round);
    assert.deepEqual(found.astray, [], 'no packet comes with another destination');
    for (const index of found.arrived) {
      assert.ok(!arrived.has(index), `packet ${index} arrived twice`);
      arrived.add(index);
    }
    for (const [index, source] of Object.entries(found.renamed)) renamed.set(Number(index), source);
    return arrived.size + dropped >= sent;
  }

  #drops(): Drops {
    const counts = this.#counters.flatMap(packetCounts);
    const sum = (wanted: (reason: string) => boolean) =>
      counts
        .filter(({ reason }) => reason !== undefined && wanted(reason.name))
        .reduce((total, { packets }) => total + packets, 0);
    return { policy: sum((reason) => reason === 'policy'), others: sum((reason) => reason !== 'policy') };
  }
}

interface Drops {
  readonly policy: number;
  readonly others: number;
}

/** Of programs outside of pods no policy speaks: one end at least is a pod. */
function questionsOf({ seats }: TruthCluster, ports: readonly CasePort[]): readonly Question[] {
  const byAddress = new Map(seats.map((seat) => [seat.address, seat]));
  const places = [...byAddress.keys()];
  return [...probesOf(places, places, ports)].flatMap((probe, place) => {
    const [sender, receiver] = [byAddress.get(probe.from), byAddress.get(probe.to)];
    if (sender === undefined || receiver === undefined) return [];
    if (sender.kind !== 'pod' && receiver.kind !== 'pod') return [];
    return [{ ...probe, sender, receiver, place }];
  });
}

/** What Kubernetes says beside the rules: a pod's own node is always admitted. */
function verdictOf({ sender, receiver }: Question, verdict: OracleVerdict | undefined): OracleVerdict {
  if (verdict === undefined) throw new Error('the oracle left a question out');
  const isOwnNode = (seat: Seat, pod: Seat) => seat.kind === 'node' && seat.node === pod.node;
  const isAdmitted = isOwnNode(sender, receiver) || isOwnNode(receiver, sender);
  return isAdmitted ? { egress: true, ingress: true } : verdict;
}

/** The wanted questions between `first` and `end`, as stretches. */
function* runs(
  questions: readonly Question[],
  first: number,
  end: number,
  wanted: (question: Question) => boolean,
): Generator<readonly [number, number]> {
  let start = first;
  for (let at = first; at <= end; at++) {
    const question = questions[at];
    if (at < end && question !== undefined && wanted(question)) continue;
    if (at > start) yield [start, at];
    start = at + 1;
  }
}
