import { mkdirSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { checkedErrno, libc } from './native.ts';

/** BPF_FS_MAGIC (linux/magic.h). */
const BPF_FS = 0xcafe4a11;
/** Where systemd and others mount it. */
const USUAL_PLACE = '/sys/fs/bpf';

/**
 * Makes a folder that things can be pinned in: on the bpffs it lies on, else on one that is mounted at /sys/fs/bpf where the
 * path is below, or at the path itself. Throws `KernelError` (`EPERM`: root is needed).
 */
export function ensureBpffs(path: string): void {
  if (!isBpffs(existingPart(path))) {
    const place = path.startsWith(`${USUAL_PLACE}/`) ? USUAL_PLACE : path;
    mkdirSync(place, { recursive: true, mode: 0o700 });
    checkedErrno(`mount a bpffs at ${place}`, libc().mount('bpf', place, 'bpf', 0, 'mode=0700'));
  }
  mkdirSync(path, { recursive: true, mode: 0o700 });
}

function isBpffs(path: string): boolean {
  return statfsSync(path).type === BPF_FS;
}

function existingPart(path: string): string {
  for (let part = path; ; part = dirname(part)) {
    try {
      statfsSync(part);
      return part;
    } catch (thrown) {
      if (part === dirname(part)) throw thrown;
    }
  }
}
