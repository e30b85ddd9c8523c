import { readdirSync } from 'node:fs';
import { inNetns, type Netns } from '../kernel/netns.ts';
import { readSysctl, writeSysctl } from '../kernel/sysctl.ts';
import type { NodeMemory, Remembered } from './node-memory.ts';
import { type Sysctls, sysctlProblems } from './wanted.ts';

const FORWARD4 = 'net/ipv4/ip_forward';
const FORWARD6 = 'net/ipv6/conf/all/forwarding';
const STRICT_ALL = 'net/ipv4/conf/all/rp_filter';
const STRICT = '1';
/** Router advertisements are taken although the node forwards. */
const ACCEPT_RA_ALWAYS = '2';
/** Devices that Heddle itself makes, and names that are no device's own. */
const NOT_OF_THE_NODE = /^(all|default|lo|hdl.*|heddle_.*)$/;

/**
 * The node forwards, in both families, and hands connections over between listeners of one port. Where forwarding was off,
 * devices that took router advertisements go on doing so. A reverse path filter for all devices would drop what comes from
 * other nodes by the tunnel: each device of the node gets it for itself instead.
 */
export function applyNodeSysctls(netns: Netns, memory: NodeMemory): void {
  inNetns(netns, () => {
    const wanted = wantedSysctls(memory);
    memory.addSysctls({ ...sideEffects(wanted, memory), ...remembered(wanted) });
    for (const [name, value] of Object.entries(wanted)) writeSysctl(name, value);
  });
}

export function nodeSysctlProblems(netns: Netns, memory: NodeMemory): readonly string[] {
  return sysctlProblems(
    netns,
    inNetns(netns, () => wantedSysctls(memory)),
  );
}

/** A value that isn't the one that Heddle wrote is somebody else's by now, and stays. */
export function restoreNodeSysctls(netns: Netns, memory: NodeMemory): void {
  inNetns(netns, () => {
    const targets = new Map<string, string>();
    for (const [name, { before, ours }] of Object.entries(memory.sysctls)) {
      const now = readSysctl(name);
      if (now !== undefined) targets.set(name, now === ours ? before : now);
    }
    // Switches for all devices set each device's own: they come first.
    const isSwitch = (name: string) => name === FORWARD4 || name === FORWARD6;
    const ordered = [...targets].toSorted(
      ([one], [other]) => Number(isSwitch(other)) - Number(isSwitch(one)),
    );
    for (const [name, value] of ordered) writeSysctl(name, value);
  });
}

/** In the order of writing: with forwarding on, the kernel forgets the routes of advertisements that it no longer takes. */
function wantedSysctls(memory: NodeMemory): Sysctls {
  const six = readSysctl(FORWARD6) !== undefined;
  return {
    ...(six ? advertisements(memory) : {}),
    ...(six ? { [FORWARD6]: '1' } : {}),
    [FORWARD4]: '1',
    'net/ipv4/tcp_migrate_req': '1',
    ...reversePath(memory),
  };
}

function advertisements(memory: NodeMemory): Sysctls {
  const wanted: Record<string, string> = {};
  for (const device of devices(6)) {
    const name = `net/ipv6/conf/${device}/accept_ra`;
    const stops = readSysctl(name) === '1' && readSysctl(`net/ipv6/conf/${device}/forwarding`) === '0';
    if (stops || memory.sysctls[name] !== undefined) wanted[name] = ACCEPT_RA_ALWAYS;
  }
  return wanted;
}

function reversePath(memory: NodeMemory): Sysctls {
  if (readSysctl(STRICT_ALL) !== STRICT && memory.sysctls[STRICT_ALL] === undefined) return {};
  const wanted: Record<string, string> = {};
  for (const device of devices(4)) {
    const name = `net/ipv4/conf/${device}/rp_filter`;
    if (readSysctl(name) === '0' || memory.sysctls[name] !== undefined) wanted[name] = STRICT;
  }
  return { ...wanted, [STRICT_ALL]: '0' };
}

function remembered(wanted: Sysctls): Record<string, Remembered> {
  return Object.fromEntries(
    Object.entries(wanted).map(([name, ours]) => [name, { before: readSysctl(name) ?? ours, ours }]),
  );
}

/** What the kernel sets along with a switch that is off now, see ip-sysctl.rst: `ip_forward`, `conf/all/forwarding`. */
function sideEffects(wanted: Sysctls, memory: NodeMemory): Record<string, Remembered> {
  const found: Record<string, Remembered> = {};
  const note = (name: string, ours: string) => {
    const before = readSysctl(name);
    if (before !== undefined) found[name] = { before, ours };
  };
  for (const [name, family] of [
    [FORWARD4, 4],
    [FORWARD6, 6],
  ] as const) {
    // Later on, what else the switch had set isn't what the node was like before.
    const isFirst = memory.sysctls[name] === undefined;
    if (!isFirst || wanted[name] === undefined || readSysctl(name) === wanted[name]) continue;
    for (const device of ['default', 'lo', ...devices(family)])
      note(`net/ipv${family}/conf/${device}/forwarding`, '1');
    if (family === 4) note('net/ipv4/conf/all/accept_redirects', '0');
  }
  return found;
}

function devices(family: 4 | 6): readonly string[] {
  return readdirSync(`/proc/sys/net/ipv${family}/conf`).filter((name) => !NOT_OF_THE_NODE.test(name));
}
