import { isIP } from 'node:net';
import { addressBytes, addressText } from '../../common/address.ts';
import { objectsOf, recordOf } from '../../model/read/meta.ts';
import { slicesByService } from '../services/slices.ts';
import type { ClusterObjects } from './cluster.ts';
import type { AgentOptions } from './options.ts';

/**
 * Where the control plane is: addresses that were given, and the endpoints of its Service, whether they are ready or not. Not the
 * Service's own address: a sidecar's packets have a backend's.
 */
export function controlPlaneAddresses(
  { controlPlane, controlPlaneService }: Pick<AgentOptions, 'controlPlane' | 'controlPlaneService'>,
  { endpointSlices }: Pick<ClusterObjects, 'endpointSlices'>,
): readonly string[] {
  if (controlPlaneService === undefined) return controlPlane;
  const slices = slicesByService(endpointSlices).get(controlPlaneService) ?? [];
  const found = slices.flatMap(({ object }) =>
    objectsOf(recordOf(object).endpoints).flatMap(({ addresses }) =>
      Array.isArray(addresses)
        ? addresses.filter((one): one is string => typeof one === 'string' && isIP(one) !== 0)
        : [],
    ),
  );
  return [...new Set([...controlPlane, ...found.map((one) => addressText(addressBytes(one)))])].toSorted();
}
