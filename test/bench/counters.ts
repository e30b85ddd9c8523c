import { readFileSync } from 'node:fs';

/** `getconf CLK_TCK` is 100 on every Linux that Node runs on: the kernel counts for user space in these units. */
const TICKS_PER_SECOND = 100;
const UTIME_FIELD = 11;

/** User and system time of the processes so far, all their threads included, in microseconds (proc(5), `stat`). */
export function cpuMicros(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name may hold spaces and brackets; everything after it doesn't.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[UTIME_FIELD]) + Number(fields[UTIME_FIELD + 1]);
  }
  return (ticks * 1_000_000) / TICKS_PER_SECOND;
}

/** Memory that the processes share with nobody, in MB (proc(5), `smaps_rollup`). */
export function privateMb(pids: readonly number[]): number {
  let kilobytes = 0;
  for (const pid of pids) {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    for (const match of rollup.matchAll(/^Private_\w+:\s+(\d+) kB$/gm)) kilobytes += Number(match[1]);
  }
  return kilobytes / 1024;
}

/** Memory of a process that is in RAM, now and at most so far, in MiB (proc(5), `status`). */
export function residentMb(pid: number): { readonly nowMb: number; readonly peakMb: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mb = (field: string) => Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024;
  return { nowMb: mb('VmRSS'), peakMb: mb('VmHWM') };
}

/** How long a process's main thread could run and had no processor, in microseconds (Documentation/scheduler/sched-stats, `schedstat`). */
export function waitedMicros(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1_000;
}
