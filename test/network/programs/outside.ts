import { PROTOCOL, SCOPE } from '../../../cni/maps/constants.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressBytes, anyAddress } from '../../../common/address.ts';
import { type Crafted, frame } from '../packets/craft.ts';
import { type Family, HOSTS, type Outcome } from '../packets/datapath.ts';
import type { World } from './entrances.ts';

/** A client outside, what it asks of a Service, and what becomes of that. */

export type Host = keyof typeof HOSTS;
export const families = [4, 6] as const;
const BALANCER = { 4: '203.0.113.1', 6: '2001:db8:1::1' } as const;
export const PORT = 30_080;
let lastId = 0;

export interface Published {
  /** A NodePort, or an address that isn't the node's. */
  readonly at: 'node' | 'balancer';
  readonly protocol: number;
  readonly backends: readonly (readonly [Host, number])[];
  readonly flags?: number;
  readonly port?: number;
}

/** A Service of one port. */
export function publishIn(
  { path }: World,
  family: Family,
  { at, protocol, backends, flags, port }: Published,
): void {
  const id = ++lastId;
  for (const [slot, [host, target]] of backends.entries())
    path.set(
      TABLES.backend,
      { serviceId: id, slot },
      { address: addressBytes(HOSTS[host][family]), port: target },
    );
  const address = at === 'node' ? anyAddress(family) : addressBytes(BALANCER[family]);
  path.set(
    TABLES.service,
    { address, port: port ?? PORT, protocol, scope: SCOPE.EXTERNAL },
    { id, count: backends.length, flags: flags ?? 0, affinityS: 100 },
  );
}

/** What the client asks. */
export function asks(family: Family, at: Published['at'], more: Partial<Crafted> = {}): Crafted {
  const to = at === 'node' ? HOSTS.node[family] : BALANCER[family];
  const ports = { sourcePort: 50_001, destinationPort: PORT };
  return { from: HOSTS.client[family], to, protocol: PROTOCOL.TCP, ...ports, ...more };
}

/** The same as its backend gets it. */
export function got(asked: Crafted, host: Host, family: Family, destinationPort = 8080): Crafted {
  return { ...asked, to: HOSTS[host][family], destinationPort };
}

/** As the node's own device gets it: test runs take any other frame for one that was only overheard. */
export function toThisHost(packet: Crafted): Buffer {
  const bytes = frame(packet);
  bytes.fill(0, 0, 6);
  return bytes;
}

/** The same the other way. */
export function turned(packet: Crafted, more: Partial<Crafted> = {}): Crafted {
  const { from, to, sourcePort = 0, destinationPort = 0 } = packet;
  return { ...packet, from: to, to: from, sourcePort: destinationPort, destinationPort: sourcePort, ...more };
}

/** Its verdict, and why it was dropped. */
export function outcome({ verdict, drops }: Outcome): readonly [number, readonly number[]] {
  return [verdict, drops.map((one) => one.reason)];
}
