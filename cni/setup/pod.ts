import { createHash } from 'node:crypto';
import { HeddleError } from '../../common/errors.ts';
import { systemRandom } from '../../common/random.ts';
import { isKernelError } from '../kernel/errors.ts';
import { openFd } from '../kernel/fd.ts';
import {
  changeLink,
  createVeth,
  deleteLink,
  findLink,
  type Link,
  linkOf,
  netnsId,
} from '../kernel/netlink/links.ts';
import { Netlink } from '../kernel/netlink/socket.ts';
import { netnsGone } from '../kernel/netns.ts';
import { HOST_MAC, hostWanted, podWanted, sysctlsOf } from './pod-wanted.ts';
import { applySysctls, applyWanted, sysctlProblems, wantedProblems } from './wanted.ts';

const HOST_IFNAME_PREFIX = 'hdl';
/** With the prefix 14 of the 15 characters that a device's name may have. */
const hostIfnameHexDigits = 11;
/** Locally administered, unicast: the second digit of the first byte. */
const LOCAL_MAC_FIRST_BYTE = '02';

/** A pod's link to its node: a veth pair, and what makes packets find it. */
export interface PodLink {
  /** Path of the pod's namespace. */
  readonly netns: string;
  /** undefined: the agent's own. */
  readonly nodeNetns: string | undefined;
  readonly ifname: string;
  readonly hostIfname: string;
  readonly ips: readonly string[];
  /** Bytes. */
  readonly mtu: number;
  /** Of the node: what it sends to the pod by itself comes from the one of that family. Without, the kernel chooses. */
  readonly nodeAddresses?: readonly string[];
}

export interface PodLinkFound {
  readonly podMac: string;
  readonly hostMac: string;
  readonly hostIfindex: number;
}

/** The name of the node's end, the same for every call about an attachment. */
export function hostIfnameOf(containerId: string, ifname: string): string {
  const digest = createHash('sha256').update(`${containerId}/${ifname}`).digest('hex');
  return `${HOST_IFNAME_PREFIX}${digest.slice(0, hostIfnameHexDigits)}`;
}

/**
 * Makes a pod's link, or completes and mends what is there of it; the pod's MAC address stays over repeats. A link that it
 * made itself is removed whole when it fails halfway. Throws `pod-interface-taken` where the pod has another device of
 * that name, a `KernelError` else.
 */
export function addPodLink(link: PodLink): PodLinkFound {
  using sides = new Sides(link);
  const found = sides.find();
  if (found !== undefined) return complete(sides, found);
  const loWasUp = linkOf(sides.pod, 'lo').up;
  make(sides);
  try {
    return complete(sides, sides.expect());
  } catch (thrown) {
    const host = findLink(sides.node, link.hostIfname);
    if (host !== undefined) deleteLink(sides.node, host.ifindex);
    if (!loWasUp) changeLink(sides.pod, linkOf(sides.pod, 'lo').ifindex, { up: false });
    throw thrown;
  }
}

/** A sentence for each thing that isn't as `addPodLink` makes it; none where all is well. */
export function podLinkProblems(link: PodLink): readonly string[] {
  let sides: Sides;
  try {
    sides = new Sides(link);
  } catch (thrown) {
    if (netnsGone(thrown)) return [`the namespace ${link.netns} is gone`];
    throw thrown;
  }
  try {
    const found = sides.find();
    if (found === undefined)
      return [`${link.ifname} and ${link.hostIfname} aren't there, or aren't one veth pair`];
    const { host, pod } = found;
    const sysctls = sysctlsOf(link);
    return [
      ...(linkOf(sides.pod, 'lo').up ? [] : ['lo is down']),
      ...endProblems(host, link.mtu),
      ...endProblems(pod, link.mtu),
      ...(host.mac === HOST_MAC
        ? []
        : [`${host.name} has the MAC address ${host.mac} instead of ${HOST_MAC}`]),
      ...sysctlProblems(link.nodeNetns, sysctls.node),
      ...sysctlProblems(sides.podNetns.number, sysctls.pod),
      ...wantedProblems(sides.node, hostWanted(link, host, pod)),
      ...wantedProblems(sides.pod, podWanted(link, pod)),
    ];
  } finally {
    sides[Symbol.dispose]();
  }
}

/** Removes the veth pair, and with it addresses, routes and neighbours of both sides. Does nothing where it is gone. */
export function removePodLink(nodeNetns: string | undefined, hostIfname: string): void {
  using node = openNode(nodeNetns);
  const host = node === undefined ? undefined : findLink(node, hostIfname);
  if (node !== undefined && host !== undefined) deleteLink(node, host.ifindex);
}

/** Undefined where the node's namespace is gone, and all devices with it. */
function openNode(nodeNetns: string | undefined): Netlink | undefined {
  try {
    return new Netlink(nodeNetns);
  } catch (thrown) {
    if (netnsGone(thrown)) return undefined;
    throw thrown;
  }
}

interface Pair {
  readonly host: Link;
  readonly pod: Link;
}

/** rtnetlink on both sides of a pod's link. */
class Sides implements Disposable {
  readonly link: PodLink;
  readonly podNetns;
  readonly node: Netlink;
  readonly pod: Netlink;

  constructor(link: PodLink) {
    using stack = new DisposableStack();
    this.link = link;
    this.podNetns = stack.use(openFd(link.netns));
    this.pod = stack.use(new Netlink(this.podNetns.number));
    this.node = stack.use(new Netlink(link.nodeNetns));
    stack.move();
  }

  /** Both ends, where they are one pair. */
  find(): Pair | undefined {
    const host = findLink(this.node, this.link.hostIfname);
    const pod = findLink(this.pod, this.link.ifname);
    if (host === undefined || pod === undefined) return undefined;
    const arePair =
      host.kind === 'veth' &&
      host.peerIfindex === pod.ifindex &&
      pod.peerIfindex === host.ifindex &&
      host.peerNetnsId !== undefined &&
      host.peerNetnsId === netnsId(this.node, this.podNetns.number);
    return arePair ? { host, pod } : undefined;
  }

  expect(): Pair {
    const found = this.find();
    if (found === undefined)
      throw new HeddleError(
        'pod-link',
        `${this.link.hostIfname} was removed while it was set up; add the pod again`,
      );
    return found;
  }

  [Symbol.dispose](): void {
    this.node[Symbol.dispose]();
    this.pod[Symbol.dispose]();
    this.podNetns[Symbol.dispose]();
  }
}

/** The name of the node's end belongs to this attachment alone: another device of that name is a rest of it. */
function make({ link, node, podNetns }: Sides): void {
  const rest = findLink(node, link.hostIfname);
  if (rest !== undefined) deleteLink(node, rest.ifindex);
  const host = { name: link.hostIfname, mac: HOST_MAC, mtu: link.mtu };
  const pod = { name: link.ifname, mac: randomMac(), mtu: link.mtu };
  try {
    createVeth(node, host, pod, podNetns.number);
  } catch (thrown) {
    if (!isKernelError(thrown, 'EEXIST')) throw thrown;
    throw new HeddleError(
      'pod-interface-taken',
      `${link.netns} already has a device ${link.ifname} that isn't Heddle's; remove it, or the other CNI plugin that made it`,
      { cause: thrown },
    );
  }
}

/** Settings come before a device is up: they say what happens then. */
function complete(sides: Sides, { host, pod }: Pair): PodLinkFound {
  const { link } = sides;
  const sysctls = sysctlsOf(link);
  applySysctls(link.nodeNetns, sysctls.node);
  applySysctls(sides.podNetns.number, sysctls.pod);
  const lo = linkOf(sides.pod, 'lo');
  if (!lo.up) changeLink(sides.pod, lo.ifindex, { up: true });
  if (!host.up || host.mtu !== link.mtu || host.mac !== HOST_MAC)
    changeLink(sides.node, host.ifindex, { up: true, mtu: link.mtu, mac: HOST_MAC });
  if (!pod.up || pod.mtu !== link.mtu) changeLink(sides.pod, pod.ifindex, { up: true, mtu: link.mtu });
  applyWanted(sides.pod, podWanted(link, pod));
  applyWanted(sides.node, hostWanted(link, host, pod));
  return { podMac: pod.mac, hostMac: HOST_MAC, hostIfindex: host.ifindex };
}

function endProblems(end: Link, mtu: number): readonly string[] {
  return [
    ...(end.up ? [] : [`${end.name} is down`]),
    ...(end.mtu === mtu ? [] : [`the MTU of ${end.name} is ${end.mtu} instead of ${mtu}`]),
  ];
}

function randomMac(): string {
  const rest = systemRandom.hex(5).match(/../g) ?? [];
  return [LOCAL_MAC_FIRST_BYTE, ...rest].join(':');
}
