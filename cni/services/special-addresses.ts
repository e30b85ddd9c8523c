import { type AddressBytes, parsePrefix, prefixHolds } from '../../common/address.ts';

/**
 * Addresses that mean something else on every machine, so that no endpoint and no external address may be one
 * (Kubernetes refuses the same: EndpointSlice, "addresses"; Service, "externalIPs").
 */
const SPECIAL = [
  { prefix: parsePrefix('127.0.0.0/8'), what: 'a loopback address' },
  { prefix: parsePrefix('::1/128'), what: 'a loopback address' },
  { prefix: parsePrefix('0.0.0.0/32'), what: 'no address of anybody' },
  { prefix: parsePrefix('::/128'), what: 'no address of anybody' },
  { prefix: parsePrefix('169.254.0.0/16'), what: 'a link-local address' },
  { prefix: parsePrefix('fe80::/10'), what: 'a link-local address' },
  { prefix: parsePrefix('224.0.0.0/4'), what: 'a multicast address' },
  { prefix: parsePrefix('ff00::/8'), what: 'a multicast address' },
];

/** Why nobody can be reached there from elsewhere: `a loopback address`; undefined for an ordinary address. */
export function specialAddress(address: AddressBytes): string | undefined {
  return SPECIAL.find(({ prefix }) => prefixHolds(prefix, address))?.what;
}
