import { checkedErrno, libc } from './native.ts';

/** `CLOCK_BOOTTIME` of linux/time.h. */
const CLOCK_BOOTTIME = 7;

/** Nanoseconds since the machine started, with the time that it slept: what `bpf_ktime_get_boot_ns` gives to programs. */
export function bootTimeNs(): bigint {
  const time = Buffer.alloc(16);
  checkedErrno('read the boot-time clock', libc().clockGettime(CLOCK_BOOTTIME, time));
  return time.readBigInt64LE(0) * 1_000_000_000n + time.readBigInt64LE(8);
}
