import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { readIfThere } from '../../common/atomic-file.ts';
import { isJsonObject } from '../../common/json.ts';
import { cgroup2Mounts, effectiveCapabilities, type LinuxFacts, linuxProblems } from '../../common/linux.ts';
import { textAt } from '../kube/fields.ts';
import { overlaps } from './cidr.ts';
import type { Host } from './host.ts';
import { CLUSTER_RANGES } from './layout.ts';

/** What the machine offers, read once. */
export interface MachineFacts extends LinuxFacts {
  readonly missingPrograms: readonly string[];
  readonly libbpf: boolean;
  /** Where cgroup v2 is mounted. */
  readonly cgroupRoot: string | undefined;
  /** The CNI plugin for this processor, or undefined. */
  readonly plugin: string | undefined;
  /** Whether this copy of Heddle has the program that runs on each node. */
  readonly agent: boolean;
  /** Destinations of the machine's routes. */
  readonly routes: readonly string[];
  readonly ipv6: boolean;
}

const PROGRAMS = ['ip', 'nft', 'nsenter', 'unshare', 'setpriv', 'mount', 'umount', 'find'];

/** Why the eBPF pod network can't run here; empty where it can. Each names a remedy where there is one. */
export function ebpfObstacles(facts: MachineFacts): string[] {
  const found = linuxProblems(facts);
  if (facts.platform !== 'linux') return found;
  if (facts.missingPrograms.length > 0)
    found.push(`${facts.missingPrograms.join(', ')} must be installed (iproute2, nftables, util-linux)`);
  if (!facts.libbpf) found.push('libbpf.so.1 must be installed');
  if (facts.cgroupRoot === undefined) found.push('no cgroup v2 file system is mounted');
  if (facts.plugin === undefined) found.push(`there is no CNI plugin for ${process.arch}`);
  if (!facts.agent) found.push('this version of Heddle has no node agent yet');
  const ranges = [...Object.values(CLUSTER_RANGES.pods), ...Object.values(CLUSTER_RANGES.services)];
  const taken = facts.routes.find((route) => ranges.some((range) => overlaps(route, range)));
  if (taken !== undefined)
    found.push(
      `this machine has a route to ${taken}, where pods and Services would be: it may be another mesh's ("ip route show" names its device), of which one at a time can have a pod network`,
    );
  return found;
}

export interface FactsInput {
  readonly host: Host;
  /** PATH to look for programs on. */
  readonly path: string;
  readonly release: string;
  /** Heddle's own root folder. */
  readonly root: string;
}

export async function machineFacts({ host, path, release, root }: FactsInput): Promise<MachineFacts> {
  const uid = process.getuid?.() ?? -1;
  const folders = programFolders(path, uid);
  const plugin = join(root, 'cni/plugin/bin', process.arch, 'heddle-cni');
  return {
    platform: process.platform,
    uid,
    capabilities: effectiveCapabilities(textOf('/proc/self/status')),
    kernel: release,
    missingPrograms: PROGRAMS.filter((name) => !folders.some((folder) => mayRun(join(folder, name)))),
    libbpf: hasLibrary('libbpf.so.1'),
    cgroupRoot: cgroup2Mounts(textOf('/proc/mounts'))[0],
    plugin: mayRun(plugin) ? plugin : undefined,
    agent: existsSync(join(root, 'cni/agent/main.ts')),
    routes: await routes(host),
    ipv6: existsSync('/proc/net/if_inet6'),
  };
}

/** Where the machine's programs are: an ordinary user's PATH often lacks those for root, who would have them. */
export function programFolders(path: string, uid: number): readonly string[] {
  const folders = path.split(delimiter);
  return uid === 0 ? folders : [...folders, '/usr/local/sbin', '/usr/sbin', '/sbin'];
}

/** Destinations of all routes but the default ones, of both families. */
export async function routes(host: Host): Promise<readonly string[]> {
  const found: string[] = [];
  for (const family of ['-4', '-6']) {
    const { code, out } = await host.run('ip', ['-json', family, 'route', 'show']);
    if (code !== 0 || out.trim() === '') continue;
    const parsed: unknown = JSON.parse(out);
    for (const route of Array.isArray(parsed) ? parsed : []) {
      const destination = isJsonObject(route) ? textAt(route, 'dst') : undefined;
      if (destination !== undefined && destination !== 'default') found.push(destination);
    }
  }
  return found;
}

function textOf(path: string): string {
  return readIfThere(path) ?? '';
}

function mayRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** In the folders that the dynamic linker looks in, with those of multiarch systems. */
function hasLibrary(name: string): boolean {
  const folders = ['/lib', '/usr/lib', '/lib64', '/usr/lib64', '/usr/local/lib'];
  return folders.some((folder) => {
    if (!existsSync(folder)) return false;
    if (existsSync(join(folder, name))) return true;
    return readdirSync(folder).some((below) => existsSync(join(folder, below, name)));
  });
}
