import { existsSync } from 'node:fs';
import os from 'node:os';
import { readIfThere } from '../../../common/atomic-file.ts';
import { cgroup2Mounts, effectiveCapabilities, linuxProblems } from '../../../common/linux.ts';
import type { BenchOptions } from '../options.ts';
import { seats } from '../seats.ts';
import type { PodCase } from './cases.ts';
import { type PodReport, podReport } from './report.ts';
import { runPodRounds } from './rounds.ts';
import { Stage } from './stage.ts';

/** Programs that a pod case runs. */
export const POD_PROGRAMS = [
  'wrk',
  'nginx',
  'taskset',
  'curl',
  'python3',
  'ip',
  'iptables',
  'libbpf',
] as const;

/** Why pods can't be measured on this machine; empty where they can. */
export function podObstacles(): readonly string[] {
  const found = linuxProblems({
    ...{ platform: process.platform, uid: process.geteuid?.() ?? -1, kernel: os.release() },
    capabilities: effectiveCapabilities(readIfThere('/proc/self/status') ?? ''),
  });
  if (cgroup2Mounts(readIfThere('/proc/self/mounts') ?? '').length === 0)
    found.push('no cgroup v2 file system is mounted');
  if (!existsSync('/proc/sys/net/bridge/bridge-nf-call-iptables'))
    found.push('bridges do not call iptables here, as kubeadm asks for: modprobe br_netfilter');
  return found;
}

/** Everything of a case runs on one processor: what a request costs there is what limits their number. */
export async function runPodCase(one: PodCase, { rounds, seconds }: BenchOptions): Promise<PodReport> {
  const say = (line: string) => void process.stderr.write(`${one.name}: ${line}\n`);
  const seat = seats().proxy ?? 0;
  const stage = new Stage(seat);
  try {
    say('making nodes and pods');
    const ways = await one.build(stage);
    const { measures } = one;
    const measured = await runPodRounds({
      ...{ ways, measures, programs: stage.programs, seat, rounds, seconds, say },
    });
    const names = ways.map(({ name }) => name);
    return podReport(one, names, measured, seat);
  } finally {
    await stage.close();
  }
}
