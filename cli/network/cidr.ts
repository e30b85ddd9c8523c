import { isIPv4, isIPv6 } from 'node:net';
import { type Prefix, parsePrefix, prefixHolds } from '../../common/address.ts';

interface Range extends Prefix {
  readonly family: 4 | 6;
}

/** Whether two CIDRs (or single addresses) have an address in common. A text that is neither has none. */
export function overlaps(left: string, right: string): boolean {
  const [a, b] = [rangeOf(left), rangeOf(right)];
  if (a === undefined || b === undefined || a.family !== b.family) return false;
  return a.bits < b.bits ? prefixHolds(a, b.address) : prefixHolds(b, a.address);
}

function rangeOf(text: string): Range | undefined {
  const [zoned = '', length] = text.split('/');
  const address = zoned.replace(/%.*$/, '');
  const family = isIPv4(address) ? 4 : isIPv6(address) ? 6 : undefined;
  if (family === undefined) return undefined;
  try {
    return { family, ...parsePrefix(`${address}/${length ?? (family === 4 ? 32 : 128)}`) };
  } catch {
    // A length that is none.
    return undefined;
  }
}
