import { isIPv4 } from 'node:net';
import type { Link } from '../kernel/netlink/links.ts';
import type { PodLink } from './pod.ts';
import { hostPrefix, type Sysctls, type Wanted } from './wanted.ts';

/** Of every node's end: pods know it without asking, and the programs write it into packets. */
export const HOST_MAC = 'ee:ee:ee:ee:ee:ee';
/** No device has them: they only stand for "the node" in a pod's routes. */
export const GATEWAY4 = '169.254.1.1';
export const GATEWAY6 = 'fe80::1';

/** What the pod's end has. */
export function podWanted(link: PodLink, pod: Link): Wanted {
  const gateways = gatewaysOf(link.ips);
  return {
    ifindex: pod.ifindex,
    ifname: pod.name,
    addresses: link.ips.map((address) => ({ address })),
    routes: gateways.flatMap((via) =>
      via === GATEWAY4 ? [{ to: `${GATEWAY4}/32` }, { to: '0.0.0.0/0', via }] : [{ to: '::/0', via }],
    ),
    neighbours: gateways.map((address) => ({ address, mac: HOST_MAC })),
  };
}

/** What the node's end has: the way to each of the pod's addresses. */
export function hostWanted(link: PodLink, host: Link, pod: Link): Wanted {
  return {
    ifindex: host.ifindex,
    ifname: host.name,
    addresses: [],
    routes: link.ips.map((address) => {
      const src = link.nodeAddresses?.find((one) => isIPv4(one) === isIPv4(address));
      return { to: hostPrefix(address), ...(src === undefined ? {} : { src }) };
    }),
    neighbours: link.ips.map((address) => ({ address, mac: pod.mac })),
  };
}

/**
 * Settings of the two ends. A packet that a program redirected came by a way that no route knows: `rp_filter` must be
 * off. The node's end has no address of its own, so none can be in conflict with the gateway's. A runtime without IPv6
 * may have switched it off in the pod.
 */
export function sysctlsOf(link: PodLink): { readonly node: Sysctls; readonly pod: Sysctls } {
  const [four, six] = [link.ips.some(isIPv4), link.ips.some((one) => !isIPv4(one))];
  const host4 = `net/ipv4/conf/${link.hostIfname}`;
  const host6 = `net/ipv6/conf/${link.hostIfname}`;
  const pod6 = `net/ipv6/conf/${link.ifname}`;
  const node4 = { [`${host4}/rp_filter`]: '0', [`${host4}/forwarding`]: '1' };
  const node6 = {
    [`${host6}/disable_ipv6`]: '0',
    [`${host6}/addr_gen_mode`]: '1',
    [`${host6}/accept_dad`]: '0',
    [`${host6}/accept_ra`]: '0',
    [`${host6}/forwarding`]: '1',
  };
  const inside6 = {
    'net/ipv6/conf/lo/disable_ipv6': '0',
    [`${pod6}/disable_ipv6`]: '0',
    [`${pod6}/accept_dad`]: '0',
    [`${pod6}/accept_ra`]: '0',
  };
  return { node: { ...(four ? node4 : {}), ...(six ? node6 : {}) }, pod: six ? inside6 : {} };
}

function gatewaysOf(ips: readonly string[]): readonly string[] {
  return [...(ips.some(isIPv4) ? [GATEWAY4] : []), ...(ips.some((one) => !isIPv4(one)) ? [GATEWAY6] : [])];
}
