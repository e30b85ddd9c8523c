import { lookup } from 'node:dns/promises';
import type { Resolver } from '../stack-context.ts';

/** Names outside the mesh as the pod itself would resolve them: hosts file, search path, DNS. */
export const systemResolver: Resolver = {
  async resolve(host) {
    const { address } = await lookup(host);
    return address;
  },
};
