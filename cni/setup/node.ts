import { isIP } from 'node:net';
import { HeddleError } from '../../common/errors.ts';
import { findLink, type Link } from '../kernel/netlink/links.ts';
import { Netlink } from '../kernel/netlink/socket.ts';
import { netnsGone } from '../kernel/netns.ts';
import { applyDnsAddresses, dnsAddressProblems, removeDnsAddresses } from './node-dns.ts';
import { forgetNode, type NodeMemory, nodeMemoryAt } from './node-memory.ts';
import { applyNodeRoutes, nodeRouteProblems } from './node-routes.ts';
import { sourceProblem } from './node-source.ts';
import { applyNodeSysctls, nodeSysctlProblems, restoreNodeSysctls } from './node-sysctls.ts';
import { applyTunnel, othersAtThePort, removeTunnel, tunnelProblems } from './node-tunnel.ts';

/** Outer Ethernet, IP, UDP and VXLAN headers (RFC 7348) that a packet of a pod gets on its way to another node. */
const tunnelBytes = { 4: 50, 6: 70 } as const;
/** RFC 8200, section 5: a link that carries less carries no IPv6. */
const ipv6MtuBytesMin = 1280;
const NO_TUNNEL = { tunnelIfindex: 0, tunnelMtu: 0 } as const;

/** What a node shall stand on. */
export interface NodeSetup {
  /** Path of the node's namespace; undefined: the agent's own. */
  readonly netns: string | undefined;
  /** Device towards the other nodes. */
  readonly uplink: string;
  readonly mode: 'tunnel' | 'direct' | 'capture';
  /** Of all pods of the cluster. */
  readonly podRanges: readonly string[];
  readonly dnsAddresses: readonly string[];
  /** Of this node, as its Node object has them; families that aren't among them are left out everywhere. */
  readonly addresses: readonly string[];
  /** Mode direct: where their pods are reached. */
  readonly otherNodes: readonly OtherNode[];
  /** Folder that outlives the agent: what the node was like before is kept there, see `removeNode`. */
  readonly stateDirectory: string;
}

export interface OtherNode {
  readonly podBlocks: readonly string[];
  readonly address4?: string;
  readonly address6?: string;
}

export interface NodeFound {
  /** 0 without a tunnel. In mode direct it carries what clients outside have to do with other nodes' pods, nothing else. */
  readonly tunnelIfindex: number;
  /** What fits into it, in bytes; 0 without a tunnel. */
  readonly tunnelMtu: number;
  readonly uplinkIfindex: number;
  readonly uplinkMac: string;
  /** What pods may send, in bytes. */
  readonly mtu: number;
  /** What pods or clients outside do without, and why: the tunnel in mode direct, or the source that other nodes believe. */
  readonly lacking: string | undefined;
}

/**
 * Makes what the mode needs, mends what differs, removes what another mode left. In mode capture that is nothing: only the
 * uplink is looked at. Throws `uplink-missing`, `node-address` (an address of the Node object that no device has),
 * `mtu-too-small`, `tunnel-port-taken` (mode tunnel; mode direct does without), or a `KernelError`.
 */
export function setUpNode(setup: NodeSetup): NodeFound {
  using netlink = new Netlink(setup.netns);
  const uplink = uplinkOf(netlink, setup);
  const found = { uplinkIfindex: uplink.ifindex, uplinkMac: uplink.mac, mtu: podMtu(setup, uplink) };
  const memory = nodeMemoryAt(setup.stateDirectory);
  if (setup.mode === 'capture') {
    if (memory.exists) removeAll(netlink, setup, memory);
    return { ...found, ...NO_TUNNEL, lacking: undefined };
  }
  applyNodeSysctls(setup.netns, memory);
  const tunnel = applyTunnelOf(netlink, setup, tunnelMtu(setup, uplink));
  applyDnsAddresses(netlink, setup, memory);
  applyNodeRoutes(netlink, setup, tunnel.tunnelIfindex);
  return { ...found, ...tunnel };
}

/** In mode direct the node is of use without a tunnel too. */
function applyTunnelOf(
  netlink: Netlink,
  setup: NodeSetup,
  mtu: number,
): Pick<NodeFound, 'tunnelIfindex' | 'tunnelMtu' | 'lacking'> {
  try {
    const tunnelIfindex = applyTunnel(netlink, setup.netns, mtu);
    return { tunnelIfindex, tunnelMtu: mtu, lacking: sourceProblem(netlink, setup) };
  } catch (thrown) {
    if (setup.mode !== 'direct' || !(thrown instanceof HeddleError) || thrown.code !== 'tunnel-port-taken')
      throw thrown;
    const lacking = `clients outside reach no Service's pods of other nodes: ${thrown.message}`;
    return { ...NO_TUNNEL, lacking };
  }
}

/** A sentence for each thing that isn't as `setUpNode` makes it; none where all is well. */
export function nodeProblems(setup: NodeSetup): readonly string[] {
  using netlink = new Netlink(setup.netns);
  const uplink = findLink(netlink, setup.uplink);
  if (uplink === undefined) return [`the node has no device ${setup.uplink}`];
  if (setup.mode === 'capture') return [];
  const doesWithout = setup.mode === 'direct' && othersAtThePort(netlink).length > 0;
  return [
    ...nodeSysctlProblems(setup.netns, nodeMemoryAt(setup.stateDirectory)),
    ...(doesWithout ? [] : tunnelProblems(netlink, setup.netns, tunnelMtu(setup, uplink))),
    ...dnsAddressProblems(netlink, setup),
    ...nodeRouteProblems(netlink, setup),
  ];
}

/**
 * Removes what `setUpNode` made, whatever mode made it, and puts back the settings that it changed, but for those that
 * somebody changed again since. Does nothing where nothing is left.
 */
export function removeNode(setup: NodeSetup): void {
  let netlink: Netlink;
  try {
    netlink = new Netlink(setup.netns);
  } catch (thrown) {
    if (!netnsGone(thrown)) throw thrown;
    forgetNode(setup.stateDirectory);
    return;
  }
  try {
    removeAll(netlink, setup, nodeMemoryAt(setup.stateDirectory));
  } finally {
    netlink[Symbol.dispose]();
  }
}

function removeAll(netlink: Netlink, setup: NodeSetup, memory: NodeMemory): void {
  applyNodeRoutes(netlink, { ...setup, podRanges: [], otherNodes: [] }, 0);
  removeTunnel(netlink);
  removeDnsAddresses(netlink, memory);
  restoreNodeSysctls(setup.netns, memory);
  forgetNode(setup.stateDirectory);
}

function uplinkOf(netlink: Netlink, { uplink }: NodeSetup): Link {
  const found = findLink(netlink, uplink);
  if (found === undefined)
    throw new HeddleError(
      'uplink-missing',
      `the node has no device ${uplink}; name the one towards the other nodes by --uplink`,
    );
  return found;
}

/** The tunnel ends at IPv4 addresses wherever nodes have them. */
function tunnelMtu({ addresses }: NodeSetup, { mtu }: Link): number {
  const underlay = addresses.length > 0 && addresses.every((one) => isIP(one) === 6) ? 6 : 4;
  return mtu - tunnelBytes[underlay];
}

function podMtu(setup: NodeSetup, link: Link): number {
  const { mode, podRanges, uplink } = setup;
  const { mtu } = link;
  const left = mode === 'tunnel' ? tunnelMtu(setup, link) : mtu;
  if (left < ipv6MtuBytesMin && mode !== 'capture' && podRanges.some((one) => one.includes(':')))
    throw new HeddleError(
      'mtu-too-small',
      `the MTU of ${uplink}, ${mtu}, leaves pods ${left} bytes and IPv6 needs ${ipv6MtuBytesMin}: raise it, or give pods no IPv6`,
    );
  return left;
}
