import { HeddleError } from '../../common/errors.ts';
import { isKernelError } from '../kernel/errors.ts';
import {
  changeLink,
  createExternalVxlan,
  deleteLink,
  findLink,
  type Link,
  linkOf,
  listLinks,
} from '../kernel/netlink/links.ts';
import type { Netlink } from '../kernel/netlink/socket.ts';
import type { Netns } from '../kernel/netns.ts';
import { inNetns } from '../kernel/netns.ts';
import { readSysctl } from '../kernel/sysctl.ts';
import { applySysctls, type Sysctls, sysctlProblems } from './wanted.ts';

export const TUNNEL_DEVICE = 'heddle_vxlan';
/** IANA's port for VXLAN. */
export const TUNNEL_PORT = 4789;

/** The device's number; throws `tunnel-port-taken`. One of another kind, or that learns, is made anew: then programs must be attached again. */
export function applyTunnel(netlink: Netlink, netns: Netns, mtu: number): number {
  let found = findLink(netlink, TUNNEL_DEVICE);
  if (found !== undefined && !isTunnel(found)) {
    deleteLink(netlink, found.ifindex);
    found = undefined;
  }
  try {
    if (found === undefined) createExternalVxlan(netlink, TUNNEL_DEVICE, TUNNEL_PORT, mtu);
    const device = linkOf(netlink, TUNNEL_DEVICE);
    applySysctls(netns, tunnelSysctls(netns));
    if (!device.up || device.arp || device.mtu !== mtu)
      changeLink(netlink, device.ifindex, { up: true, arp: false, mtu });
    return device.ifindex;
  } catch (thrown) {
    if (!isKernelError(thrown, 'EEXIST', 'EADDRINUSE')) throw thrown;
    removeTunnel(netlink);
    throw portTaken(netlink, thrown);
  }
}

export function tunnelProblems(netlink: Netlink, netns: Netns, mtu: number): readonly string[] {
  const device = findLink(netlink, TUNNEL_DEVICE);
  if (device === undefined) return [`the device ${TUNNEL_DEVICE} is missing`];
  if (!isTunnel(device))
    return [`${TUNNEL_DEVICE} isn't a VXLAN device for keys of eBPF at port ${TUNNEL_PORT}`];
  return [
    ...(device.up ? [] : [`${TUNNEL_DEVICE} is down`]),
    ...(device.arp ? [`${TUNNEL_DEVICE} asks for MAC addresses`] : []),
    ...(device.mtu === mtu ? [] : [`the MTU of ${TUNNEL_DEVICE} is ${device.mtu} instead of ${mtu}`]),
    ...sysctlProblems(netns, tunnelSysctls(netns)),
  ];
}

export function removeTunnel(netlink: Netlink): void {
  const device = findLink(netlink, TUNNEL_DEVICE);
  if (device !== undefined) deleteLink(netlink, device.ifindex);
}

function portTaken(netlink: Netlink, cause: unknown): HeddleError {
  const names = othersAtThePort(netlink).join(', ');
  return new HeddleError(
    'tunnel-port-taken',
    `UDP port ${TUNNEL_PORT} is taken${names === '' ? '' : ` by ${names}`}: remove that, or give it another port`,
    { cause },
  );
}

/** Devices of others that leave no port for the tunnel. */
export function othersAtThePort(netlink: Netlink): readonly string[] {
  const all = listLinks(netlink).filter(({ vxlan }) => vxlan?.port === TUNNEL_PORT);
  return all.map(({ name }) => name).filter((name) => name !== TUNNEL_DEVICE);
}

function isTunnel({ vxlan }: Link): boolean {
  return vxlan?.external === true && !vxlan.learning && vxlan.port === TUNNEL_PORT;
}

/** Packets of nodes come by it whose addresses the uplink leads to. Nobody speaks neighbour discovery on it. */
function tunnelSysctls(netns: Netns): Sysctls {
  const [four, six] = [`net/ipv4/conf/${TUNNEL_DEVICE}`, `net/ipv6/conf/${TUNNEL_DEVICE}`];
  const hasSix = inNetns(netns, () => readSysctl(`${six}/forwarding`) !== undefined);
  return {
    [`${four}/rp_filter`]: '0',
    [`${four}/forwarding`]: '1',
    ...(hasSix
      ? {
          [`${six}/addr_gen_mode`]: '1',
          [`${six}/accept_dad`]: '0',
          [`${six}/accept_ra`]: '0',
          [`${six}/forwarding`]: '1',
        }
      : {}),
  };
}
