import { lookup } from 'node:dns/promises';
import type { Resolver } from '../stack-context.ts';

/**
 * Names outside the mesh as the pod itself would resolve them: hosts file, search path, DNS. IPv4 first, since one address
 * is dialled and hosts without IPv6 still resolve to it.
 */
export const systemResolver: Resolver = {
  async resolve(host) {
    const { address } = await lookup(host, { order: 'ipv4first' });
    return address;
  },
};
