import { isIP } from 'node:net';
import { canonicalAddress } from '../../common/address.ts';
import { routeTo } from '../kernel/netlink/routes.ts';
import type { Netlink } from '../kernel/netlink/socket.ts';
import type { NodeSetup } from './node.ts';

/**
 * A sentence where the tunnel's packets to another node leave from an address that isn't this node's own: the kernel takes
 * the route's, and the receiver believes only that of the Node object. Undefined where all is well.
 */
export function sourceProblem(
  netlink: Netlink,
  { addresses, otherNodes }: Pick<NodeSetup, 'addresses' | 'otherNodes'>,
): string | undefined {
  for (const { address4, address6 } of otherNodes) {
    const to = address4 ?? address6;
    const own = addresses.find((one) => to !== undefined && isIP(one) === isIP(to));
    const src = to === undefined || own === undefined ? undefined : routeTo(netlink, to)?.src;
    if (own === undefined || src === undefined || canonicalAddress(src) === canonicalAddress(own)) continue;
    return `other nodes drop what pods send them: packets to ${to} leave from ${src}, and the Node object has the InternalIP ${own}; give the route to there "src ${own}", or correct the kubelet's --node-ip`;
  }
  return undefined;
}
