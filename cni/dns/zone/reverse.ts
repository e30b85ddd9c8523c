import { isIPv4 } from 'node:net';
import { addressText } from '../../../common/address.ts';

const V4 = '.in-addr.arpa';
const V6 = '.ip6.arpa';

/** The address whose reverse name this is (RFC 1035 section 3.5, RFC 3596 section 2.5), as `addressText` writes it. */
export function reversedAddress(name: string): string | undefined {
  if (name.endsWith(V4)) {
    const address = name.slice(0, -V4.length).split('.').reverse().join('.');
    return isIPv4(address) ? address : undefined;
  }
  if (!name.endsWith(V6)) return undefined;
  const nibbles = name.slice(0, -V6.length);
  if (!/^[0-9a-f](\.[0-9a-f]){31}$/.test(nibbles)) return undefined;
  return addressText(Buffer.from(nibbles.split('.').reverse().join(''), 'hex'));
}
