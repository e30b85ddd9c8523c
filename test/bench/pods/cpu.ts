import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readIfThere } from '../../../common/atomic-file.ts';

/**
 * CPU time that a way takes on one processor: that of the cgroups of its client and servers, which packets are carried on the
 * account of, and of the kernel's thread for packets that were put off. Nothing else on the machine is counted.
 */
export class WayCpu {
  readonly #softirqs: string;

  constructor(seat: number) {
    const name = `ksoftirqd/${seat}`;
    const pid = readdirSync('/proc').find((entry) => readIfThere(`/proc/${entry}/comm`)?.trim() === name);
    if (pid === undefined) throw new Error(`there is no thread ${name}`);
    this.#softirqs = `/proc/${pid}/schedstat`;
  }

  /** Microseconds so far. */
  micros(cgroups: readonly string[]): number {
    const nanos = Number(readFileSync(this.#softirqs, 'utf8').split(' ')[0]);
    return cgroups.reduce((sum, cgroup) => sum + usageOf(cgroup), nanos / 1_000);
  }
}

/** `usage_usec` of cpu.stat: kept without the controller cpu, and exact, unlike the times of user and system. */
function usageOf(cgroup: string): number {
  const text = readFileSync(join(cgroup, 'cpu.stat'), 'utf8');
  return Number(/^usage_usec (\d+)$/m.exec(text)?.[1]);
}
