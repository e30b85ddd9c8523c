import { isIPv6 } from 'node:net';
import { addressBytes, noAddress, parsePrefix } from '../../common/address.ts';
import { isJsonObject } from '../../common/json.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { DIRECTION, EP, IDENTITY, NODE, POD } from '../maps/constants.ts';
import { type Entries, entriesOf } from '../maps/entries.ts';
import type { Endpoint, NodeConfig } from '../maps/layouts.ts';
import type { MapPlan } from '../maps/reconcile.ts';
import { TABLES } from '../maps/tables.ts';
import type { PolicyPlan } from '../policy/plan.ts';
import { statusIps } from '../policy/pods.ts';
import type { ServicePlan } from '../services/plan.ts';
import type { LocalPod } from './local-pods.ts';
import { type ClusterNode, tunnelAddress } from './nodes.ts';
import type { NetworkMode } from './options.ts';

/** What the node itself is, as its set-up found it. */
export interface NodeFacts {
  readonly name: string;
  readonly mode: NetworkMode;
  readonly netnsCookie: bigint;
  readonly tunnelIfindex: number;
  readonly uplinkIfindex: number;
  readonly uplinkMac: string;
  /** Bytes; 0 without a tunnel. */
  readonly tunnelMtu: number;
  readonly dnsAddresses: readonly string[];
  readonly controlPlane: readonly string[];
}

export interface WantedInput {
  readonly node: NodeFacts;
  readonly nodes: ReadonlyMap<string, ClusterNode>;
  readonly pods: readonly SourcedObject[];
  readonly localPods: readonly LocalPod[];
  readonly policy: PolicyPlan;
  readonly services: ServicePlan;
  /** Cgroups of confirmed sidecars, by pod id. */
  readonly sidecars: ReadonlyMap<number, bigint>;
}

const NO_MAC = '00:00:00:00:00:00';

/** What all maps of a node are to hold. Pure: the same input gives the same bytes, whatever was before. */
export function wantedMaps(input: WantedInput): MapPlan {
  const { policy, services } = input;
  const sets = [...policy.sets.values()].flatMap((set) => set.entries);
  const policyEntries = (entries: PolicyPlan['transition']): Entries =>
    entriesOf(
      TABLES.policy,
      entries.map((entry) => [entry, 1] as const),
    );
  return {
    wanted: {
      node: entriesOf(TABLES.node, [[0, nodeConfigOf(input)]]),
      policy: policyEntries(sets),
      cidr: entriesOf(
        TABLES.cidr,
        policy.cidrs.map((one) => [one.prefix, one.class] as const),
      ),
      block: entriesOf(TABLES.block, blocks(input)),
      skippedPort: entriesOf(TABLES.skippedPort, input.localPods.flatMap(skippedPorts)),
      skippedPrefix: entriesOf(TABLES.skippedPrefix, input.localPods.flatMap(skippedPrefixes)),
      pod: entriesOf(TABLES.pod, captures(input)),
      endpoint: entriesOf(TABLES.endpoint, endpoints(input)),
      ...serviceEntries(services),
    },
    transition: { policy: policyEntries(policy.transition) },
  };
}

/** Of a plan that stays the same, as it mostly does while pods come and go. */
const knownServices = new WeakMap<ServicePlan, { readonly backend: Entries; readonly service: Entries }>();

function serviceEntries(services: ServicePlan): { readonly backend: Entries; readonly service: Entries } {
  const known = knownServices.get(services);
  if (known !== undefined) return known;
  const { backends, frontends } = services;
  const made = {
    backend: entriesOf(
      TABLES.backend,
      backends.map(({ key, value }) => [key, value] as const),
    ),
    service: entriesOf(
      TABLES.service,
      frontends.map(({ key, value }) => [key, value] as const),
    ),
  };
  knownServices.set(services, made);
  return made;
}

function nodeConfigOf({ node, nodes }: WantedInput): NodeConfig {
  const own = nodes.get(node.name);
  const modes = { tunnel: NODE.TUNNEL, direct: 0, capture: NODE.CAPTURE_ONLY };
  return {
    ...{ node4: addressIn(own?.addresses, 4), node6: addressIn(own?.addresses, 6) },
    ...{ dns4: addressIn(node.dnsAddresses, 4), dns6: addressIn(node.dnsAddresses, 6) },
    ...{ netnsCookie: node.netnsCookie, tunnelIfindex: node.tunnelIfindex, tunnelMtu: node.tunnelMtu },
    ...{ uplinkIfindex: node.uplinkIfindex, uplinkMac: node.uplinkMac, flags: modes[node.mode] },
  };
}

/** Pod blocks lead to their nodes; the own ones to no address. */
function* blocks({ node, nodes }: WantedInput) {
  for (const one of nodes.values()) {
    for (const block of one.podBlocks) {
      const at = one.name === node.name ? undefined : tunnelAddress(one);
      if (one.name !== node.name && at === undefined) continue;
      yield [block, at === undefined ? noAddress() : addressBytes(at)] as const;
    }
  }
}

/** Later ones stand where two claim an address: pods of this node over what objects say of others. */
function* endpoints(input: WantedInput): Generator<readonly [Buffer, Endpoint]> {
  const { node, nodes, policy } = input;
  for (const address of node.controlPlane)
    yield [addressBytes(address), endpoint({ identity: IDENTITY.WORLD, flags: EP.CONTROL_PLANE })];
  for (const one of nodes.values()) yield* nodeEndpoints(one, one.name === node.name);
  for (const address of node.dnsAddresses)
    yield [addressBytes(address), endpoint({ identity: policy.dnsIdentity, flags: EP.DNS })];
  yield* remoteEndpoints(input);
  const control = new Set(node.controlPlane);
  for (const pod of input.localPods) yield* localEndpoints(pod, policy, control);
}

function* nodeEndpoints(node: ClusterNode, own: boolean): Generator<readonly [Buffer, Endpoint]> {
  for (const address of node.addresses) {
    const at = addressBytes(address);
    const kind = own
      ? { identity: IDENTITY.NODE, flags: EP.OWN_NODE }
      : {
          identity: IDENTITY.OTHER_NODE,
          flags: EP.OTHER_NODE,
          node: addressBytes(tunnelAddress(node) ?? address),
        };
    yield [at, endpoint(kind)];
  }
}

function* remoteEndpoints({
  node,
  nodes,
  pods,
  policy,
}: WantedInput): Generator<readonly [Buffer, Endpoint]> {
  const control = new Set(node.controlPlane);
  for (const { object } of pods) {
    const home = isJsonObject(object.spec) ? object.spec.nodeName : undefined;
    if (typeof home !== 'string' || home === node.name) continue;
    for (const ip of statusIps(object)) {
      const identity = policy.addresses.get(ip);
      const at = tunnelAddress(nodes.get(home));
      // A pod of the node's own network, one that has ended, or one on a node that isn't known: not an endpoint.
      if (identity === undefined || at === undefined) continue;
      const flags = control.has(ip) ? EP.CONTROL_PLANE : 0;
      yield [addressBytes(ip), endpoint({ identity, flags, node: addressBytes(at) })];
    }
  }
}

function* localEndpoints(
  pod: LocalPod,
  policy: PolicyPlan,
  control: ReadonlySet<string>,
): Generator<readonly [Buffer, Endpoint]> {
  const plan = policy.localPods.get(`${pod.namespace}/${pod.name}`);
  const flags = EP.LOCAL | (pod.captured ? EP.MESHED : 0);
  for (const ip of pod.ips)
    yield [
      addressBytes(ip),
      endpoint({
        ...{ ifindex: pod.hostIfindex, mac: pod.podMac, hostMac: pod.hostMac, podId: pod.podId },
        identity: plan?.identity ?? IDENTITY.UNKNOWN,
        flags: control.has(ip) ? flags | EP.CONTROL_PLANE : flags,
        ...{ ingressSet: plan?.ingressSet ?? 0, egressSet: plan?.egressSet ?? 0 },
      }),
    ];
}

function endpoint(part: Partial<Endpoint>): Endpoint {
  return {
    ...{ node: noAddress(), ifindex: 0, identity: 0, flags: 0, ingressSet: 0, egressSet: 0, podId: 0 },
    ...{ mac: NO_MAC, hostMac: NO_MAC },
    ...part,
  };
}

function* captures({ node, nodes, localPods, sidecars }: WantedInput) {
  const own = nodes.get(node.name)?.addresses;
  const ips = { ip4: addressIn(own, 4), ip6: addressIn(own, 6) };
  yield [node.netnsCookie, { ...ips, sidecarCgroup: 0n, podId: 0, flags: POD.NODE }] as const;
  for (const pod of localPods)
    yield [
      BigInt(pod.netnsCookie),
      {
        ...{ ip4: addressIn(pod.ips, 4), ip6: addressIn(pod.ips, 6), podId: pod.podId },
        ...{ sidecarCgroup: sidecars.get(pod.podId) ?? 0n, flags: pod.captured ? POD.MESHED : 0 },
      },
    ] as const;
}

function skippedPorts({ captured, podId, skip }: LocalPod) {
  if (!captured) return [];
  const of = (ports: readonly number[], direction: number) =>
    ports.map((port) => [{ podId, port, direction }, 1] as const);
  return [...of(skip.inbound, DIRECTION.INGRESS), ...of(skip.outbound, DIRECTION.EGRESS)];
}

function skippedPrefixes({ captured, podId, skip }: LocalPod) {
  if (!captured) return [];
  return skip.cidrs.map((text) => {
    const { bits, address } = parsePrefix(text);
    return [{ bits: bits + 32, podId, address }, 1] as const;
  });
}

function addressIn(addresses: readonly string[] | undefined, family: 4 | 6): Buffer {
  const found = addresses?.find((one) => isIPv6(one) === (family === 6));
  return found === undefined ? noAddress() : addressBytes(found);
}
