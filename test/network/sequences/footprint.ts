import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openPinnedMap } from '../../../cni/kernel/libbpf.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import type { AgentStatus } from '../../../common/pod-network.ts';
import type { TestNode } from '../../support/network/cluster.ts';
import { ip, runIn } from '../../support/network/commands.ts';
import { ask } from '../cluster/callers.ts';

/** Everything of a node that pods could leave something in. */
export interface Footprint {
  readonly devices: readonly string[];
  readonly routes: readonly string[];
  readonly rules: readonly string[];
  /** Those that somebody set; what the kernel learns goes by itself. */
  readonly neighbours: readonly string[];
  readonly firewall: string;
  readonly namespaces: readonly string[];
  readonly pins: readonly string[];
  readonly stateFiles: readonly string[];
  /** Entries by map, but for those that forget the oldest by themselves. */
  readonly entries: Readonly<Record<string, number>>;
  readonly leases: readonly number[];
  readonly attached: number;
  readonly descriptors: number;
}

export async function footprintOf(node: TestNode, pid: number): Promise<Footprint> {
  const { netns, pins, state } = node;
  const lines = (...words: readonly string[]) =>
    runIn(netns, 'ip', ...words)
      .split('\n')
      .map((line) => line.trim())
      // The underlay's own link-local address is the kernel's affair, which checks it for a second or two.
      .filter((line) => line !== '' && !/^(local|anycast) fe80::\S* dev eth0/.test(line))
      .toSorted();
  const { blocks, pods } = await ask<AgentStatus>(node, '/status');
  return {
    devices: readDevices(netns),
    routes: [...lines('route', 'show', 'table', 'all'), ...lines('-6', 'route', 'show', 'table', 'all')],
    rules: [...lines('rule'), ...lines('-6', 'rule')],
    neighbours: lines('neigh', 'show', 'nud', 'permanent'),
    firewall: runIn(netns, 'nft', 'list', 'ruleset'),
    namespaces: ip('netns', 'list')
      .split('\n')
      .map((line) => line.split(' ')[0] ?? '')
      .filter((name) => name.startsWith(`hdlt-c${process.pid}-`)),
    // The folder of all pods' links comes with the first pod.
    pins: filesBelow(pins).filter((path) => path !== 'links/pods'),
    stateFiles: filesBelow(state),
    entries: entriesOf(pins),
    leases: blocks.map(({ given }) => given),
    attached: pods.attached,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** Resident memory of a process. */
export function residentBytes(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

function readDevices(netns: string): readonly string[] {
  const links = JSON.parse(runIn(netns, 'ip', '-j', 'link')) as readonly { readonly ifname: string }[];
  return links.map(({ ifname }) => ifname);
}

function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).toSorted();
}

/** Kinds of `enum bpf_map_type` that no agent writes: per-CPU counters, and the kernel's own forgetting. */
const UNCOUNTED: readonly number[] = [TABLES.counter.type, TABLES.connection.type, TABLES.sidecarSocket.type];

function entriesOf(pins: string): Readonly<Record<string, number>> {
  const counts = Object.values(TABLES)
    .filter(({ type }) => !UNCOUNTED.includes(type))
    .map(({ name }): [string, number] => {
      using map = openPinnedMap(join(pins, 'maps', name));
      return [name, map.keys().length];
    });
  return Object.fromEntries(counts);
}
