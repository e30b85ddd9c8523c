import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { type MapPlan, type PlanChanges, reconcileAll } from '../maps/reconcile.ts';
import { compilePolicy } from '../policy/compile.ts';
import type { PolicyNumbers, PolicyPlan } from '../policy/plan.ts';
import { compileServices, type Previous } from '../services/compile.ts';
import type { ServiceInput, ServicePlan } from '../services/plan.ts';
import type { ClusterObjects } from './cluster.ts';
import type { LocalPod } from './local-pods.ts';
import type { NodeMaps } from './node-maps.ts';
import { type ClusterNode, clusterNodes } from './nodes.ts';
import { remoteHostPorts } from './remote-host-ports.ts';
import { type NodeFacts, wantedMaps } from './wanted.ts';

/** After a round that failed. */
const retryMs = 1_000;

/** What one round came to: every part of it is of the same moment. */
export interface Round {
  readonly nodes: ReadonlyMap<string, ClusterNode>;
  readonly policy: PolicyPlan;
  readonly services: ServicePlan;
  readonly plan: MapPlan;
  readonly changes: PlanChanges;
  readonly at: number;
  readonly seconds: number;
}

export interface PipelineDeps {
  readonly maps: Pick<NodeMaps, 'stores'>;
  /** Of the last run, or what its maps still tell. */
  readonly numbers: { readonly policy: PolicyNumbers | undefined; readonly services: Previous };
  facts(nodes: ReadonlyMap<string, ClusterNode>): NodeFacts;
  cluster(): ClusterObjects;
  localPods(): readonly LocalPod[];
  /** Cgroups of confirmed sidecars, as `pod_map` holds them. */
  sidecars(): ReadonlyMap<number, bigint>;
  /** Kept before maps are written, so that a number in a map never means two things. */
  keepNumbers(numbers: PolicyNumbers): void;
  onRound(round: Round): void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The way of a change: from the cluster's objects and this node's pods to the maps that programs read. One round at a time,
 * each over everything; what happens during one is in the next. A round that fails is begun again.
 */
export class Pipeline {
  readonly #deps: PipelineDeps;
  #last: Round | undefined;
  #error: { readonly at: number; readonly message: string } | undefined;
  /** The Services of the last round, and what they were made of. */
  #compiled: { readonly input: ServiceInput; readonly plan: ServicePlan } | undefined;
  #wanted = false;
  #running: Promise<void> | undefined;
  /** Whether the round that runs has seen what there is: what comes after that is for the next. */
  #looked = false;
  #closed = false;

  constructor(deps: PipelineDeps) {
    this.#deps = deps;
  }

  last(): Round | undefined {
    return this.#last;
  }

  /** Of the last round, where it failed; `at` in milliseconds since the epoch. */
  lastError(): { readonly at: number; readonly message: string } | undefined {
    return this.#error;
  }

  /** Whether a round is at work or due: maps may be between two states. */
  busy(): boolean {
    return this.#running !== undefined;
  }

  /** Something changed: a round is due. */
  changed(): void {
    void this.settled().catch(() => undefined);
  }

  /** Resolves once a round is done that began after this call; rejects where it failed. */
  async settled(): Promise<void> {
    if (this.#closed) return;
    const before = this.#running;
    if (before !== undefined && !this.#looked) return before;
    if (before !== undefined) {
      this.#wanted = true;
      await before.catch(() => undefined);
      if (this.#running !== undefined && this.#running !== before) return this.#running;
    }
    return this.#begin();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running?.catch(() => undefined);
  }

  #services(input: ServiceInput): ServicePlan {
    const known = this.#compiled;
    if (known !== undefined && asksTheSame(known.input, input)) return known.plan;
    const plan = compileServices(input, known?.plan ?? this.#deps.numbers.services);
    this.#compiled = { input, plan };
    return plan;
  }

  #begin(): Promise<void> {
    this.#wanted = false;
    this.#looked = false;
    const round = this.#round().finally(() => {
      this.#running = undefined;
      if (this.#wanted && !this.#closed) this.changed();
    });
    this.#running = round;
    round.catch((thrown: unknown) => {
      const message = messageOf(thrown);
      this.#error = { at: this.#deps.clock.wallMs(), message };
      this.#deps.log.error('the maps of this node could not be brought up to date', { error: message });
      this.#deps.clock.after(retryMs, () => this.changed(), { background: true });
    });
    return round;
  }

  async #round(): Promise<void> {
    const { maps, clock, log } = this.#deps;
    // Whoever asks in this turn of the event loop, as fifty pods that are added at once, is answered by this round.
    await new Promise((resolve) => setImmediate(resolve));
    this.#looked = true;
    const startMs = clock.now();
    const cluster = this.#deps.cluster();
    const localPods = this.#deps.localPods();

    // 1. Nodes: where they are, and which pods' addresses are theirs.
    const nodes = clusterNodes(cluster.nodes);
    const facts = this.#deps.facts(nodes);

    // 2. NetworkPolicies: who each pod is, and who may talk to the pods of this node.
    const policy = compilePolicy({
      ...{ namespaces: cluster.namespaces, pods: cluster.pods, policies: cluster.policies },
      node: { name: facts.name, localPods },
      previous: this.#last?.policy,
      numbers: this.#deps.numbers.policy,
    });
    this.#deps.keepNumbers(policy.numbers);

    // 3. Services: which address leads to which backends.
    const services = this.#services({
      ...{ services: cluster.services, endpointSlices: cluster.endpointSlices, nodes: cluster.nodes },
      node: { name: facts.name, addresses: nodes.get(facts.name)?.addresses ?? [] },
      otherNodes: [...nodes.values()].filter(({ name }) => name !== facts.name),
      hostPorts: [...localPods.flatMap(hostPortsOf), ...remoteHostPorts(cluster.pods, nodes, facts.name)],
      dnsAddresses: facts.dnsAddresses,
    });

    // 4. What all maps are to hold.
    const sidecars = this.#deps.sidecars();
    const plan = wantedMaps({
      ...{ node: facts, nodes, pods: cluster.pods, localPods, policy, services, sidecars },
    });

    // 5. The difference, written in an order that leads no packet astray.
    const changes = await reconcileAll(maps.stores, plan);

    const seconds = (clock.now() - startMs) / 1_000;
    for (const problem of [...policy.problems, ...services.problems])
      log.debug('an object can not be used as it is', { ...problem });
    this.#error = undefined;
    this.#last = { nodes, policy, services, plan, changes, at: clock.wallMs(), seconds };
    this.#deps.onRound(this.#last);
  }
}

/** Pods come and go far more often than Services change. */
function asksTheSame(one: ServiceInput, other: ServiceInput): boolean {
  const { services, endpointSlices, nodes, otherNodes: _ofNodes, ...rest } = other;
  return (
    one.services === services &&
    one.endpointSlices === endpointSlices &&
    one.nodes === nodes &&
    isDeepStrictEqual(
      { ...rest },
      { node: one.node, hostPorts: one.hostPorts, dnsAddresses: one.dnsAddresses },
    )
  );
}

function hostPortsOf({ namespace, name, ips, hostPorts }: LocalPod) {
  return hostPorts.map((port) => ({ ...port, namespace, pod: name, podIps: ips }));
}
