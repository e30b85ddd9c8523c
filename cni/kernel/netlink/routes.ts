import { isKernelError } from '../errors.ts';
import { SCOPE, type Scope } from './addresses.ts';
import {
  AF_INET,
  attribute,
  type Family,
  familyOf,
  ip,
  ipBytes,
  readAttributes,
  readIp,
  readU32,
  u32,
  widthOf,
} from './attributes.ts';
import { CREATE, EXCLUSIVE, type Netlink, REPLACE } from './socket.ts';

const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const HEAD_BYTES = 12;
const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PRIORITY: 6, PREFSRC: 7, TABLE: 15 };
const RTNH_F_ONLINK = 4;
/** Tables above 255 are named by their attribute alone. */
const tableByteMax = 255;

export const TABLE = { main: 254, local: 255 } as const;
export const ROUTE_TYPE = { unicast: 1, local: 2, unreachable: 7 } as const;
/** `kernel`: comes with an address; `boot`: as `ip route` makes them. */
export const ROUTE_PROTOCOL = { kernel: 2, boot: 3 } as const;

export interface RouteSpec {
  /** `10.0.0.0/8`, `fd00::/8`, `::/0`. */
  readonly to: string;
  readonly table?: number;
  readonly type?: (typeof ROUTE_TYPE)[keyof typeof ROUTE_TYPE];
  readonly scope?: Scope;
  readonly protocol?: number;
  readonly ifindex?: number;
  readonly via?: string;
  /** The source of packets that have none yet. */
  readonly src?: string;
  /** Believe that `via` is on the device's link. */
  readonly onlink?: boolean;
}

export interface Route {
  readonly to: string;
  readonly table: number;
  readonly type: number;
  readonly scope: number;
  readonly protocol: number;
  readonly ifindex: number | undefined;
  readonly via: string | undefined;
  readonly src: string | undefined;
  readonly onlink: boolean;
}

/** Which routes a list holds; what isn't given isn't asked for. The kernel itself leaves the others out. */
export interface RouteFilter {
  readonly family: Family;
  readonly table?: number;
  readonly ifindex?: number;
  readonly protocol?: number;
}

/** Throws `EEXIST` where the table has one to there. */
export function addRoute(netlink: Netlink, spec: RouteSpec): void {
  write(netlink, spec, CREATE | EXCLUSIVE);
}

/** Adds it, or puts it in the place of the one to there. */
export function replaceRoute(netlink: Netlink, spec: RouteSpec): void {
  write(netlink, spec, CREATE | REPLACE);
}

/** Whether there was one that is as `spec` says, in what it says. */
export function deleteRoute(netlink: Netlink, spec: RouteSpec): boolean {
  const { family, bits } = destination(spec.to);
  try {
    netlink.change({
      what: `delete the route to ${spec.to}`,
      type: RTM_DELROUTE,
      body: [
        head({ ...spec, family, bits, scope: spec.scope ?? SCOPE.nowhere, type: spec.type ?? 0 }),
        ...attributesOf(spec),
      ],
    });
    return true;
  } catch (thrown) {
    if (isKernelError(thrown, 'ESRCH', 'ENODEV', 'ENOENT')) return false;
    throw thrown;
  }
}

export function listRoutes(netlink: Netlink, filter: RouteFilter): readonly Route[] {
  const body = [
    head({ family: filter.family, bits: 0, scope: 0, type: 0, protocol: filter.protocol ?? 0 }),
    ...(filter.table === undefined ? [] : [u32(RTA.TABLE, filter.table)]),
    ...(filter.ifindex === undefined ? [] : [u32(RTA.OIF, filter.ifindex)]),
  ];
  try {
    return netlink.dump({ what: 'list routes', type: RTM_GETROUTE, body }).map(readRoute);
  } catch (thrown) {
    // A table comes into being with its first route.
    if (isKernelError(thrown, 'ENOENT') && filter.table !== undefined) return [];
    throw thrown;
  }
}

/** The way that a packet of this namespace to an address takes; undefined where there is none. */
export function routeTo(netlink: Netlink, address: string): Route | undefined {
  const family = familyOf(address);
  const body = [head({ family, bits: widthOf(family), scope: 0, type: 0 }), ip(RTA.DST, address)];
  try {
    return readRoute(netlink.get({ what: `find the way to ${address}`, type: RTM_GETROUTE, body }));
  } catch (thrown) {
    if (isKernelError(thrown, 'ENETUNREACH', 'EHOSTUNREACH')) return undefined;
    throw thrown;
  }
}

function write(netlink: Netlink, spec: RouteSpec, flags: number): void {
  const { family, bits } = destination(spec.to);
  const type = spec.type ?? ROUTE_TYPE.unicast;
  // As ip-route(8) has it: what is local is of the host, what has no gateway ends on the link.
  const nearest = type === ROUTE_TYPE.local ? SCOPE.host : SCOPE.link;
  const far = family !== AF_INET || spec.via !== undefined || type === ROUTE_TYPE.unreachable;
  netlink.change({
    what: `write the route to ${spec.to}`,
    type: RTM_NEWROUTE,
    flags,
    body: [
      head({
        ...spec,
        ...{ family, bits, type },
        scope: spec.scope ?? (far ? SCOPE.universe : nearest),
        protocol: spec.protocol ?? ROUTE_PROTOCOL.boot,
      }),
      ...attributesOf(spec),
    ],
  });
}

function attributesOf(spec: RouteSpec): readonly Buffer[] {
  const { bits, address } = destination(spec.to);
  return [
    ...(bits === 0 ? [] : [attribute(RTA.DST, address)]),
    u32(RTA.TABLE, spec.table ?? TABLE.main),
    ...(spec.ifindex === undefined ? [] : [u32(RTA.OIF, spec.ifindex)]),
    ...(spec.via === undefined ? [] : [ip(RTA.GATEWAY, spec.via)]),
    ...(spec.src === undefined ? [] : [ip(RTA.PREFSRC, spec.src)]),
  ];
}

function destination(to: string): { family: Family; bits: number; address: Buffer } {
  const [host = '', bits = ''] = to.split('/');
  return { family: familyOf(host), bits: Number(bits), address: ipBytes(host) };
}

/** `struct rtmsg` */
function head(route: {
  readonly family: Family;
  readonly bits: number;
  readonly scope: number;
  readonly type: number;
  readonly table?: number;
  readonly protocol?: number;
  readonly onlink?: boolean;
}): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES);
  const table = route.table ?? 0;
  bytes.set([route.family, route.bits, 0, 0, table > tableByteMax ? 0 : table]);
  bytes.set([route.protocol ?? 0, route.scope, route.type], 5);
  bytes.writeUInt32LE(route.onlink === true ? RTNH_F_ONLINK : 0, 8);
  return bytes;
}

function readRoute(body: Buffer): Route {
  const all = readAttributes(body, HEAD_BYTES);
  const any = body.readUInt8(0) === AF_INET ? '0.0.0.0' : '::';
  return {
    to: `${readIp(all.get(RTA.DST)) ?? any}/${body.readUInt8(1)}`,
    table: readU32(all.get(RTA.TABLE)) ?? body.readUInt8(4),
    protocol: body.readUInt8(5),
    scope: body.readUInt8(6),
    type: body.readUInt8(7),
    ifindex: readU32(all.get(RTA.OIF)),
    via: readIp(all.get(RTA.GATEWAY)),
    src: readIp(all.get(RTA.PREFSRC)),
    onlink: (body.readUInt32LE(8) & RTNH_F_ONLINK) !== 0,
  };
}
