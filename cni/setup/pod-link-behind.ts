import { openFd } from '../kernel/fd.ts';
import { findLink, linkOf, netnsId } from '../kernel/netlink/links.ts';
import { Netlink } from '../kernel/netlink/socket.ts';
import type { PodLinkFound } from './pod.ts';

/** A pod's device that another CNI made, and what of it is on the node. */
export interface LinkBehind extends PodLinkFound {
  /** Empty, with `hostIfindex` 0, where the node has no other end of it (ipvlan, macvlan, a device of the host). */
  readonly hostIfname: string;
}

/** Looks for the node's end of a pod's device. Throws `ENODEV` where the pod has no such device. */
export function linkBehind(netns: string, ifname: string, nodeNetns: string | undefined): LinkBehind {
  using podNetns = openFd(netns);
  using pod = new Netlink(podNetns.number);
  using node = new Netlink(nodeNetns);
  const inside = linkOf(pod, ifname);
  const host = inside.peerIfindex === undefined ? undefined : findLink(node, inside.peerIfindex);
  const isPair =
    host?.kind === 'veth' &&
    host.peerIfindex === inside.ifindex &&
    host.peerNetnsId === netnsId(node, podNetns.number);
  return isPair
    ? { hostIfname: host.name, hostIfindex: host.ifindex, hostMac: host.mac, podMac: inside.mac }
    : { hostIfname: '', hostIfindex: 0, hostMac: '00:00:00:00:00:00', podMac: inside.mac };
}
