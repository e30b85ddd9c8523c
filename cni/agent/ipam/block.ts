import { addressBytes, addressText, parsePrefix, prefixText } from '../../../common/address.ts';

const ADDRESS_BITS = 128n;
/** Highest interface identifiers of a subnet: reserved anycast addresses (RFC 2526). */
const RESERVED_ANYCAST = 128n;
/** A subnet so small has no room to reserve those. */
const anycastPrefixMax = 112;

/** The addresses of one family that a node may give to its pods. */
export interface AddressBlock {
  /** As it is written: `10.244.1.0/24`. */
  readonly cidr: string;
  readonly family: 4 | 6;
  /** First and last that may be given, as numbers of 128 bits. */
  readonly first: bigint;
  readonly last: bigint;
  readonly usable: bigint;
}

/**
 * Reads a CIDR. Of IPv4 the network's, the broadcast and the first host's address stay unused (.0, .255, .1 of a /24), as a
 * router would expect them; a /31 has no such (RFC 3021), nor has a /32. Of IPv6 the first (subnet-router anycast, RFC
 * 4291 section 2.6.1), the second (by custom the router's) and, of a /112 or wider, the last 128 (RFC 2526) stay unused;
 * a /127 (RFC 6164) and a /128 are used whole. Throws a `HeddleError` for anything else.
 */
export function readBlock(cidr: string): AddressBlock {
  const prefix = parsePrefix(cidr);
  const family = cidr.includes(':') ? 6 : 4;
  const start = addressNumber(addressText(prefix.address));
  const size = 1n << (ADDRESS_BITS - BigInt(prefix.bits));
  let first = start;
  let last = start + size - 1n;
  if (size > 2n) {
    first = start + 2n;
    if (family === 4) last -= 1n;
    else if (prefix.bits <= anycastPrefixMax) last -= RESERVED_ANYCAST;
  }
  return { cidr: prefixText(prefix), family, first, last, usable: last - first + 1n };
}

export function blockHolds(block: AddressBlock, address: bigint): boolean {
  return address >= block.first && address <= block.last;
}

/** Throws a `HeddleError` where the text is no address. */
export function addressNumber(text: string): bigint {
  return BigInt(`0x${addressBytes(text).toString('hex')}`);
}

export function numberText(address: bigint): string {
  return addressText(Buffer.from(address.toString(16).padStart(32, '0'), 'hex'));
}
