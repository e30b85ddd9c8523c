import { isIP } from 'node:net';
import { canonicalAddress, parsePrefix, prefixText } from '../../common/address.ts';
import { HeddleError } from '../../common/errors.ts';
import { listAddresses } from '../kernel/netlink/addresses.ts';
import { FAMILIES } from '../kernel/netlink/attributes.ts';
import { findLink } from '../kernel/netlink/links.ts';
import {
  deleteRoute,
  listRoutes,
  type Route,
  type RouteSpec,
  replaceRoute,
  routeTo,
  TABLE,
} from '../kernel/netlink/routes.ts';
import type { Netlink } from '../kernel/netlink/socket.ts';
import type { NodeSetup, OtherNode } from './node.ts';
import { TUNNEL_DEVICE } from './node-tunnel.ts';
import { HEDDLE_ROUTE_PROTOCOL, sameRoute } from './wanted.ts';

/** Where the node sends what goes to pods of other nodes: all of them by the tunnel, or each node's by that node. */
export function applyNodeRoutes(netlink: Netlink, setup: NodeSetup, tunnelIfindex: number): void {
  const wanted = wantedRoutes(netlink, setup, tunnelIfindex);
  const missing = wanted.filter((one) => !stands(nodeRoutes(netlink, tunnelIfindex), one));
  for (const route of missing) replaceRoute(netlink, { ...route, protocol: HEDDLE_ROUTE_PROTOCOL });
  for (const route of stale(nodeRoutes(netlink, tunnelIfindex), wanted)) deleteRoute(netlink, asSpec(route));
}

export function nodeRouteProblems(netlink: Netlink, setup: NodeSetup): readonly string[] {
  const tunnelIfindex = findLink(netlink, TUNNEL_DEVICE)?.ifindex ?? 0;
  const wanted = wantedRoutes(netlink, setup, tunnelIfindex);
  const found = nodeRoutes(netlink, tunnelIfindex);
  return [
    ...wanted
      .filter((one) => !stands(found, one))
      .map(({ to }) => `the route to the pods of ${to} is missing`),
    ...stale(found, wanted).map(({ to }) => `a route to ${to} that Heddle made isn't wanted any more`),
  ];
}

function wantedRoutes(netlink: Netlink, setup: NodeSetup, tunnelIfindex: number): readonly RouteSpec[] {
  const own = ownAddresses(netlink, setup);
  if (setup.mode === 'direct') return setup.otherNodes.flatMap((node) => directRoutes(netlink, node));
  if (tunnelIfindex === 0) return [];
  return setup.podRanges.flatMap((range) => {
    const src = own.find((one) => one.includes(':') === range.includes(':'));
    return src === undefined ? [] : [{ to: canonicalPrefix(range), ifindex: tunnelIfindex, src }];
  });
}

/** A node behind a router is left to that: it must know the pods' blocks, as mode direct says. */
function directRoutes(netlink: Netlink, node: OtherNode): readonly RouteSpec[] {
  return node.podBlocks.flatMap((block) => {
    const via = block.includes(':') ? node.address6 : node.address4;
    const way = via === undefined ? undefined : routeTo(netlink, via);
    if (via === undefined || way?.ifindex === undefined || way.via !== undefined) return [];
    return [{ to: canonicalPrefix(block), via: canonicalAddress(via) ?? via, ifindex: way.ifindex }];
  });
}

/** The first of each family. */
function ownAddresses(netlink: Netlink, { addresses }: NodeSetup): readonly string[] {
  const own = [4, 6].flatMap((family) => addresses.find((one) => isIP(one) === family) ?? []);
  const has = new Set(listAddresses(netlink).map(({ address }) => address));
  return own.map((one) => {
    const address = canonicalAddress(one) ?? one;
    if (has.has(address)) return address;
    throw new HeddleError(
      'node-address',
      `the Node object has the InternalIP ${address}, which no device of the node has: correct the kubelet's --node-ip`,
    );
  });
}

/** Heddle's own but for those of pods, which leave by the pods' devices. */
function nodeRoutes(netlink: Netlink, tunnelIfindex: number): readonly Route[] {
  return FAMILIES.flatMap((family) =>
    listRoutes(netlink, { family, table: TABLE.main, protocol: HEDDLE_ROUTE_PROTOCOL }),
  ).filter(({ via, ifindex }) => via !== undefined || ifindex === tunnelIfindex);
}

function stands(found: readonly Route[], wanted: RouteSpec): boolean {
  return found.some((one) => sameRoute(one, wanted) && one.ifindex === wanted.ifindex);
}

function stale(found: readonly Route[], wanted: readonly RouteSpec[]): readonly Route[] {
  return found.filter((route) => !wanted.some((one) => stands([route], one)));
}

function asSpec({ to, via, ifindex }: Route): RouteSpec {
  return {
    ...{ to, protocol: HEDDLE_ROUTE_PROTOCOL },
    ...(via === undefined ? {} : { via }),
    ...(ifindex === undefined ? {} : { ifindex }),
  };
}

function canonicalPrefix(text: string): string {
  return prefixText(parsePrefix(text));
}
