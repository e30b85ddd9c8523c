import { isIPv4 } from 'node:net';
import { canonicalAddress } from '../../common/address.ts';
import { SCOPE } from '../kernel/netlink/addresses.ts';
import { AF_INET, AF_INET6, type Family } from '../kernel/netlink/attributes.ts';
import { ROUTE_PROTOCOL, ROUTE_TYPE, type RouteSpec, TABLE } from '../kernel/netlink/routes.ts';
import type { Rule } from '../kernel/netlink/rules.ts';
import { HEDDLE_ROUTE_PROTOCOL, hostPrefix, type Sysctls } from './wanted.ts';

/** Accepted sockets are bound to it by name. */
export const CAPTURED_DEVICE = 'eth0';
/** Read instead of `local` by what isn't marked: the pod's own addresses and loopback, and no default. */
export const CAPTURE_TABLE = 101;
/** What `connect` of an app that is captured puts on its sockets. */
const CAPTURE_MARK = 0x1;

/** A route or a rule without what depends on the device. */
export interface CaptureFamily {
  readonly family: Family;
  /** By `lo`: into the capture's own table. */
  readonly routes: readonly RouteSpec[];
  /** By `lo`, in table `local`: every address is this pod's, for what is marked. */
  readonly anywhere: RouteSpec;
  readonly rules: readonly Rule[];
  /** Reads table `local` for everything; taken away. */
  readonly localRule: Rule;
  /** By the captured device, in table `local`; taken away. */
  readonly own: readonly RouteSpec[];
}

/**
 * Accepted sockets take over their SYN's mark, and so does the refusal of a port where nobody listens, or the sidecar, which dials
 * from its client's address, never hears of it; the sidecar binds a client's IPv6 address.
 */
const CAPTURE_SYSCTLS: Sysctls = {
  'net/ipv4/tcp_fwmark_accept': '1',
  'net/ipv4/fwmark_reflect': '1',
  'net/ipv6/fwmark_reflect': '1',
  'net/ipv6/ip_nonlocal_bind': '1',
};

/** cni/README.md, "Capture: what a pod's namespace needs"; a family that the pod hasn't is left out. */
export function captureFamilies(ips: readonly string[]): readonly CaptureFamily[] {
  const all = ips.map((ip) => canonicalAddress(ip) ?? ip);
  const [four, six] = [all.filter(isIPv4), all.filter((ip) => !isIPv4(ip))];
  return [...(four.length === 0 ? [] : [familyOf4(four)]), ...(six.length === 0 ? [] : [familyOf6(six)])];
}

/** The switches of the families that the pod has. */
export function captureSysctls(ips: readonly string[]): Sysctls {
  const six = ips.some((ip) => !isIPv4(ip));
  return Object.fromEntries(
    Object.entries(CAPTURE_SYSCTLS).filter(([name]) => six || !name.startsWith('net/ipv6/')),
  );
}

function familyOf4(ips: readonly string[]): CaptureFamily {
  return {
    family: AF_INET,
    routes: [
      ...ips.map((ip) => ({ ...inCapture(hostPrefix(ip)), src: ip })),
      { ...inCapture('127.0.0.0/8'), src: '127.0.0.1' },
    ],
    anywhere: anywhere('0.0.0.0/0', ips),
    rules: rulesOf(AF_INET, []),
    localRule: localRule(AF_INET),
    own: ips.map((ip) => ({ ...own(ip), src: ip, scope: SCOPE.host })),
  };
}

function familyOf6(ips: readonly string[]): CaptureFamily {
  return {
    family: AF_INET6,
    routes: [...ips.map((ip) => inCapture(hostPrefix(ip))), inCapture('::1/128')],
    anywhere: anywhere('::/0', ips),
    // Neighbour discovery reads table `local`.
    rules: rulesOf(AF_INET6, ['fe80::/10', 'ff00::/8']),
    localRule: localRule(AF_INET6),
    own: ips.map(own),
  };
}

function inCapture(to: string): RouteSpec {
  return { to, table: CAPTURE_TABLE, type: ROUTE_TYPE.local, protocol: HEDDLE_ROUTE_PROTOCOL };
}

function anywhere(to: string, ips: readonly string[]): RouteSpec {
  const src = ips[0] === undefined ? {} : { src: ips[0] };
  return { to, table: TABLE.local, type: ROUTE_TYPE.local, protocol: HEDDLE_ROUTE_PROTOCOL, ...src };
}

/** As the kernel itself makes it when the device gets the address. */
function own(ip: string): RouteSpec {
  return { to: hostPrefix(ip), table: TABLE.local, type: ROUTE_TYPE.local, protocol: ROUTE_PROTOCOL.kernel };
}

function rulesOf(family: Family, discovery: readonly string[]): readonly Rule[] {
  const common = { family, protocol: HEDDLE_ROUTE_PROTOCOL };
  return [
    { ...common, priority: 1, table: TABLE.local, mark: CAPTURE_MARK, mask: CAPTURE_MARK },
    { ...common, priority: 2, table: CAPTURE_TABLE },
    ...discovery.map((to, index) => ({ ...common, priority: 3 + index, table: TABLE.local, to })),
  ];
}

function localRule(family: Family): Rule {
  return { family, priority: 0, table: TABLE.local, protocol: ROUTE_PROTOCOL.kernel };
}
