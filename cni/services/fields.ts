import { isIP } from 'node:net';
import { addressBytes, isMapped, type Prefix, parsePrefix } from '../../common/address.ts';
import { type FieldError, type Item, shown } from '../../model/read/fields.ts';
import type { AddressAt } from './service-spec.ts';
import { specialAddress } from './special-addresses.ts';

/** The address that a field holds, in a list; empty, with an error, where it holds none or a special one. */
export function addressField({ value, path }: Item, errors: FieldError[]): readonly AddressAt[] {
  if (typeof value !== 'string' || isIP(value) === 0 || value.includes('%')) {
    errors.push({ path, message: `must be an IP address, not ${shown(value)}` });
    return [];
  }
  const address = addressBytes(value);
  const special = specialAddress(address);
  if (special !== undefined) {
    errors.push({ path, message: `must not be ${value}, which is ${special}` });
    return [];
  }
  // An IPv4 address in the clothes of IPv6 is one and the same in the maps.
  return [{ address, family: isMapped(address) ? 4 : 6, path }];
}

/** The range that a field holds, in a list; empty, with an error, where it holds none. */
export function prefixField({ value, path }: Item, errors: FieldError[]): readonly Prefix[] {
  try {
    return [parsePrefix(String(value))];
  } catch {
    errors.push({
      path,
      message: `must be a range such as 192.0.2.0/24 or 2001:db8::/32, not ${shown(value)}`,
    });
    return [];
  }
}
