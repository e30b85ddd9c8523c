import { isMapped, type Prefix, parsePrefix, prefixHolds, prefixText } from '../../common/address.ts';
import { HeddleError } from '../../common/errors.ts';
import { type Fields, shown } from '../../model/read/fields.ts';

/** An ipBlock: the addresses of `cidr` without those of `except`, all of one family. */
export interface Block {
  readonly key: string;
  readonly cidr: Prefix;
  readonly except: readonly Prefix[];
}

export const blockExceptsMax = 4_096;

/**
 * Reads an ipBlock (Kubernetes API reference: IPBlock). Undefined where any of it can't be used: without one of its exceptions a
 * block would allow more than was meant.
 */
export function readBlock(fields: Fields): Block | undefined {
  const before = fields.errors.length;
  const cidr = readPrefix(fields, ['cidr'], fields.required('cidr'));
  const except = fields.texts('except', blockExceptsMax).flatMap(({ value }, index) => {
    const prefix = readPrefix(fields, ['except', index], value);
    if (prefix === undefined || cidr === undefined) return [];
    const inside =
      familyOf(prefix) === familyOf(cidr) && prefix.bits > cidr.bits && prefixHolds(cidr, prefix.address);
    if (!inside) fields.error(['except', index], `must be a part of the cidr, ${prefixText(cidr)}`);
    return [prefix];
  });
  fields.finish();
  if (cidr === undefined || fields.errors.length > before) return undefined;
  const key = JSON.stringify(['block', prefixText(cidr), ...except.map(prefixText).toSorted()]);
  return { key, cidr, except };
}

export function familyOf(prefix: Prefix): 4 | 6 {
  return prefix.bits >= 96 && isMapped(prefix.address) ? 4 : 6;
}

/** Whether the address, as maps hold it, is in the block. An IPv6 block never holds an IPv4 address, `::/0` neither. */
export function blockHolds(block: Block, address: Uint8Array): boolean {
  if ((familyOf(block.cidr) === 4) !== isMapped(address)) return false;
  return prefixHolds(block.cidr, address) && !block.except.some((prefix) => prefixHolds(prefix, address));
}

function readPrefix(
  fields: Fields,
  path: readonly (string | number)[],
  text: string | undefined,
): Prefix | undefined {
  if (text === undefined) return undefined;
  try {
    const prefix = parsePrefix(text);
    if (familyOf(prefix) === 4 && text.includes(':'))
      return fields.error(path, `must be written as IPv4, ${prefixText(prefix)}`);
    return prefix;
  } catch (thrown) {
    if (!(thrown instanceof HeddleError)) throw thrown;
    return fields.error(path, `must be a CIDR such as 10.0.0.0/8 or fd00::/8, not ${shown(text)}`);
  }
}
