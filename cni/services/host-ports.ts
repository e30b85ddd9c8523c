import { isIP } from 'node:net';
import { addressBytes, isMapped, isNoAddress } from '../../common/address.ts';
import type { Problem } from '../../model/objects.ts';
import { PROTOCOL, SCOPE } from '../maps/constants.ts';
import type { HostPortMapping, Offer } from './plan.ts';
import { specialAddress } from './special-addresses.ts';

/** Where programs of a node reach its hostPorts too, as with the plugin `portmap`. */
const LOOPBACK: readonly string[] = ['127.0.0.1', '::1'];

export interface HostPortOffer {
  readonly mapping: HostPortMapping;
  readonly offer: Offer;
}

/**
 * hostPorts: frontends at the addresses of each pod's node, one by one. Not at "every address of the node" as NodePorts, which
 * stand for the addresses of all nodes: on another one other pods have the port. Those of other nodes' pods are offered to
 * callers of this node, whose packets would come to the other node by the tunnel, where no socket is asked any more; what is
 * wrong with them is told there.
 */
export function hostPortOffers(
  mappings: readonly HostPortMapping[],
  ownAddresses: readonly string[],
): { readonly offers: readonly HostPortOffer[]; readonly problems: readonly Problem[] } {
  const offers: HostPortOffer[] = [];
  const problems: Problem[] = [];
  for (const mapping of mappings) {
    const isOwn = mapping.nodeAddresses === undefined;
    // A node's loopback is its own processes' alone.
    const candidates = mapping.nodeAddresses ?? [...ownAddresses, ...LOOPBACK];
    const addresses = addressesOf(mapping.hostIp, candidates);
    if (typeof addresses === 'string') {
      if (isOwn) problems.push(hostPortProblem(mapping, addresses));
      continue;
    }
    for (const host of addresses) {
      const family = isIP(host);
      const pod = mapping.podIps.find((ip) => isIP(ip) === family);
      if (pod === undefined) continue;
      const isForOutside = isOwn && !LOOPBACK.includes(host);
      for (const scope of isForOutside ? [SCOPE.INTERNAL, SCOPE.EXTERNAL] : [SCOPE.INTERNAL])
        offers.push({ mapping, offer: offerOf(mapping, host, pod, scope) });
    }
  }
  return { offers, problems };
}

/** The addresses a hostIP stands for, or why it stands for none. */
function addressesOf(hostIp: string | undefined, candidates: readonly string[]): readonly string[] | string {
  if (hostIp === undefined || hostIp === '') return candidates;
  if (isIP(hostIp) === 0) return `hostIP ${hostIp} is no IP address`;
  const address = addressBytes(hostIp);
  if (isNoAddress(address)) return candidates.filter((ip) => isIP(ip) === 6);
  if (hostIp === '0.0.0.0') return candidates.filter((ip) => isIP(ip) === 4);
  const known = candidates.find((ip) => addressBytes(ip).equals(address));
  if (known !== undefined) return [known];
  const special = specialAddress(address);
  if (special !== undefined)
    return `hostIP ${hostIp} is ${special}, where the pod network can't serve it: leave hostIP out, or reach the pod at its own address`;
  const own = candidates.filter((ip) => !LOOPBACK.includes(ip));
  return `hostIP ${hostIp} is no address of this node (${own.join(', ')})`;
}

function offerOf(mapping: HostPortMapping, host: string, pod: string, scope: number): Offer {
  const address = addressBytes(pod);
  const port = mapping.containerPort;
  const text = isMapped(address) ? `${pod}:${port}` : `[${pod}]:${port}`;
  return {
    kind: 'host-port',
    owner: `Pod ${mapping.namespace}/${mapping.pod}`,
    field: ['spec', 'containers'],
    key: { address: addressBytes(host), port: mapping.hostPort, protocol: PROTOCOL[mapping.protocol], scope },
    flags: 0,
    affinityS: 0,
    backends: [{ text, address, port }],
  };
}

/** A hostPort that isn't served, and why. */
export function hostPortProblem(mapping: HostPortMapping, message: string): Problem {
  return {
    severity: 'error',
    source: 'cni',
    line: 1,
    object: `Pod ${mapping.namespace}/${mapping.pod}`,
    field: 'hostPort',
    message: `host port ${mapping.hostPort}/${mapping.protocol} is not served: ${message}`,
  };
}
