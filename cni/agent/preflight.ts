import { spawnSync } from 'node:child_process';
import { statfsSync } from 'node:fs';
import { release } from 'node:os';
import { readIfThere } from '../../common/atomic-file.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { effectiveCapabilities, type LinuxFacts, linuxProblems } from '../../common/linux.ts';
import { openObject } from '../kernel/libbpf.ts';
import { libbpf } from '../kernel/native.ts';
import { bpfObject } from './beside.ts';
import type { AgentOptions } from './options.ts';

type Wanted = Pick<AgentOptions, 'cgroup' | 'mode' | 'pins'>;

/** What the node offers the agent, read once. */
export interface NodeOffers extends LinuxFacts {
  /** What stands where `--cgroup` says. */
  readonly cgroup: 'cgroup2' | 'another file system' | 'nothing';
  /** Whether the kernel knows the file system that pins are kept on. */
  readonly bpffs: boolean;
  /** Why libbpf can't be used; undefined: it can. */
  readonly libbpf: string | undefined;
  /** Why nftables can't be used, which give pods the address of their node; undefined: they can. */
  readonly nftables: string | undefined;
  /** Objects of eBPF programs that the kernel doesn't take, with its reason. Not looked at without root, its kernel and libbpf. */
  readonly refused: readonly { readonly object: string; readonly reason: string }[];
}

/** CGROUP2_SUPER_MAGIC (linux/magic.h). */
const CGROUP2_FS = 0x63677270;
const OBJECTS = ['pod', 'socket', 'steer'].map(bpfObject);
/** Their memory is taken whole when they are made, which a try can do without. */
const PREALLOCATED_MAPS = [
  'connection_map',
  'fragment_map',
  'affinity_map',
  'translated_map',
  'external_map',
];
const triedEntries = 64;
const nftTimeoutMs = 10_000;

/** Throws `network-preflight` where the pod network can't run on this node; the message has every problem, with its remedy. */
export function requireNetwork(wanted: Wanted): void {
  const problems = networkProblems(gatherOffers(wanted), wanted);
  if (problems.length === 0) return;
  const list = problems.map((problem) => `\n  - ${problem}`).join('');
  throw new HeddleError('network-preflight', `the pod network can't run on this node:${list}`);
}

/** What of it stands in the way; empty where nothing does. */
export function networkProblems(offers: NodeOffers, { cgroup, pins }: Wanted): string[] {
  const found = linuxProblems(offers);
  if (offers.platform !== 'linux') return found;
  if (offers.cgroup === 'nothing')
    found.push(`there is no folder ${cgroup}: make it, or give another as --cgroup`);
  if (offers.cgroup === 'another file system')
    found.push(
      `${cgroup} is no folder of cgroup v2: give --cgroup one above all containers, below where cgroup2 is mounted ` +
        "(systemd.unified_cgroup_hierarchy=1 on the kernel's command line mounts it at /sys/fs/cgroup)",
    );
  if (!offers.bpffs) found.push(`no bpffs for ${pins}: the kernel needs CONFIG_BPF_SYSCALL`);
  if (offers.libbpf !== undefined) found.push(offers.libbpf);
  if (offers.nftables !== undefined) found.push(offers.nftables);
  for (const { object, reason } of offers.refused)
    found.push(`this kernel (${offers.kernel}) doesn't take the programs of ${object}: ${reason}`);
  return found;
}

/** Looks at the node. What it tries, it undoes. */
export function gatherOffers({ cgroup, mode }: Wanted, objects: readonly string[] = OBJECTS): NodeOffers {
  const facts: LinuxFacts = {
    platform: process.platform,
    uid: process.geteuid?.() ?? -1,
    capabilities: effectiveCapabilities(readIfThere('/proc/self/status') ?? ''),
    kernel: release(),
  };
  const able = linuxProblems(facts).length === 0;
  const missing = libbpfProblem();
  return {
    ...facts,
    cgroup: kindOf(cgroup),
    bpffs: /^nodev\s+bpf$/m.test(readIfThere('/proc/filesystems') ?? ''),
    libbpf: missing,
    nftables: able && mode !== 'capture' ? nftablesProblem() : undefined,
    refused: able && missing === undefined ? objects.flatMap(refusal) : [],
  };
}

/** The kernel says best itself what it has: by its verifier, which looks at every helper, map and hook of an object. */
function refusal(object: string): NodeOffers['refused'] {
  try {
    const open = openObject(object);
    const declared = new Set(open.mapNames());
    for (const map of PREALLOCATED_MAPS) if (declared.has(map)) open.setMaxEntries(map, triedEntries);
    using _ = open.load();
    return [];
  } catch (thrown) {
    return [{ object, reason: messageOf(thrown) }];
  }
}

/** By reading this namespace's tables. */
function nftablesProblem(): string | undefined {
  const { error, status, stderr } = spawnSync('nft', ['list', 'tables'], {
    ...{ encoding: 'utf8', timeout: nftTimeoutMs, stdio: ['ignore', 'ignore', 'pipe'] },
  });
  if (error !== undefined && 'code' in error && error.code === 'ENOENT')
    return 'the program nft must be installed (package nftables): it gives pods the address of their node towards the world';
  if (status === 0) return undefined;
  return `nft can't list tables (${error?.message ?? stderr.trim().split('\n')[0]}): the kernel needs CONFIG_NF_TABLES`;
}

function libbpfProblem(): string | undefined {
  try {
    libbpf();
    return undefined;
  } catch (thrown) {
    return messageOf(thrown);
  }
}

function kindOf(folder: string): NodeOffers['cgroup'] {
  try {
    return statfsSync(folder).type === CGROUP2_FS ? 'cgroup2' : 'another file system';
  } catch (thrown) {
    if (
      thrown instanceof Error &&
      'code' in thrown &&
      (thrown.code === 'ENOENT' || thrown.code === 'ENOTDIR')
    )
      return 'nothing';
    throw thrown;
  }
}
