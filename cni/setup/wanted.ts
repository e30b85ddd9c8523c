import { isIPv4 } from 'node:net';
import { isKernelError } from '../kernel/errors.ts';
import { type AddressSpec, addAddress, listAddresses } from '../kernel/netlink/addresses.ts';
import { FAMILIES } from '../kernel/netlink/attributes.ts';
import { listNeighbours, replaceNeighbour } from '../kernel/netlink/neighbours.ts';
import {
  listRoutes,
  ROUTE_TYPE,
  type Route,
  type RouteSpec,
  replaceRoute,
  TABLE,
} from '../kernel/netlink/routes.ts';
import type { Netlink } from '../kernel/netlink/socket.ts';
import { inNetns, type Netns } from '../kernel/netns.ts';
import { readSysctl, writeSysctl } from '../kernel/sysctl.ts';

/** In the field `protocol` of every route that Heddle makes, "H": those, and no others, are its own to remove. */
export const HEDDLE_ROUTE_PROTOCOL = 0x48;

/** What one device shall have beside itself; `applyWanted` and `wantedProblems` read the same list. */
export interface Wanted {
  readonly ifindex: number;
  readonly ifname: string;
  readonly addresses: readonly Omit<AddressSpec, 'ifindex'>[];
  /** All of them leave by the device. */
  readonly routes: readonly Omit<RouteSpec, 'ifindex'>[];
  /** Permanent. */
  readonly neighbours: readonly { readonly address: string; readonly mac: string }[];
}

/** Values by the names that `readSysctl` takes. */
export type Sysctls = Readonly<Record<string, string>>;

/** Makes what is missing and mends what differs. Others' addresses, routes and neighbours stay. */
export function applyWanted(netlink: Netlink, wanted: Wanted): void {
  const { ifindex } = wanted;
  for (const address of wanted.addresses) {
    try {
      addAddress(netlink, { ...address, ifindex });
    } catch (thrown) {
      if (!isKernelError(thrown, 'EEXIST')) throw thrown;
    }
  }
  for (const route of wanted.routes)
    replaceRoute(netlink, { ...route, ifindex, protocol: HEDDLE_ROUTE_PROTOCOL });
  for (const neighbour of wanted.neighbours) replaceNeighbour(netlink, { ...neighbour, ifindex });
}

/** A sentence for each thing that isn't as it is wanted. */
export function wantedProblems(netlink: Netlink, wanted: Wanted): readonly string[] {
  const { ifindex, ifname } = wanted;
  const addresses = new Set(listAddresses(netlink, ifindex).map((one) => `${one.address}/${one.bits}`));
  const routes = FAMILIES.flatMap((family) => listRoutes(netlink, { family, ifindex }));
  const neighbours = listNeighbours(netlink, ifindex);
  return [
    ...wanted.addresses
      .filter(({ address }) => !addresses.has(hostPrefix(address)))
      .map(({ address }) => `${ifname} lacks the address ${address}`),
    ...wanted.routes
      .filter((route) => !routes.some((one) => sameRoute(one, route)))
      .map(
        ({ to, via }) =>
          `the route to ${to}${via === undefined ? '' : ` via ${via}`} dev ${ifname} is missing`,
      ),
    ...wanted.neighbours
      .filter(
        ({ address, mac }) =>
          !neighbours.some((one) => one.address === address && one.mac === mac && one.permanent),
      )
      .map(({ address, mac }) => `${ifname} lacks the permanent neighbour ${address} at ${mac}`),
  ];
}

export function applySysctls(netns: Netns, sysctls: Sysctls): void {
  inNetns(netns, () => {
    for (const [name, value] of Object.entries(sysctls)) writeSysctl(name, value);
  });
}

export function sysctlProblems(netns: Netns, sysctls: Sysctls): readonly string[] {
  return inNetns(netns, () =>
    Object.entries(sysctls).flatMap(([name, value]) => {
      const found = readSysctl(name);
      return found === value ? [] : [`${name} is ${found ?? 'not there'} instead of ${value}`];
    }),
  );
}

/** `10.0.0.1/32`, `fd00::1/128`. */
export function hostPrefix(address: string): string {
  return `${address}/${isIPv4(address) ? 32 : 128}`;
}

/** Whether a route that was found is the one that was wanted, in what matters to a packet. */
export function sameRoute(found: Route, wanted: Omit<RouteSpec, 'ifindex'>): boolean {
  return (
    found.to === wanted.to &&
    found.table === (wanted.table ?? TABLE.main) &&
    found.type === (wanted.type ?? ROUTE_TYPE.unicast) &&
    found.via === wanted.via &&
    found.src === wanted.src
  );
}
