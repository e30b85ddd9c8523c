import { canonicalAddress } from '../../common/address.ts';
import { HeddleError } from '../../common/errors.ts';
import { type Fd, openFd } from '../kernel/fd.ts';
import { listAddresses } from '../kernel/netlink/addresses.ts';
import { AF_INET, familyOf } from '../kernel/netlink/attributes.ts';
import { findLink, type Link, linkOf } from '../kernel/netlink/links.ts';
import {
  addRoute,
  deleteRoute,
  listRoutes,
  type RouteSpec,
  replaceRoute,
  TABLE,
} from '../kernel/netlink/routes.ts';
import { addRule, deleteRule, listRules, type Rule } from '../kernel/netlink/rules.ts';
import { Netlink } from '../kernel/netlink/socket.ts';
import {
  CAPTURE_TABLE,
  CAPTURED_DEVICE,
  type CaptureFamily,
  captureFamilies,
  captureSysctls,
} from './capture-wanted.ts';
import { applySysctls, hostPrefix, type Sysctls, sameRoute, sysctlProblems } from './wanted.ts';

/** The kernel puts an IPv6 address's own route into table `local` some time after it said that the address is there. */
export const localRouteWaitMsMax = 2_000;
const localRoutePollMs = 1;

/**
 * Makes a pod's namespace lead the app's TCP to the sidecar's listeners, or mends what is there of it; see cni/README.md.
 * What it began in a namespace without capture is undone when it fails. Throws `capture-device` where the pod has no `eth0`,
 * `capture-address` where that lacks an address.
 */
export function addCapture(netns: string, ips: readonly string[]): void {
  using pod = new Pod(netns);
  const device = requireDevice(pod.netlink, netns, ips);
  const families = captureFamilies(ips);
  const isNew = families.every((one) => !isCaptured(pod.netlink, one));
  try {
    applySysctls(pod.fd.number, captureSysctls(ips));
    for (const family of families) addFamily(pod.netlink, family, device.ifindex);
  } catch (thrown) {
    if (isNew) undo(pod, ips);
    throw thrown;
  }
}

/** A sentence for each thing that isn't as `addCapture` makes it; none where all is well. */
export function captureProblems(netns: string, ips: readonly string[]): readonly string[] {
  using pod = new Pod(netns);
  const device = findLink(pod.netlink, CAPTURED_DEVICE);
  if (device === undefined) return [`there is no device ${CAPTURED_DEVICE}`];
  return [
    ...sysctlProblems(pod.fd.number, captureSysctls(ips)),
    ...captureFamilies(ips).flatMap((family) => familyProblems(pod.netlink, family, device.ifindex)),
  ];
}

/**
 * Puts the namespace back to what the kernel makes by itself, in an order that never leaves the pod without its local
 * routes. Does nothing where capture isn't there. Both switches go off, also where something else had put them on. The
 * route to an IPv6 address comes back with the metric 1024: the kernel keeps 0 for its own.
 */
export function removeCapture(netns: string, ips: readonly string[]): void {
  using pod = new Pod(netns);
  undo(pod, ips);
}

function undo(pod: Pod, ips: readonly string[]): void {
  const device = findLink(pod.netlink, CAPTURED_DEVICE);
  for (const family of captureFamilies(ips)) removeFamily(pod.netlink, family, device);
  const off: Sysctls = Object.fromEntries(Object.keys(captureSysctls(ips)).map((name) => [name, '0']));
  applySysctls(pod.fd.number, off);
}

function requireDevice(netlink: Netlink, netns: string, ips: readonly string[]): Link {
  const device = findLink(netlink, CAPTURED_DEVICE);
  if (device === undefined)
    throw new HeddleError(
      'capture-device',
      `${netns} has no device ${CAPTURED_DEVICE}: the CNI plugin before must give a meshed pod's device that name`,
    );
  const has = new Set(listAddresses(netlink, device.ifindex).map(({ address }) => address));
  const missing = ips.filter((ip) => !has.has(canonicalAddress(ip) ?? ip));
  if (missing.length > 0)
    throw new HeddleError(
      'capture-address',
      `${CAPTURED_DEVICE} of ${netns} lacks ${missing.join(', ')}: it needs its addresses before it is captured`,
    );
  return device;
}

class Pod implements Disposable {
  readonly fd: Fd;
  readonly netlink: Netlink;

  constructor(netns: string) {
    using stack = new DisposableStack();
    this.fd = stack.use(openFd(netns));
    this.netlink = stack.use(new Netlink(this.fd.number));
    stack.move();
  }

  [Symbol.dispose](): void {
    this.netlink[Symbol.dispose]();
    this.fd[Symbol.dispose]();
  }
}

function addFamily(netlink: Netlink, wanted: CaptureFamily, ifindex: number): void {
  const lo = linkOf(netlink, 'lo').ifindex;
  const { family, anywhere, own } = wanted;
  const isNew = !isCaptured(netlink, wanted);
  for (const route of wanted.routes) replaceRoute(netlink, { ...route, ifindex: lo });
  for (const rule of wanted.rules) putRule(netlink, rule);
  deleteRule(netlink, unowned(wanted.localRule));
  const local = listRoutes(netlink, { family, ifindex: lo });
  if (!local.some((one) => sameRoute(one, anywhere))) {
    // A source must be an address that table `local` knows: in a namespace that lost this route, nothing is.
    if (!isNew) for (const route of own) replaceRoute(netlink, { ...route, ifindex });
    replaceRoute(netlink, { ...anywhere, ifindex: lo });
  }
  for (const route of own) {
    const gone = byWhomever(route, ifindex);
    if (isNew) awaitDeleted(() => deleteRoute(netlink, gone), route.to);
    else deleteRoute(netlink, gone);
  }
}

function awaitDeleted(deleted: () => boolean, to: string): void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; waitedMs < localRouteWaitMsMax; waitedMs += localRoutePollMs) {
    if (deleted()) return;
    Atomics.wait(cell, 0, 0, localRoutePollMs);
  }
  throw new HeddleError(
    'capture-address',
    `the kernel made no local route to ${to} by ${CAPTURED_DEVICE} in ${localRouteWaitMsMax} ms: see that the device is up`,
  );
}

function putRule(netlink: Netlink, rule: Rule): void {
  if (listRules(netlink, rule.family).some((one) => sameRule(one, rule))) return;
  addRule(netlink, rule);
}

function removeFamily(netlink: Netlink, wanted: CaptureFamily, device: Link | undefined): void {
  const lo = linkOf(netlink, 'lo').ifindex;
  if (device?.up === true) for (const route of wanted.own) restoreOwn(netlink, route, device.ifindex);
  putRule(netlink, wanted.localRule);
  for (const rule of wanted.rules) deleteRule(netlink, unowned(rule));
  deleteRoute(netlink, byWhomever(wanted.anywhere, lo));
  for (const route of wanted.routes) deleteRoute(netlink, byWhomever(route, lo));
}

/** An address that the device lost meanwhile has no route to get back. */
function restoreOwn(netlink: Netlink, route: RouteSpec, ifindex: number): void {
  const family = familyOf(route.to.split('/')[0] ?? '');
  const has = listAddresses(netlink, ifindex).some(({ address }) => hostPrefix(address) === route.to);
  const stands = listRoutes(netlink, { family, ifindex, table: TABLE.local }).some(
    ({ to }) => to === route.to,
  );
  if (has && !stands) addRoute(netlink, { ...route, ifindex });
}

/** Whether anything of it stands that says that the kernel's own local routes may be gone already. */
function isCaptured(netlink: Netlink, { family, rules, localRule }: CaptureFamily): boolean {
  const found = listRules(netlink, family);
  const stands = (rule: Rule) => found.some((one) => sameRule(one, rule));
  return !stands(localRule) || rules.some(stands);
}

function familyProblems(netlink: Netlink, wanted: CaptureFamily, ifindex: number): readonly string[] {
  const { family } = wanted;
  const name = family === AF_INET ? 'IPv4' : 'IPv6';
  const lo = linkOf(netlink, 'lo').ifindex;
  const byLo = listRoutes(netlink, { family, ifindex: lo });
  const byDevice = listRoutes(netlink, { family, ifindex });
  const rules = listRules(netlink, family);
  const missing = [...wanted.routes, wanted.anywhere].filter(
    (route) => !byLo.some((one) => sameRoute(one, route)),
  );
  return [
    ...missing.map(
      ({ to, table }) =>
        `the local route to ${to} is missing in table ${table === CAPTURE_TABLE ? table : 'local'}`,
    ),
    ...wanted.rules
      .filter((rule) => !rules.some((one) => sameRule(one, rule)))
      .map(({ priority }) => `the ${name} rule of priority ${priority} is missing`),
    ...(rules.some((one) => sameRule(one, wanted.localRule))
      ? [`the ${name} rule of priority 0 stands, which reads table local before capture`]
      : []),
    ...wanted.own
      .filter(({ to }) => byDevice.some((one) => one.to === to && one.table === TABLE.local))
      .map(({ to }) => `table local leads to ${to} by ${CAPTURED_DEVICE} instead of lo`),
  ];
}

/** A route as it is deleted. */
function byWhomever({ to, table, type }: RouteSpec, ifindex: number): RouteSpec {
  return { to, ifindex, ...(table === undefined ? {} : { table }), ...(type === undefined ? {} : { type }) };
}

/** A rule as it is deleted. */
function unowned({ protocol: _, ...rule }: Rule): Rule {
  return rule;
}

function sameRule(one: Rule, other: Rule): boolean {
  return (
    one.priority === other.priority &&
    one.table === other.table &&
    one.mark === other.mark &&
    one.mask === other.mask &&
    one.to === other.to
  );
}
