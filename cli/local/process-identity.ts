import { readIfThere } from '../../common/atomic-file.ts';

/**
 * The start time of a process in clock ticks since boot, or undefined where there is none (proc(5), `stat` field 22).
 * Pid and start time together name a process for good: pids are reused, the pair is not. A zombie counts as gone.
 */
export function processStartTime(pid: number): string | undefined {
  const stat = readStat(pid);
  if (stat === undefined) return undefined;
  // The command name is in parentheses and may hold anything, so fields are counted from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

function readStat(pid: number): string | undefined {
  try {
    return readIfThere(`/proc/${pid}/stat`);
  } catch (thrown) {
    // The process ended between opening and reading.
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ESRCH') return undefined;
    throw thrown;
  }
}

/** When this machine started, in milliseconds since the Unix epoch (proc(5), `btime`); 0 where that can't be read. */
export function bootTimeMs(): number {
  const seconds = /^btime (\d+)$/m.exec(readIfThere('/proc/stat') ?? '')?.[1];
  return Number(seconds ?? 0) * 1_000;
}

export function isSameProcess(pid: number, startTime: string): boolean {
  return processStartTime(pid) === startTime;
}

/** Signals a process group; a group that is gone already is what was wanted. Returns whether it was there. */
export function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ESRCH') return false;
    throw thrown;
  }
}
