import { join } from 'node:path';
import { addressBytes } from '../../common/address.ts';
import { readIfThere, writeAtomically } from '../../common/atomic-file.ts';
import { HeddleError } from '../../common/errors.ts';
import { listAddresses } from '../kernel/netlink/addresses.ts';
import { listLinks } from '../kernel/netlink/links.ts';
import { Netlink } from '../kernel/netlink/socket.ts';
import { type ClusterNode, tunnelAddress } from './nodes.ts';
import type { AgentOptions } from './options.ts';

/** `--uplink`: the device is looked for. */
export const UPLINK_AUTO = 'auto';
/** In the state directory: the device, for an uninstall that knows no Node object. */
const FILE = 'uplink';

type Wanted = Pick<AgentOptions, 'nodeNetns' | 'stateDirectory' | 'uplink'>;

/**
 * The device towards the other nodes: what `--uplink` names, else the one that has the address at which the node's tunnel ends. Throws
 * `uplink-missing` where none has it.
 */
export function chooseUplink({ nodeNetns, stateDirectory, uplink }: Wanted, own: ClusterNode): string {
  const name = uplink === UPLINK_AUTO ? deviceWith(nodeNetns, tunnelAddress(own)) : uplink;
  writeAtomically(join(stateDirectory, FILE), `${name}\n`);
  return name;
}

/** The device that the last agent chose; `auto` where there was none. */
export function formerUplink({ stateDirectory, uplink }: Wanted): string {
  if (uplink !== UPLINK_AUTO) return uplink;
  return readIfThere(join(stateDirectory, FILE))?.trim() ?? uplink;
}

function deviceWith(netns: string | undefined, address: string | undefined): string {
  using netlink = new Netlink(netns);
  const wanted = address === undefined ? undefined : addressBytes(address);
  const found = listAddresses(netlink).find((one) => wanted?.equals(addressBytes(one.address)) === true);
  const link = found && listLinks(netlink).find(({ ifindex }) => ifindex === found.ifindex);
  if (link !== undefined) return link.name;
  throw new HeddleError(
    'uplink-missing',
    `no device of this node has ${address ?? 'an address'}, the InternalIP of its Node object; name the one towards the other nodes by --uplink`,
  );
}
