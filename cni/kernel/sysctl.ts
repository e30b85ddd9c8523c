import { readFileSync, writeFileSync } from 'node:fs';
import { KernelError } from './errors.ts';

const ROOT = '/proc/sys/';

/**
 * The value of `net/ipv4/ip_forward`; undefined where the kernel has no such setting. Those below `net` are of the
 * calling thread's network namespace: call it inside `inNetns`.
 */
export function readSysctl(name: string): string | undefined {
  try {
    return readFileSync(`${ROOT}${name}`, 'utf8').trim();
  } catch (thrown) {
    const errno = errnoOf(thrown);
    if (errno === 2) return undefined;
    throw errno === undefined ? thrown : new KernelError(`read the setting ${name}`, errno);
  }
}

/** Writes where it differs; whether it did. As `readSysctl`; throws `ENOENT`, `EROFS` (/proc/sys is mounted read-only), `EINVAL`. */
export function writeSysctl(name: string, value: string): boolean {
  if (readSysctl(name) === value) return false;
  try {
    writeFileSync(`${ROOT}${name}`, value, { flag: 'r+' });
    return true;
  } catch (thrown) {
    const errno = errnoOf(thrown);
    throw errno === undefined ? thrown : new KernelError(`set ${name} to ${value}`, errno);
  }
}

function errnoOf(thrown: unknown): number | undefined {
  const errno = (thrown as NodeJS.ErrnoException | undefined)?.errno;
  return errno === undefined ? undefined : Math.abs(errno);
}
