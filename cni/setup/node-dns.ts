import { isIP } from 'node:net';
import { canonicalAddress } from '../../common/address.ts';
import { addAddress, deleteAddress, listAddresses } from '../kernel/netlink/addresses.ts';
import { linkOf } from '../kernel/netlink/links.ts';
import type { Netlink } from '../kernel/netlink/socket.ts';
import type { NodeSetup } from './node.ts';
import type { NodeMemory } from './node-memory.ts';

/**
 * The cluster's DNS addresses are answered on every node: they stand on `lo`, in every mode the same, and are never the source
 * of packets that don't ask for it.
 */
export function applyDnsAddresses(netlink: Netlink, setup: NodeSetup, memory: NodeMemory): void {
  const wanted = wantedAddresses(setup);
  const ifindex = linkOf(netlink, 'lo').ifindex;
  const has = addressesOf(netlink, ifindex);
  const gone = memory.addresses.filter((one) => !wanted.includes(one));
  for (const address of gone) deleteAddress(netlink, { ifindex, address });
  // One that was there before isn't Heddle's to remove.
  const ours = wanted.filter((one) => !has.has(one) || memory.addresses.includes(one));
  memory.setAddresses(ours);
  for (const address of ours.filter((one) => !has.has(one)))
    addAddress(netlink, { ifindex, address, neverChosen: true });
}

export function dnsAddressProblems(netlink: Netlink, setup: NodeSetup): readonly string[] {
  const has = addressesOf(netlink, linkOf(netlink, 'lo').ifindex);
  return wantedAddresses(setup)
    .filter((one) => !has.has(one))
    .map((one) => `lo lacks the DNS address ${one}`);
}

export function removeDnsAddresses(netlink: Netlink, memory: NodeMemory): void {
  const ifindex = linkOf(netlink, 'lo').ifindex;
  for (const address of memory.addresses) deleteAddress(netlink, { ifindex, address });
  if (memory.exists) memory.setAddresses([]);
}

function wantedAddresses({ dnsAddresses, addresses }: NodeSetup): readonly string[] {
  const families = new Set(addresses.map((one) => isIP(one)));
  return dnsAddresses.filter((one) => families.has(isIP(one))).map((one) => canonicalAddress(one) ?? one);
}

function addressesOf(netlink: Netlink, ifindex: number): ReadonlySet<string> {
  return new Set(listAddresses(netlink, ifindex).map(({ address }) => address));
}
