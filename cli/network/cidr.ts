import { isIPv4, isIPv6 } from 'node:net';

/** A range of addresses of one family: its first address, and how many leading bits all of them share. */
interface Range {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly bits: number;
}

/** Whether two CIDRs (or single addresses) have an address in common. A text that is neither has none. */
export function overlaps(left: string, right: string): boolean {
  const [a, b] = [rangeOf(left), rangeOf(right)];
  if (a === undefined || b === undefined || a.family !== b.family) return false;
  const width = a.family === 4 ? 32 : 128;
  const shift = BigInt(width - Math.min(a.bits, b.bits));
  return a.first >> shift === b.first >> shift;
}

function rangeOf(text: string): Range | undefined {
  const [address = '', length] = text.split('/');
  const family = isIPv4(address) ? 4 : isIPv6(address) ? 6 : undefined;
  if (family === undefined) return undefined;
  const width = family === 4 ? 32 : 128;
  const bits = length === undefined ? width : Number(length);
  if (!Number.isInteger(bits) || bits < 0 || bits > width) return undefined;
  return { family, first: family === 4 ? value4(address) : value6(address), bits };
}

function value4(address: string): bigint {
  return address.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}

function value6(address: string): bigint {
  // An embedded IPv4 address stands for the last two groups (RFC 4291, section 2.2).
  const plain = address.replace(/[^:]*\.[^:]*$/, (dotted) => {
    const number = value4(dotted);
    return `${(number >> 16n).toString(16)}:${(number & 0xffffn).toString(16)}`;
  });
  const [head = '', tail] = plain.replace(/%.*$/, '').split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const [front, back] = [groups(head), groups(tail ?? '')];
  const gap = tail === undefined ? 0 : 8 - front.length - back.length;
  return [...front, ...Array<string>(gap).fill('0'), ...back].reduce(
    (sum, group) => (sum << 16n) | BigInt(`0x${group}`),
    0n,
  );
}
