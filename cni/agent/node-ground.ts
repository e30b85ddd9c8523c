import { isIP } from 'node:net';
import { prefixText } from '../../common/address.ts';
import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { netnsCookie } from '../kernel/netns.ts';
import { masqueradeProblems, removeMasquerade, setMasquerade } from '../setup/masquerade.ts';
import { type NodeFound, type NodeSetup, nodeProblems, removeNode, setUpNode } from '../setup/node.ts';
import { type CgroupMount, cgroupMountOf } from './cgroup-root.ts';
import type { ClusterNode } from './nodes.ts';
import type { AgentOptions, NetworkMode } from './options.ts';
import type { NodeDevices } from './programs/places.ts';
import type { NodeFacts } from './wanted.ts';

/** What a node stands on: its devices, addresses, routes and masquerade, as the cluster's nodes ask for them. */
export class NodeGround {
  readonly netns: string | undefined;
  readonly mode: NetworkMode;
  readonly cgroup: string;
  /** Where cgroup v2 is mounted. */
  readonly cgroupMount: CgroupMount;
  readonly #options: AgentOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #cookie: bigint;
  #setup: NodeSetup;
  #found: NodeFound | undefined;
  #applied = '';
  #nodeAddresses: readonly string[] = [];
  #error: { readonly at: number; readonly message: string } | undefined;

  constructor(options: AgentOptions, { clock, log }: { readonly clock: Clock; readonly log: Logger }) {
    this.netns = options.nodeNetns;
    this.mode = options.mode;
    this.cgroup = options.cgroup;
    this.cgroupMount = cgroupMountOf(options.cgroup);
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#cookie = netnsCookie(options.nodeNetns);
    this.#setup = this.#setupFor(new Map());
  }

  /** Brings the node to what these nodes ask for; nothing where that didn't change. */
  apply(nodes: ReadonlyMap<string, ClusterNode>): void {
    const setup = this.#setupFor(nodes);
    const addresses = [...nodes.values()].flatMap((node) => node.addresses).toSorted();
    const text = JSON.stringify([setup, addresses]);
    if (text === this.#applied) return;
    this.#setup = setup;
    this.#nodeAddresses = addresses;
    this.#found = setUpNode(setup);
    const { lacking } = this.#found;
    if (lacking !== undefined) this.#log.warn('the node does without a part of its network', { lacking });
    if (this.mode !== 'capture') setMasquerade(this.#masquerade());
    this.#applied = text;
  }

  /**
   * As `apply`, for a node that is at work: where it can't be brought to what they ask for now, it stays as it is, and
   * every `repair` tries again.
   */
  follow(nodes: ReadonlyMap<string, ClusterNode>): void {
    try {
      this.apply(nodes);
      this.#error = undefined;
    } catch (thrown) {
      this.#failed(thrown);
    }
  }

  /** Of the last `follow` or `repair`, where it failed; `at` in milliseconds since the epoch. */
  lastError(): { readonly at: number; readonly message: string } | undefined {
    return this.#error;
  }

  /** What was wrong and is put right now. */
  repair(): readonly string[] {
    try {
      const problems = this.#repair();
      this.#error = undefined;
      return problems;
    } catch (thrown) {
      this.#failed(thrown);
      return [];
    }
  }

  #failed(thrown: unknown): void {
    const message = messageOf(thrown);
    this.#error = { at: this.#clock.wallMs(), message };
    this.#log.error('the node could not be set up anew, and stays as it was', { error: message });
  }

  #repair(): readonly string[] {
    const problems = nodeProblems(this.#setup);
    if (problems.length > 0) this.#found = setUpNode(this.#setup);
    const masquerade = this.mode === 'capture' ? [] : masqueradeProblems(this.#masquerade());
    if (masquerade.length > 0) setMasquerade(this.#masquerade());
    return [...problems, ...masquerade];
  }

  /** Takes all of it away. */
  remove(): void {
    if (this.mode !== 'capture') removeMasquerade(this.netns);
    removeNode(this.#setup);
    this.#log.info('the node is as it was before');
  }

  mtu(): number {
    return this.#standing().mtu;
  }

  /** Of the node itself. */
  addresses(): readonly string[] {
    return this.#setup.addresses;
  }

  devices(): NodeDevices {
    const { tunnelIfindex, uplinkIfindex } = this.#standing();
    return { netns: this.netns, tunnelIfindex, uplinkIfindex };
  }

  facts(nodes: ReadonlyMap<string, ClusterNode>): NodeFacts {
    const { node: name, dnsAddresses, controlPlane } = this.#options;
    const { tunnelIfindex, tunnelMtu, uplinkIfindex, uplinkMac } = this.#standing();
    // A program can answer for DNS only at addresses of families that the node has.
    const families = new Set(nodes.get(name)?.addresses.map((address) => isIP(address)));
    return {
      ...{ name, mode: this.mode, netnsCookie: this.#cookie },
      ...{ tunnelIfindex, tunnelMtu, uplinkIfindex, uplinkMac },
      ...{ dnsAddresses: dnsAddresses.filter((address) => families.has(isIP(address))), controlPlane },
    };
  }

  #standing(): NodeFound {
    if (this.#found === undefined) throw new TypeError('the node is asked before it is set up');
    return this.#found;
  }

  #setupFor(nodes: ReadonlyMap<string, ClusterNode>): NodeSetup {
    const { node, uplink, mode, podRanges, dnsAddresses, stateDirectory } = this.#options;
    const others = [...nodes.values()].filter(({ name }) => name !== node);
    return {
      ...{ netns: this.netns, uplink, mode, podRanges, dnsAddresses, stateDirectory },
      addresses: nodes.get(node)?.addresses ?? [],
      otherNodes: others.map((other) => ({
        podBlocks: other.podBlocks.map(prefixText),
        ...addressOf(other, 4),
        ...addressOf(other, 6),
      })),
    };
  }

  #masquerade() {
    const { podRanges } = this.#options;
    const tunnel = this.#standing().tunnelIfindex !== 0;
    return { netns: this.netns, podRanges, nodeAddresses: this.#nodeAddresses, tunnel };
  }
}

function addressOf(node: ClusterNode, family: 4 | 6) {
  const address = node.addresses.find((one) => isIP(one) === family);
  if (address === undefined) return {};
  return family === 4 ? { address4: address } : { address6: address };
}
